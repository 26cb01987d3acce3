"""Between what a bootstrap stream says and what we keep: names in wire form, times in microseconds, no secrets."""

from typing import Final, TypeVar

import attrs
import numpy as np
from numpy.typing import NDArray

from tapir.codec.gob.times import YEAR_ONE as YEAR_ONE_SECONDS
from tapir.codec.gob.times import GobTime
from tapir.codec.gob.values import MqttDetails, TapirName, WbgList
from tapir.codec.rfc3339 import LAST, SECOND, YEAR_ONE
from tapir.model.actions import ListKind
from tapir.model.blocks import ObservationBlock
from tapir.model.names import Name, NameSyntaxError, format_name, parse_name

INTERVAL: Final = 60
"""Seconds between the runs of the reaper that upstream's templates have."""

_NANOSECONDS: Final = 1000
_LARGEST: Final = (1 << 63) - 1


@attrs.frozen(kw_only=True, eq=False)
class ImportedList:
    """What a stream says of names; `refused` counts those that are no names, `reason` says why the first is none."""

    observations: ObservationBlock
    refused: int = 0
    reason: str | None = None


def import_list(value: WbgList) -> ImportedList:
    """The observations in `value`, and nothing else of it: neither its identity nor how its sender gets it.

    A name that stands there in several spellings counts as it was observed last. When slots of `reaper` say otherwise,
    `time_added` and `ttl` hold. Raises nothing.
    """
    found: dict[Name, tuple[Name, int, int, int]] = {}
    refused, reason = 0, None
    for key, entry in value.names or ():
        try:
            name = parse_name(key)
        except NameSyntaxError as exc:
            refused += 1
            reason = reason or exc.reason
            continue
        observed, deadline = times_of(entry.time_added, entry.ttl)
        known = found.get(name)
        if known is None or known[2] <= observed:
            found[name] = (name, entry.tag_mask, observed, deadline)
    return ImportedList(observations=ObservationBlock.of(found.values()), refused=refused, reason=reason)


def times_of(time: GobTime, ttl: int) -> tuple[int, int]:
    """When an entry was observed, and when it ends, in microseconds since the epoch."""
    observed = min(max(time.seconds * SECOND + time.nanoseconds // _NANOSECONDS, YEAR_ONE), LAST)
    return observed, min(max(observed + ttl // _NANOSECONDS, YEAR_ONE), _LARGEST)


def export_list(
    observations: ObservationBlock,
    *,
    source: str,
    kind: ListKind,
    topics: tuple[str, ...] = (),
    interval: int = INTERVAL,
) -> WbgList:
    """`observations` as the list `source`, for a POP that takes it over as it is: that has no times but the slots.

    `interval` is the seconds between runs of that POP's reaper. The bootstrap servers of this POP, and their key, are
    left out.
    """
    names: list[tuple[str, TapirName]] = []
    slots: dict[int, list[tuple[str, bool]]] = {}
    for name, mask, observed, deadline in observations:
        entry = entry_of(name, mask, observed, deadline)
        names.append((entry.name, entry))
        slots.setdefault(slot_of(deadline, interval), []).append((entry.name, True))
    return attrs.evolve(
        describe_list(source=source, kind=kind, topics=topics),
        names=tuple(names),
        reaper=tuple((GobTime(seconds=slot), tuple(members)) for slot, members in slots.items()),
    )


def describe_list(*, source: str, kind: ListKind, topics: tuple[str, ...]) -> WbgList:
    """The list `source` without what it holds."""
    return WbgList(
        name=source,
        type=kind.value,
        src_format="tapir-msg-v1",
        format="map",
        datasource="mqtt",
        mqtt=MqttDetails(topics=topics),
        rpz_zone_name=".",
    )


def entry_of(name: Name, mask: int, observed: int, deadline: int) -> TapirName:
    """The entry that says this of `name`."""
    seconds, fraction = divmod(observed, SECOND)
    ttl = max(min((deadline - observed) * _NANOSECONDS, _LARGEST), -_LARGEST)
    added = GobTime(seconds=seconds, nanoseconds=fraction * _NANOSECONDS)
    return TapirName(name=format_name(name), time_added=added, ttl=ttl, tag_mask=mask)


_Times = TypeVar("_Times", int, NDArray[np.int64])


def slot_of(deadline: _Times, interval: int) -> _Times:
    """The seconds since the epoch of the slot in which a reaper that runs every `interval` seconds finds it."""
    since = deadline // SECOND - YEAR_ONE_SECONDS  # Go truncates from year 1 on
    return since - since % interval + interval + YEAR_ONE_SECONDS
