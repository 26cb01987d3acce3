"""Steps of an observation source to octets and back, checked on both ways. Integers are little-endian.

A step is a header, its names with their tags (as a list), a column each for stamps, deadlines, horizons and standings,
and digests. What cannot be packed is its maker's mistake (ValueError), what cannot be unpacked is damage (BlobError).
"""

import struct
from collections.abc import Sequence
from typing import Final

import numpy as np

from tapir.codec.columns import concatenated, joined
from tapir.model.blocks import ListBlock
from tapir.model.observed import DIGEST, RememberedBlock, RememberedStep, Standing
from tapir.store.blobs import BlobError
from tapir.store.packing import pack_list, unpack_list

_HEADER: Final = struct.Struct("<?qIIQ")
_TIMES: Final = ("stamps", "deadlines", "horizons")


def pack_steps(steps: Sequence[RememberedStep]) -> bytes:
    """`steps` as octets."""
    return concatenated([part for step in steps for part in _parts(step)])


def unpack_steps(octets: bytes) -> tuple[RememberedStep, ...]:
    """The steps that `pack_steps` packed. Raises BlobError."""
    steps = []
    view = memoryview(octets)
    while view:
        step, view = _unpack(view)
        steps.append(step)
    return tuple(steps)


def coalesced(steps: Sequence[RememberedStep]) -> tuple[RememberedStep, ...]:
    """As few steps as come to the same: those up to one that ends what is due are one with it."""
    found: list[RememberedStep] = []
    pending: list[RememberedStep] = []
    for step in steps:
        pending.append(step)
        if step.ended_by is not None:
            found.append(_as_one(pending))
            pending = []
    return (*found, _as_one(pending)) if pending else tuple(found)


def _as_one(steps: list[RememberedStep]) -> RememberedStep:
    blocks = [step.entries for step in steps]
    entries = RememberedBlock(
        names=joined([block.names for block in blocks]),
        tags=concatenated([block.tags for block in blocks]),
        stamps=concatenated([block.stamps for block in blocks]),
        deadlines=concatenated([block.deadlines for block in blocks]),
        horizons=concatenated([block.horizons for block in blocks]),
        standings=concatenated([block.standings for block in blocks]),
    )
    digests = b"".join([step.digests for step in steps])
    return RememberedStep(entries=entries, digests=digests, ended_by=steps[-1].ended_by)


def _parts(step: RememberedStep) -> list[bytes]:
    entries = step.entries
    count = len(entries.names)
    if len(step.digests) % DIGEST or len(entries.standings) != count or len(entries.tags) != 4 * count:
        raise ValueError("a step has columns of several lengths")
    names = pack_list(ListBlock(names=entries.names, tags=entries.tags))
    times = [getattr(entries, column) for column in _TIMES]
    if any(len(column) != 8 * count for column in times):
        raise ValueError("a step has columns of several lengths")
    _check_standings(entries.standings)
    ended = step.ended_by is not None
    head = _HEADER.pack(ended, step.ended_by or 0, count, len(step.digests) // DIGEST, len(names))
    return [head, names, *(_little(column) for column in times), entries.standings, step.digests]


def _unpack(view: memoryview) -> tuple[RememberedStep, memoryview]:
    if len(view) < _HEADER.size:
        raise BlobError("a step is cut short")
    ended, ended_by, count, digests, size = _HEADER.unpack(view[: _HEADER.size])
    position = _HEADER.size
    parts = []
    for length in (size, 8 * count, 8 * count, 8 * count, count, DIGEST * digests):
        if position + length > len(view):
            raise BlobError("a step is cut short")
        parts.append(view[position : position + length])
        position += length
    content = unpack_list(bytes(parts[0]))
    if len(content) != count:
        raise BlobError("a step has another number of names than it claims")
    standings = bytes(parts[4])
    try:
        _check_standings(standings)
    except ValueError as exc:
        raise BlobError(str(exc)) from None
    stamps, deadlines, horizons = (_little(part) for part in parts[1:4])
    entries = RememberedBlock(
        names=content.names,
        tags=content.tags or bytes(4 * count),
        stamps=stamps,
        deadlines=deadlines,
        horizons=horizons,
        standings=standings,
    )
    return RememberedStep(entries=entries, digests=bytes(parts[5]), ended_by=ended_by if ended else None), view[
        position:
    ]


def _little(column: bytes | memoryview) -> bytes:
    return concatenated([np.frombuffer(column, np.int64).astype("<i8", copy=False).view(np.uint8).data])


def _check_standings(standings: bytes) -> None:
    column = np.frombuffer(standings, np.uint8)
    if standings and not (int(column.min()) > Standing.UNKNOWN and int(column.max()) <= max(Standing)):
        raise ValueError("a name stands in no way that is known")
