"""How numbers and names are written in texts, tables and plots."""

import re
from collections import Counter
from itertools import count

__all__ = [
    "as_written",
    "digits_for",
    "enumerated",
    "escaped",
    "number",
    "printable",
    "seconds",
    "shortened",
    "unescaped",
    "written_apart",
]

LONGEST = 32  # letters of a name

MOST_DIGITS = 6  # smaller scores are written with a power of ten


def digits_for(scores):
    """Choose the decimals that scores and their differences are written with: three, more where all are small."""
    import numpy as np  # not above, where `sktl --help` would wait for it

    values = np.abs(np.concatenate([np.ravel(np.asarray(one, dtype=float)) for one in scores]))
    largest = values[np.isfinite(values)].max(initial=0.0)
    return 3 if largest == 0 else max(3, 2 - int(np.floor(np.log10(largest))))


def number(value, sign=False, digits=3):
    """Write a score with three decimals or more; a large one, as of an error in pixels, with one."""
    if value is None or value != value:
        return "–"
    value = round(value, digits) + 0.0  # of a negative zero a positive one
    if digits > MOST_DIGITS:
        text = f"{value:+.2e}" if value else "+0"
    else:
        text = f"{value:+,.{digits}f}" if abs(value) < 100 else f"{value:+,.1f}"
    return text if sign or value < 0 else text[1:]


def enumerated(names, most=3):
    """Write down a few names, and how many more there are: 'a', 'b', 'c' and 7 more."""
    names = list(names)
    shown = [repr(name) for name in names[:most]] + ([f"{len(names) - most} more"] if len(names) > most else [])
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def seconds(value):
    """Write a time in seconds with about two meaningful digits."""
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def as_written(text, most=LONGEST):
    """Write a name that came from the user such that it fits, and its dollars are not taken for formulas."""
    return shortened(text, most).replace("$", r"\$")


def shortened(text, most):
    """Write a text in one line, with its middle left out where it is long: names differ at both ends."""
    letters = " ".join("".join(letter if letter.isprintable() else " " for letter in escaped(str(text))).split())
    if len(letters) <= most:
        return letters
    end = (most - 1) // 2
    return f"{letters[: most - 1 - end]}…{letters[len(letters) - end :]}"


def written_apart(texts, most=LONGEST):
    """Write several names as `as_written` does, and number those that come out the same."""
    texts = list(texts)
    names = [shortened(text, most) for text in texts]
    times, taken = Counter(names), set(names)
    for place, name in enumerate(names):
        if times[name] > 1:
            numbered = (shortened(texts[place], most - len(end)) + end for end in (f" ({i})" for i in count(1)))
            names[place] = next(one for one in numbered if one not in taken)
            taken.add(names[place])
    return [name.replace("$", r"\$") for name in names]


def printable(text):
    """Return a name that came from a file, with control characters and what is no text spelt out."""
    text = str(text)
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)


# A byte of a name that is no UTF-8 is a lone surrogate in Python, which neither UTF-8 nor Arrow can hold.
_NO_TEXT = re.compile(r"[\ud800-\udfff]|\\(?=u(?:005c|d[89a-f][0-9a-f]{2}))")
_ESCAPE = re.compile(r"\\u(005c|d[89a-f][0-9a-f]{2})")


def escaped(text):
    r"""Spell out what is no text, as Python and JSON do: a byte 0xe9 is written \udce9. `unescaped` reads it back."""
    return _NO_TEXT.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def unescaped(text):
    """Return the text that was `escaped`, whatever it was."""
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)
