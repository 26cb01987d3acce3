"""Observations gathered one by one into columns, each name once in the end: what a list of another POP is read into.

No object is kept per name. A dictionary of a million would hold the interpreter for tens of milliseconds each time that
it grows, and for longer when it goes.
"""

import io
from array import array

import numpy as np

from tapir.codec.columns import octets_of
from tapir.codec.ordering import in_order, take_names
from tapir.model.blocks import NameBlock, ObservationBlock
from tapir.model.names import Name


class CollectedObservations:
    """Observations in the order in which they were added."""

    def __init__(self) -> None:
        self._names = io.BytesIO()  # grows in place, and hands out what it holds without copying it
        self._offsets = array("I", (0,))
        self._tags = array("I")
        self._observed, self._deadlines = array("q"), array("q")

    def __len__(self) -> int:
        return len(self._tags)

    def add(self, name: Name, tags: int, observed: int, deadline: int) -> None:
        """One observation; times are microseconds since the epoch."""
        self._names.write(name)
        self._offsets.append(self._names.tell())
        self._tags.append(tags)
        self._observed.append(observed)
        self._deadlines.append(deadline)

    def done(self) -> ObservationBlock:
        """All of them; of a name that was added more than once, what was observed last, and of that the last."""
        names = NameBlock(data=self._names.getvalue(), offsets=octets_of(np.frombuffer(self._offsets, np.uint32)))
        tags = np.frombuffer(self._tags, np.uint32)
        observed, deadlines = np.frombuffer(self._observed, np.int64), np.frombuffer(self._deadlines, np.int64)
        kept = in_order(names, np.argsort(observed, kind="stable").astype(np.uint32))
        if len(kept) < len(names):
            kept = np.sort(kept)
            names, tags, observed, deadlines = take_names(names, kept), tags[kept], observed[kept], deadlines[kept]
        return ObservationBlock(
            names=names, tags=octets_of(tags), observed=octets_of(observed), deadlines=octets_of(deadlines)
        )
