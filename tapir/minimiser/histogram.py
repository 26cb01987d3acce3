"""What was asked of well-known names in an interval: counters and sketches of clients by name (edm.md §7.1).

An interval belongs to one list of names, by which its rows are numbered: a new list begins a new interval, so that no
count can land on another name. Names are numbered as they are met, and only these take memory.
"""

from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

import tapir.kernels.counting
import tapir.kernels.labels
from tapir.codec.dnstap import DecodedBlock
from tapir.codec.edmfiles import COUNTERS, EXACT, HISTOGRAM, WILDCARD, Numbers, Rows, Strings
from tapir.minimiser.addresses import AddressColumn
from tapir.minimiser.labels import split_labels
from tapir.minimiser.sketches import ClientSketches, SketchColumn
from tapir.minimiser.wellknown import WellKnownNames

_FIRST_ROOM: Final = 1 << 10
_COUNTERS: Final = len(COUNTERS)


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Counted:
    """The responses of a block that were counted, by column: private, for the hashes are of clients' addresses."""

    numbers: NDArray[np.uint32]
    """which name of the interval, in the order in which it met them"""
    fresh: NDArray[np.uint32]
    """the rows of the names that it met here"""
    qtypes: NDArray[np.uint16]
    qclasses: NDArray[np.uint16]
    rcodes: NDArray[np.uint16]
    hashes: NDArray[np.uint64]
    families: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.numbers)

    def __repr__(self) -> str:
        return f"<Counted: {len(self)} responses>"


class Histogram:
    """The counters of one interval; belongs to the thread that adds to it, and to another one afterwards."""

    def __init__(self, names: WellKnownNames, *, start: int, threshold: int, seed: bytes) -> None:
        """An interval that begins at `start`, microseconds since the epoch.

        Up to `threshold` clients of a name and family are counted exactly, and their sketch is not told; `seed` is as
        for ClientSketches. Raises HllError for a threshold that cannot be.
        """
        self.names = names
        self.start = start
        self._sketches = ClientSketches(len(names), threshold=threshold, seed=seed)
        self._numbers = np.zeros(len(names), np.uint32)
        self._met = np.empty(_FIRST_ROOM, np.uint32)
        self._counters = np.zeros(_FIRST_ROOM * _COUNTERS, np.uint64)
        self._known = 0

    def __len__(self) -> int:
        """How many names were met."""
        return self._known

    def __repr__(self) -> str:
        return f"<Histogram of {self._known} names>"

    @property
    def responses(self) -> int:
        """How many responses were counted."""
        return int(self._counters.reshape(-1, _COUNTERS)[: self._known, 6:].sum())

    def add(self, block: DecodedBlock, rows: NDArray[np.int32]) -> Counted:
        """Count the responses of `block` whose row, as `names` found it, is not -1."""
        counted = np.flatnonzero(rows >= 0)
        clients = AddressColumn.gathered(
            block.frames.data, block.query_address_at[counted], block.query_address_length[counted]
        )
        hashes, families = clients.clients()
        return self.count(
            rows=rows[counted],
            qtypes=block.qtype[counted],
            qclasses=block.qclass[counted],
            rcodes=block.rcode[counted],
            hashes=hashes,
            families=families,
        )

    def count(
        self,
        *,
        rows: NDArray[np.int32],
        qtypes: NDArray[np.uint16],
        qclasses: NDArray[np.uint16],
        rcodes: NDArray[np.uint16],
        hashes: NDArray[np.uint64],
        families: NDArray[np.uint8],
    ) -> Counted:
        """Count responses for these rows; `hashes` and `families` are of their clients, as `AddressColumn.clients`."""
        known = self._known
        self._make_room(min(known + len(rows), len(self.names)))
        places = np.empty(len(rows), np.int32)
        self._known = tapir.kernels.counting.count(
            rows.data,
            qtypes.data,
            qclasses.data,
            rcodes.data,
            self._numbers.data,
            self._met.data,
            known,
            self._counters.data,
            places.data,
        )
        # By number, not by row: so what is asked often lies together here, too.
        numbers = places.view(np.uint32)
        self._sketches.add(numbers, hashes, families)
        return Counted(
            numbers=numbers,
            fresh=self._met[known : self._known],
            qtypes=qtypes,
            qclasses=qclasses,
            rcodes=rcodes,
            hashes=hashes,
            families=families,
        )

    def busiest(self, count: int) -> tuple[tuple[str, int], ...]:
        """The `count` names with the most responses, as text, and how many; a wildcard has a star.

        Of equals the one that was met first comes first.
        """
        known = self._known
        responses = self._counters.reshape(-1, _COUNTERS)[:known, 6:].sum(axis=1, dtype=np.int64)
        keys = np.arange(known) - responses * max(known, 1)
        # Not all of them in order: that may be a million.
        first = np.argpartition(keys, count)[:count] if 0 < count < known else np.arange(known)[: max(count, 0)]
        first = first[np.argsort(keys[first])]
        return tuple((self.names.text(int(self._met[number])), int(responses[number])) for number in first.tolist())

    def columns(self) -> Rows | None:
        """The rows of the file; None when no name was met. Blocking; nothing may be added any more."""
        if not self._known:
            return None
        count = self._known
        rows = self._met[:count]
        counters = self._counters.reshape(-1, _COUNTERS)[:count]
        kinds = self.names.kinds[rows]
        numbers = np.arange(count, dtype=np.uint32)
        v4, v6 = (self._sketches.column(numbers, family) for family in (4, 6))
        columns: dict[str, Numbers | Strings] = {
            "start_time": Numbers(np.full(count, self.start, np.int64)),
            **self._labels(rows, kinds),
            **{name: Numbers(np.ascontiguousarray(counters[:, place])) for place, name in enumerate(COUNTERS)},
            "edm_status_bits": Numbers(np.where(kinds == WILDCARD, WILDCARD, EXACT).astype(np.uint64)),
            "v4client_count": Numbers(v4.counts),
            "v6client_count": Numbers(v6.counts),
            "v4client_count_hll": _stored(v4),
            "v6client_count_hll": _stored(v6),
        }
        return Rows(layout=HISTOGRAM, count=count, columns=columns)

    def _labels(self, rows: NDArray[np.uint32], kinds: NDArray[np.uint8]) -> dict[str, Strings]:
        starts = self.names.offsets[rows]
        lengths = self.names.offsets[rows + 1] - starts
        offsets = np.zeros(len(rows) + 1, np.uint32)
        np.cumsum(lengths, out=offsets[1:])
        data = np.empty(int(offsets[-1]), np.uint8)
        tapir.kernels.labels.gather(self.names.data.data, starts.data, lengths.data, data.data, 0)
        return split_labels(data, offsets, (kinds == WILDCARD).view(np.uint8))

    def _make_room(self, wanted: int) -> None:
        room = len(self._met)
        if wanted <= room:
            return
        while room < wanted:
            room *= 2
        met = np.empty(room, np.uint32)
        met[: self._known] = self._met[: self._known]
        counters = np.zeros(room * _COUNTERS, np.uint64)
        used = self._known * _COUNTERS
        counters[:used] = self._counters[:used]
        self._met, self._counters = met, counters


def _stored(column: SketchColumn) -> Strings:
    if column.starts[-1] > np.iinfo(np.int32).max:
        raise OverflowError("a column of sketches would have 2 GiB")
    valid = (np.diff(column.starts) != 0).view(np.uint8)
    return Strings(np.frombuffer(column.data, np.uint8), column.starts.astype(np.int32), valid)
