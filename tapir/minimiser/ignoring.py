"""Clients whose responses are not looked at: networks, one a line, as the existing edge reads them (edm.md §5.1).

Two things differ. A client that came as IPv4 mapped into IPv6 is looked for among the networks of both: there it passes
an IPv4 network that should hide it. And an IPv6 network of nothing but mapped addresses hides those as IPv4, too.
"""

import io
import re
from array import array
from enum import IntEnum
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

import tapir.kernels.prefixes
from tapir.minimiser.addresses import AddressColumn
from tapir.model.errors import TapirError

_NETWORK: Final = re.compile(rb"([0-9A-Fa-f.:]{2,45})/(0|[1-9][0-9]{0,2})")
_LONGEST: Final = 1 << 16
"""octets of a line; the existing edge reads no longer ones"""

_WORD: Final = (1 << 64) - 1
_MAPPED: Final = 0xFFFF << 32
"""what IPv4 is mapped into: ::ffff:0:0/96"""

Bounds = NDArray[np.uint64]


class IgnoredClientsError(TapirError):
    """A line of a list of clients to ignore is no network, so nothing of the list is used.

    It names the line by its number alone: what stands there may be a client's address.
    """

    def __init__(self, *, line: int, reason: str) -> None:
        super().__init__(f"line {line} of the clients to ignore is {reason}; the list is not used")
        self.line = line
        self.reason = reason


class ClientVerdict(IntEnum):
    """What the list says of a client."""

    PASS = 0
    IGNORE = 1
    UNUSABLE = 2
    """no address, or one that is none, while there is a list: nobody knows whom it would have hidden"""


@attrs.frozen(kw_only=True, eq=False, repr=False)
class IgnoredClients:
    """The networks of a list; none of them is as good as no list.

    `short` are networks of IPv4, `long` of IPv6, in order, none overlapping: the first and the last address of each,
    two words an address, IPv4 mapped.
    """

    networks: int = 0
    """how many lines the list has that are one"""
    short: Bounds = attrs.field(factory=lambda: np.empty(0, np.uint64))
    long: Bounds = attrs.field(factory=lambda: np.empty(0, np.uint64))

    def __len__(self) -> int:
        return self.networks

    def __repr__(self) -> str:
        return f"<IgnoredClients of {self.networks} networks>"

    def verdicts(self, clients: AddressColumn) -> NDArray[np.uint8]:
        """A `ClientVerdict` for each; all of them pass where the list has no network."""
        verdicts = np.zeros(len(clients), np.uint8)
        if self.networks:
            tapir.kernels.prefixes.covered(
                clients.octets.reshape(-1).data, clients.sizes.data, self.short.data, self.long.data, verdicts.data
            )
        return verdicts


def parse_ignored_clients(data: bytes) -> IgnoredClients:
    """The list that `data` is: a network a line (`10.0.0.0/8`, `2001:db8::/32`), host bits of no meaning.

    Empty lines, and lines whose first character is `#`, mean nothing; nothing else is skipped, trimmed or guessed.
    Raises IgnoredClientsError for the first line that is no network. Takes some seconds for a million lines: not on the
    event loop.
    """
    short, long = array("Q"), array("Q")
    count = 0
    for number, line in enumerate(io.BytesIO(data), 1):
        line = line.removesuffix(b"\n").removesuffix(b"\r")
        if not line or line.startswith(b"#"):
            continue
        version, first, last = _bounds(line, number)
        (short if version == 4 else long).extend((first >> 64, first & _WORD, last >> 64, last & _WORD))
        if version == 6 and first >> 32 == 0xFFFF and last >> 32 == 0xFFFF:
            short.extend((0, first & _WORD, 0, last & _WORD))
        count += 1
    return IgnoredClients(networks=count, short=_merged(short), long=_merged(long))


def _bounds(line: bytes, number: int) -> tuple[int, int, int]:
    """Version, first and last address of the network in a line, IPv4 mapped."""
    if len(line) >= _LONGEST:
        raise IgnoredClientsError(line=number, reason=f"longer than {_LONGEST} octets")
    network = _NETWORK.fullmatch(line)
    if network is None:
        reason = "an address without a length" if b"/" not in line else "no network in the form address/length"
        raise IgnoredClientsError(line=number, reason=reason)
    text, length = network[1].decode("ascii"), int(network[2])
    version, size = (6, 128) if ":" in text else (4, 32)
    try:
        value = int(IPv6Address(text)) if version == 6 else int(IPv4Address(text)) | _MAPPED
    except AddressValueError:
        # The text of that error is the line.
        raise IgnoredClientsError(line=number, reason="a network whose address is none") from None
    if length > size:
        raise IgnoredClientsError(line=number, reason=f"a network longer than {size} bits")
    hosts = (1 << (size - length)) - 1
    return version, value & ~hosts, value | hosts


def _merged(bounds: "array[int]") -> Bounds:
    """In order, and without those that lie in another: two networks overlap in no other way."""
    rows = np.frombuffer(bounds, np.uint64).reshape(-1, 4)
    # By where they begin; of those that begin together the largest comes first.
    order = np.lexsort((~rows[:, 3], ~rows[:, 2], rows[:, 1], rows[:, 0]))
    ordered = rows[order].reshape(-1).data
    merged = array("Q")
    end = -1
    for at in range(0, len(ordered), 4):
        if ordered[at] << 64 | ordered[at + 1] > end:
            merged.extend(ordered[at : at + 4])
            end = ordered[at + 2] << 64 | ordered[at + 3]
    return np.frombuffer(merged, np.uint64)
