"""Columns as the rooms of the minimiser hand them on: rows of a decoded block, and names taken out of it."""

import numpy as np
from numpy.typing import NDArray

from tapir.codec.dnstap import DecodedBlock, Marks, Outcome
from tapir.model.blocks import NameBlock

__all__ = ["DecodedBlock", "Marks", "Outcome", "Rows", "accepted", "client_rows", "names_of", "outcomes_of"]

Rows = NDArray[np.intp]
"""numbers of rows, ascending"""


def accepted(block: DecodedBlock) -> Rows:
    """The rows that are responses with a question."""
    return np.flatnonzero(block.outcome == Outcome.OK)


def client_rows(block: DecodedBlock) -> Rows:
    """The rows whose client is looked for in the ignore list: responses, before a look at their DNS message."""
    return np.flatnonzero((block.outcome == Outcome.OK) | (block.outcome > Outcome.QUERY))


def outcomes_of(block: DecodedBlock) -> dict[Outcome, int]:
    """How many frames had which outcome; those that none had are left out."""
    counts = np.bincount(block.outcome, minlength=len(Outcome))
    return {outcome: int(counts[outcome]) for outcome in Outcome if counts[outcome]}


def names_of(block: DecodedBlock, rows: Rows, *, as_sent: bool = False) -> NameBlock:
    """The names that these rows ask for, in their order: in lower case, or else as they were sent."""
    starts = (block.sent_at if as_sent else block.name_at)[rows].astype(np.int64)
    lengths = block.name_length[rows].astype(np.int64)
    offsets = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    # Where each octet comes from: its place among those taken, moved by as much as its name is.
    source = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
    data = np.frombuffer(block.names, dtype=np.uint8)[source]
    return NameBlock(data=data.tobytes(), offsets=offsets.astype(np.uint32).tobytes())
