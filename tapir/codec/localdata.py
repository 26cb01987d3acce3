"""Whether a record's rdata is what its type says: a secondary that finds one wrong record refuses the whole transfer.

Only types that people answer with as local data are known; all others are refused, meta types and those that DNSSEC or
delegations are made of among them.
"""

from collections.abc import Callable
from typing import Final

from tapir.model.names import MAX_LABEL, MAX_NAME

MOST_RDATA: Final = 8 * 1024
"""octets; so that a message that holds one still is as long as secondaries like them"""

CNAME: Final = 5


class _Cursor:
    """Reads rdata from its front; ValueError and IndexError for what is not there."""

    def __init__(self, rdata: bytes) -> None:
        self._rdata = rdata
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._rdata) - self._at

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise ValueError("cut short")
        self._at += count
        return self._rdata[self._at - count : self._at]

    def number(self, octets: int) -> int:
        return int.from_bytes(self.take(octets), "big")

    def text(self) -> bytes:
        return self.take(self.number(1))

    def name(self) -> None:
        octets = 0
        while True:
            length = self.number(1)
            octets += 1 + length
            if length > MAX_LABEL or octets > MAX_NAME:
                raise ValueError("no name")
            if not length:
                return
            self.take(length)


def is_known(rdtype: int) -> bool:
    """Whether records of this type may be passed through."""
    return rdtype in _CHECKS


def is_well_formed(rdtype: int, rdata: bytes) -> bool:
    """Whether `rdata`, without compression, is what a known type has, and no longer than it may be."""
    cursor = _Cursor(rdata)
    try:
        _CHECKS[rdtype](cursor)
    except ValueError:
        return False
    return cursor.left == 0 and len(rdata) <= MOST_RDATA


def _texts(cursor: _Cursor) -> None:
    cursor.text()
    while cursor.left:
        cursor.text()


def _mx(cursor: _Cursor) -> None:
    cursor.take(2)
    cursor.name()


def _srv(cursor: _Cursor) -> None:
    cursor.take(6)
    cursor.name()


def _naptr(cursor: _Cursor) -> None:
    cursor.take(4)
    for _ in range(3):
        cursor.text()
    cursor.name()


def _caa(cursor: _Cursor) -> None:
    cursor.take(1)
    tag = cursor.text()
    if not tag.isalnum() or not tag.isascii():
        raise ValueError("no tag")
    cursor.take(cursor.left)


def _tlsa(cursor: _Cursor) -> None:
    """RFC 6698 §2.1: a digest has its length, and other data some."""
    cursor.take(2)
    matching = cursor.number(1)
    if cursor.left != {1: 32, 2: 64}.get(matching, max(1, cursor.left)):
        raise ValueError("no such digest")
    cursor.take(cursor.left)


def _service(cursor: _Cursor) -> None:
    """SVCB and HTTPS (RFC 9460 §2.2), with the parameters that are known well enough to be checked."""
    priority = cursor.number(2)
    cursor.name()
    before = 0
    while cursor.left:
        key = cursor.number(2)
        value = _Cursor(cursor.take(cursor.number(2)))
        if not priority or key <= before:
            raise ValueError("parameters of an alias, or out of order")
        before = key
        match key:
            case 1:
                _alpn(value)
            case 3:
                value.take(2)
            case 4:
                _addresses(value, 4)
            case 6:
                _addresses(value, 16)
            case _:
                raise ValueError("an unknown parameter")
        if value.left:
            raise ValueError("a parameter is too long")


def _alpn(value: _Cursor) -> None:
    while True:
        if not value.text():
            raise ValueError("an empty protocol")
        if not value.left:
            return


def _addresses(value: _Cursor, size: int) -> None:
    value.take(size)
    while value.left:
        value.take(size)


_CHECKS: Final[dict[int, Callable[[_Cursor], object]]] = {
    1: lambda cursor: cursor.take(4),
    CNAME: _Cursor.name,
    12: _Cursor.name,
    15: _mx,
    16: _texts,
    28: lambda cursor: cursor.take(16),
    33: _srv,
    35: _naptr,
    52: _tlsa,
    64: _service,
    65: _service,
    257: _caa,
}
TYPES: Final = {
    1: "A",
    CNAME: "CNAME",
    12: "PTR",
    15: "MX",
    16: "TXT",
    28: "AAAA",
    33: "SRV",
    35: "NAPTR",
    52: "TLSA",
    64: "SVCB",
    65: "HTTPS",
    257: "CAA",
}
"""What people call these types"""
