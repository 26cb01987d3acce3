"""From the octets of another POP to what a source may take over: names, tags and times, and nothing else of it."""

from typing import Final

import attrs
import numpy as np

from tapir.codec.bootstrap import BodyError, parse_response
from tapir.codec.columns import taken
from tapir.codec.gob import GobError, read_list
from tapir.codec.listexport import parse_export
from tapir.model.actions import ListKind
from tapir.model.blocks import ObservationBlock
from tapir.model.errors import TapirError

AHEAD: Final = 300 * 1_000_000
"""Microseconds by which the other's clock may lead ours. What it saw later than that counts as seen then: else nothing
that is observed from now on would be newer."""


class SnapshotRefused(TapirError):
    """The other side does not give the list, or gives another; the text may hold words of its own."""


@attrs.frozen(kw_only=True, eq=False)
class Snapshot:
    """What another POP holds, without what has ended; `refused` counts entries whose names are none."""

    observations: ObservationBlock
    expired: int
    refused: int
    reason: str


def read_export(body: tuple[bytes, ...], *, kind: ListKind, now: int, max_names: int) -> Snapshot:
    """The list of a plain export. Raises ListExportError, SnapshotRefused."""
    found = parse_export(body, max_names=max_names)
    if found.kind is not kind:
        raise SnapshotRefused(f"it sent a {found.kind.value}, and ours is a {kind.value}")
    return _current(found.observations, now, refused=found.refused, reason=found.reason)


def read_gob(body: tuple[bytes, ...], *, kind: ListKind, now: int, max_names: int) -> Snapshot:
    """The list of a bootstrap stream; what comes behind it counts for nothing. Raises GobError, SnapshotRefused."""
    data = b"".join(body)
    try:
        value, found, _ = read_list(data, max_size=len(data), max_names=max_names)
    except GobError:
        _explain(data)
        raise
    # A list without a type is one of a POP that was not told; upstream keeps all that come by MQTT as doubtlists.
    if value.type not in ("", kind.value):
        raise SnapshotRefused(f"its list is of another type, and ours is a {kind.value}")
    return _current(found.observations, now, refused=found.refused, reason=found.reason)


def _explain(data: bytes) -> None:
    """Instead of a list there may be the reason why there is none. Raises SnapshotRefused where it is."""
    if not data:
        raise SnapshotRefused("it answered with nothing")
    if len(data) > _LONGEST_REASON or not data.lstrip().startswith(b"{"):
        return
    try:
        response = parse_response(data)
    except BodyError:
        return
    raise SnapshotRefused(f"it says: {response.error_msg or response.msg or 'nothing of why'}")


_LONGEST_REASON: Final = 64 << 10


def _current(observations: ObservationBlock, now: int, *, refused: int, reason: str | None) -> Snapshot:
    """Without what has ended; and nothing was seen later than now, or so."""
    lasts = np.frombuffer(observations.deadlines, np.int64) > now
    expired = len(observations) - int(np.count_nonzero(lasts))
    if expired:
        rows = np.flatnonzero(lasts)
        observations = ObservationBlock(
            names=taken(observations.names, rows.astype(np.uint32)),
            tags=np.frombuffer(observations.tags, np.uint32)[rows].tobytes(),
            observed=np.frombuffer(observations.observed, np.int64)[rows].tobytes(),
            deadlines=np.frombuffer(observations.deadlines, np.int64)[rows].tobytes(),
        )
    observed = np.frombuffer(observations.observed, np.int64)
    if len(observed) and int(observed.max()) > now + AHEAD:
        observations = attrs.evolve(observations, observed=np.minimum(observed, now + AHEAD).tobytes())
    return Snapshot(observations=observations, expired=expired, refused=refused, reason=reason or "")
