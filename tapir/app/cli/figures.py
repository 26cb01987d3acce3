"""Large numbers as a person takes them in: three digits that say something, and a unit."""

from typing import Final

_PREFIXES: Final = ("", "k", "M", "G", "T", "P", "E")
_WHOLE: Final = 100_000
"""below this a count is told to the last digit"""


def count(number: float) -> str:
    """How many: `12,345`, `1.23 M`; `-` for a number that is not known."""
    if number < _WHOLE:
        return f"{number:,.0f}"
    return _scaled(number)


def rate(number: float | None) -> str:
    """How many a second: `0.4`, `12`, `51.2 k`; `-` where that is not known."""
    if number is None:
        return "-"
    if number == 0:
        return "0"
    return f"{number:.1g}" if number < 1 else f"{number:.0f}" if number < 1000 else _scaled(number)


def octets(number: float | None) -> str:
    """A size: `12 B`, `3.4 MB`; `-` where that is not known."""
    if number is None:
        return "-"
    return f"{number:.0f} B" if number < 1000 else f"{_scaled(number)}B"


def _scaled(number: float) -> str:
    """Three digits and the prefix of a unit, rounded before that is chosen: 999,999 is `1.00 M`."""
    step = 0
    value = float(number)
    while float(f"{value:.3g}") >= 1000 and step < len(_PREFIXES) - 1:
        value /= 1000
        step += 1
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f} {_PREFIXES[step]}"
