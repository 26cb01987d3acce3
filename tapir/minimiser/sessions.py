"""Sessions: responses for names that are not well-known, whole but for their addresses, by column (edm.md §8).

What comes block by block is kept as it is and turned into the file's columns at the end, at once for all rows. Unlike
the existing EDM, which stores ports up to 2**31 in a column of 16 bits and 0 above that, a port beyond 65535 is no
port here: the row has none.
"""

import struct
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

import tapir.kernels.labels
from tapir.codec.dnstap import DecodedBlock, Family, Marks
from tapir.codec.edmfiles import SESSIONS, Numbers, Rows, Strings
from tapir.minimiser.addresses import AddressColumn
from tapir.minimiser.columns import Rows as RowNumbers
from tapir.minimiser.labels import split_labels

T = TypeVar("T", bound=np.generic)

_COUNT: Final = struct.Struct("<I")
_FIRST_ROWS: Final = 1 << 12
_FIRST_OCTETS: Final = 1 << 18
_MOST: Final = (1 << 31) - 1
_LARGEST_PORT: Final = 0xFFFF
_UNKNOWN: Final = 255
_MAPPED: Final = 0xFFFF
"""What the low half of an IPv4 address that is mapped into IPv6 begins with."""

_ROW: Final = np.dtype(
    [
        ("source", np.uint8, 16),
        ("dest", np.uint8, 16),
        ("source_size", np.uint8),
        ("dest_size", np.uint8),
        ("family", np.uint8),
        ("protocol", np.uint8),
        ("marks", np.uint8),
        ("source_port", np.uint32),
        ("dest_port", np.uint32),
        ("time", np.int64),
    ]
)


class _Octets:
    """Octets of many rows, back to back, and where each begins."""

    def __init__(self) -> None:
        self._data = np.empty(_FIRST_OCTETS, np.uint8)
        self._offsets = np.zeros(_FIRST_ROWS + 1, np.uint32)
        self.count = 0
        self.size = 0

    def add(self, data: bytes, starts: NDArray[np.uint32], lengths: NDArray[np.uint32]) -> None:
        size = self.size + int(lengths.sum(dtype=np.int64))
        count = self.count + len(lengths)
        self._data = _with_room(self._data, self.size, size)
        self._offsets = _with_room(self._offsets, self.count + 1, count + 1)
        tapir.kernels.labels.gather(data, starts.data, lengths.data, self._data.data, self.size)
        ends = self._offsets[self.count + 1 : count + 1]
        np.cumsum(lengths, out=ends)
        ends += np.uint32(self.size)
        self.size, self.count = size, count

    @property
    def data(self) -> NDArray[np.uint8]:
        return self._data[: self.size]

    @property
    def offsets(self) -> NDArray[np.uint32]:
        return self._offsets[: self.count + 1]

    def packed(self, since: int) -> tuple[bytes, bytes]:
        """How long each is from number `since` on, and what they are."""
        offsets = self.offsets[since:]
        return np.diff(offsets).tobytes(), self._data[int(offsets[0]) : int(offsets[-1])].tobytes()

    def strings(self, valid: NDArray[np.uint8] | None = None) -> Strings:
        return Strings(self.data, self.offsets.view(np.int32), valid)


class Sessions:
    """Rows of one file; belongs to the thread that adds to it, and to another one afterwards."""

    def __init__(self) -> None:
        self._rows = np.empty(_FIRST_ROWS, _ROW)
        self._count = 0
        self._names = _Octets()
        self._messages = _Octets()
        self._identities = _Octets()

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"<Sessions: {self._count} rows, {self.octets} octets>"

    @property
    def octets(self) -> int:
        """How much memory the rows take; what they may grow into, as much again at most, is not counted."""
        return self._count * _ROW.itemsize + self._names.size + self._messages.size + self._identities.size

    def add(self, block: DecodedBlock, rows: RowNumbers, sources: AddressColumn, destinations: AddressColumn) -> None:
        """Add these rows of `block`, with pseudonyms for their query and response addresses, in the order of `rows`.

        Raises OverflowError, and adds nothing, when there would be more octets than a file can have.
        """
        wanted = (
            (self._names, block.names, block.sent_at[rows], block.name_length[rows]),
            (self._messages, block.frames.data, block.wire_at[rows], block.wire_length[rows]),
            (self._identities, block.frames.data, block.identity_at[rows], block.identity_length[rows]),
        )
        for column, _, _, lengths in wanted:
            if column.size + int(lengths.sum(dtype=np.int64)) > _MOST:
                raise OverflowError("a column of octets would have 2 GiB")
        count = self._count + len(rows)
        self._rows = _with_room(self._rows, self._count, count)
        out = self._rows[self._count : count]
        out["source"], out["source_size"] = sources.octets, sources.sizes
        out["dest"], out["dest_size"] = destinations.octets, destinations.sizes
        out["family"] = block.family[rows]
        out["protocol"] = block.protocol[rows]
        out["marks"] = block.marks[rows]
        out["source_port"] = block.query_port[rows]
        out["dest_port"] = block.response_port[rows]
        out["time"] = block.time[rows]
        for column, data, starts, lengths in wanted:
            column.add(data, starts, lengths)
        self._count = count

    def packed(self, since: int) -> bytes:
        """The rows from number `since` on, for `add_packed` on this machine."""
        parts = [_COUNT.pack(self._count - since), self._rows[since : self._count].tobytes()]
        for column in (self._names, self._messages, self._identities):
            parts += column.packed(since)
        return b"".join(parts)

    def add_packed(self, octets: bytes) -> None:
        """Add rows as `packed` gave them."""
        (more,) = _COUNT.unpack_from(octets)
        rows = np.frombuffer(octets, _ROW, more, _COUNT.size)
        at = _COUNT.size + rows.nbytes
        count = self._count + more
        self._rows = _with_room(self._rows, self._count, count)
        self._rows[self._count : count] = rows
        for column in (self._names, self._messages, self._identities):
            lengths = np.frombuffer(octets, np.uint32, more, at).copy()  # aligned
            starts = np.cumsum(lengths, dtype=np.uint32) - lengths + np.uint32(at + lengths.nbytes)
            column.add(octets, starts, lengths)
            at += lengths.nbytes + int(lengths.sum(dtype=np.int64))
        self._count = count

    def columns(self) -> Rows | None:
        """The rows of the file; None when there are none. Blocking; nothing may be added any more."""
        if not self._count:
            return None
        rows = self._rows[: self._count]
        protocol = np.ascontiguousarray(rows["protocol"])
        columns: dict[str, Numbers | Strings] = {
            "dest_port": _port(rows["dest_port"], rows["marks"], Marks.NO_RESPONSE_PORT),
            "dns_protocol": Numbers(protocol, ((protocol != 0) & (protocol != _UNKNOWN)).view(np.uint8)),
            **split_labels(self._names.data, self._names.offsets, np.zeros(self._count, np.uint8)),
            "response_message": self._messages.strings(),
            "response_time": Numbers(np.ascontiguousarray(rows["time"])),
            "server_id": self._identities.strings((np.diff(self._identities.offsets) != 0).view(np.uint8)),
            "source_port": _port(rows["source_port"], rows["marks"], Marks.NO_QUERY_PORT),
            **_addresses("source", rows),
            **_addresses("dest", rows),
        }
        return Rows(layout=SESSIONS, count=self._count, columns=columns)


def _addresses(side: str, rows: NDArray[np.void]) -> dict[str, Numbers | Strings]:
    """The three columns of an address: the family says which are filled, where its octets make one of that family."""
    octets = np.ascontiguousarray(rows[side])
    size = rows[f"{side}_size"]
    family = rows["family"]
    halves = octets.view(">u8").astype(np.uint64)
    network, host = halves[:, 0], halves[:, 1]
    short = size == 4
    mapped = (size == 16) & (network == 0) & (host >> np.uint64(32) == _MAPPED)
    v4 = np.where(short, octets.view(">u4")[:, 0], host & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    inet = ((family == Family.INET) | (family == Family.UNSET)) & (short | mapped)
    inet6 = (family == Family.INET6) & (short | (size == 16))
    widened = v4.astype(np.uint64) | np.uint64(_MAPPED << 32)
    return {
        f"{side}_ipv4": Numbers(v4, inet.view(np.uint8)),
        f"{side}_ipv6_host": Numbers(np.where(short, widened, host), inet6.view(np.uint8)),
        f"{side}_ipv6_network": Numbers(np.where(short, np.uint64(0), network), inet6.view(np.uint8)),
    }


def _port(ports: NDArray[np.uint32], marks: NDArray[np.uint8], missing: Marks) -> Numbers:
    valid = (marks & np.uint8(missing) == 0) & (ports <= _LARGEST_PORT)
    return Numbers(ports.astype(np.uint16), valid.view(np.uint8))


def _with_room(array: NDArray[T], used: int, wanted: int) -> NDArray[T]:
    """`array`, or one at least twice as large with its first `used` items."""
    if wanted <= len(array):
        return array
    larger = np.empty(max(wanted, 2 * len(array)), array.dtype)
    larger[:used] = array[:used]
    return larger
