"""Rows of X in the kind X came in."""

__all__ = ["take_rows"]


def take_rows(X, indices):
    """Select rows of X in the kind X came in: array, tensor, data frame, Series, or list.

    Parameters
    ----------
    X : sequence of length n_images
        Whatever an estimator takes.
    indices : ndarray of int
        Positions in `X`.

    Returns
    -------
    sequence of length n_indices
        Of the kind of `X`; a list for every other sequence.

    Examples
    --------
    >>> from sktl.images import take_rows
    >>> take_rows(["a.png", "b.png", "c.png"], [2, 0])
    ['c.png', 'a.png']
    """
    if hasattr(X, "iloc"):
        return X.iloc[indices]
    if hasattr(X, "shape"):
        return X[indices]
    return [X[i] for i in indices]
