"""What the keys of EDM are made of: where one may stand, how its value is written, and what it may be.

A value comes as TOML has it, or as text from the environment and the command line, where it is written as Go's `flag`
has it: `0x10` and `010` are 16 and 8, and `1`, `t` and `TRUE` are true.
"""

import re
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any, Final

import attrs

from tapir.app.config.report import Invalid
from tapir.app.config.strict import shown
from tapir.app.config.values import between, parse_listen, path_in

UPSTREAM_FILE: Final = "dnstapir-edm.toml"
OWN_FILE: Final = "tapir-edm.toml"

Raw = str | int | float | bool

_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_NUMBER: Final = re.compile(r"[+-]?(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9][0-9]*)", re.ASCII)
_DECIMAL: Final = re.compile(r"[0-9]+", re.ASCII)
_LONGEST: Final = 24
"""characters of a number: Python refuses much longer ones in a way of its own"""


class Kind(Enum):
    """How a value is written; the value is the word for it in the documentation."""

    TEXT = "text"
    PATH = "path"
    ADDRESS = "address"
    NUMBER = "number"
    DECIMAL = "number, decimal"
    """in the environment and on the command line"""
    SECONDS = "seconds"
    FLAG = "bool"


@attrs.frozen(kw_only=True)
class Key:
    """One key; `parse` takes what `kind` has, and the folder that relative paths start at, and raises Invalid."""

    kind: Kind
    default: Raw
    parse: Callable[[Any, Path], object]
    own: bool = False
    """whether it is ours, and stands in OWN_FILE"""
    reload: bool = False
    """whether a change is honoured without a restart"""
    variable: bool = True
    """whether the environment and the command line have it"""
    secret: bool = False
    """whether its value is never shown"""


def read_toml(key: Key, value: object) -> Raw:
    """`value` from TOML as what `key` takes. Raises Invalid."""
    match key.kind, value:
        case Kind.FLAG, bool():
            return value
        case Kind.FLAG, _:
            wanted = "neither true nor false"
        case ((Kind.NUMBER | Kind.DECIMAL), int()) if not isinstance(value, bool):
            return value
        case Kind.SECONDS, int() | float() if not isinstance(value, bool):
            return value
        case ((Kind.NUMBER | Kind.DECIMAL), _):
            wanted = "not a whole number"
        case Kind.SECONDS, _:
            wanted = "not a number of seconds"
        case _, str():
            return value
        case _:
            wanted = "not text"
    raise Invalid(f"{'the value' if key.secret else shown(value)} is {wanted}")


def read_text(key: Key, text: str) -> Raw:
    """`text` from the environment or the command line as what `key` takes. Raises Invalid."""
    match key.kind:
        case Kind.FLAG:
            if text in _TRUE | _FALSE:
                return text in _TRUE
            raise Invalid(f"{shown(text)} is neither true nor false")
        case Kind.NUMBER:
            if _NUMBER.fullmatch(text) is None or len(text) > _LONGEST:
                raise Invalid(f"{shown(text)} is not a whole number")
            octal = re.fullmatch(r"[+-]?0[0-7]+", text)
            return int(text, 8 if octal else 0)
        case Kind.DECIMAL:
            if _DECIMAL.fullmatch(text) is None or len(text) > _LONGEST:
                raise Invalid(f"{shown(text)} is not a whole number")
            return int(text)
        case Kind.SECONDS:
            if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text, re.ASCII) is None or len(text) > _LONGEST:
                raise Invalid(f"{shown(text)} is not a number of seconds")
            return float(text)
        case Kind.TEXT | Kind.PATH | Kind.ADDRESS:
            return text


def text(default: str = "", *, secret: bool = False, parse: Callable[[str], object] = str, **more: Any) -> Any:
    """A field with text."""
    return _field(Kind.TEXT, default, lambda value, _: parse(value), secret=secret, **more)


def path(default: str = "", **more: Any) -> Any:
    """A field with a path, or None where it is empty."""
    return _field(Kind.PATH, default, lambda value, folder: path_in(folder)(value) if value else None, **more)


def address(default: str = "", **more: Any) -> Any:
    """A field with an address to listen on, or None where it is empty."""
    return _field(Kind.ADDRESS, default, lambda value, _: parse_listen(value) if value else None, **more)


def number(default: int, least: int, most: int, *, decimal: bool = False, **more: Any) -> Any:
    """A field with a whole number in a range."""
    parse = between(least, most)
    return _field(Kind.DECIMAL if decimal else Kind.NUMBER, default, lambda value, _: parse(value), **more)


def seconds(default: float, least: float, most: float, **more: Any) -> Any:
    """A field with seconds, which may have a fraction, in a range."""

    def parse(value: float, _: Path) -> float:
        if not least <= value <= most:  # NaN is in no range
            raise Invalid(f"{value} is out of range; allowed is {least:g} to {most:g} seconds")
        return float(value)

    return _field(Kind.SECONDS, default, parse, **more)


def flag(**more: Any) -> Any:
    """A field that is true or, as by default, false."""
    return _field(Kind.FLAG, False, lambda value, _: value, **more)


def _field(kind: Kind, default: Raw, parse: Callable[[Any, Path], object], **more: Any) -> Any:
    key = Key(kind=kind, default=default, parse=parse, **more)
    return attrs.field(repr=not key.secret, metadata={Key: key})
