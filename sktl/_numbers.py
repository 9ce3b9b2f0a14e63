"""How scores, differences and seconds are written."""

import numpy as np

__all__ = ["digits_for", "number", "seconds"]

MOST_DIGITS = 6  # smaller scores are written with a power of ten


def digits_for(scores):
    """Choose the decimals that scores and their differences are written with: three, more where all are small.

    Parameters
    ----------
    scores : iterable of float or of array-like
        All scores that stand beside each other.

    Returns
    -------
    int
        Such that the largest has three meaningful digits.
    """
    values = np.abs(np.concatenate([np.ravel(np.asarray(one, dtype=float)) for one in scores]))
    largest = values[np.isfinite(values)].max(initial=0.0)
    return 3 if largest == 0 else max(3, 2 - int(np.floor(np.log10(largest))))


def number(value, sign=False, digits=3):
    """Write a score with three decimals or more; a large one, as of an error in pixels, with one.

    Parameters
    ----------
    value : float or None
        The score; None and NaN become a dash.
    sign : bool, default=False
        Whether positive numbers carry a plus, as differences should.
    digits : int, default=3
        Decimals, from `digits_for`.

    Returns
    -------
    str
        The number.
    """
    if value is None or value != value:
        return "–"
    value = round(value, digits) + 0.0  # of a negative zero a positive one
    if digits > MOST_DIGITS:
        text = f"{value:+.2e}" if value else "+0"
    else:
        text = f"{value:+,.{digits}f}" if abs(value) < 100 else f"{value:+,.1f}"
    return text if sign or value < 0 else text[1:]


def seconds(value):
    """Write a time in seconds with about two meaningful digits.

    Parameters
    ----------
    value : float
        Seconds.

    Returns
    -------
    str
        The number, without unit.
    """
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"
