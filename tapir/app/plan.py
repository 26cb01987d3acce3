"""What the configuration on disk would change in the zone, before it is reloaded.

All of it is worked out here, in a process of its own, so that a large list does not weigh on the one that serves: the
list files are read as the daemon would read them, decided by the same code, and held against the zone as it is stored.
Nothing is written, locked or moved, whether or not a daemon runs.
"""

import contextlib
import heapq
import tempfile
from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from typing import Any, Final

import attrs

from tapir.app.config import Config, SourceConfig, after_reload, changes_needing_restart
from tapir.app.mapping import file_settings, running_sources, source_settings
from tapir.model.actions import Action, ListKind
from tapir.model.blocks import EMPTY_RECORDS, ListBlock, NameBlock, RecordBlock, RecordDelta
from tapir.model.messages.local import CANARY, LISTS, SOURCES, Override
from tapir.model.names import Name, canonical_key, format_name, parse_name
from tapir.policy.overrides import content_of, is_in_force
from tapir.policy.state import PolicyState
from tapir.services.authority.draft import ChangeSize
from tapir.services.authority.steering import Steering
from tapir.services.authority.steps import Brake
from tapir.services.evaluator.archive import load_state, stored_key
from tapir.services.evaluator.brake import BrakeSettings
from tapir.services.evaluator.mapping import open_copy
from tapir.services.evaluator.roster import (
    Reaction,
    SourceContent,
    SourceState,
    contents_of,
    judge_gate,
    take_content,
    waive_missing,
)
from tapir.services.sources.content import ListTornError, ListUnreadableError, Progress, look_at, read_list
from tapir.services.sources.dawg import read_dawg
from tapir.store.lists import ListStore
from tapir.store.overrides import OverrideStore
from tapir.store.state import lists_path, overrides_path, zone_path
from tapir.store.zones import StoredZone, ZoneStore
from tapir.zone.difference import difference
from tapir.zone.version import ZoneVersion

_TRIES: Final = 3
_SOMEWHERE: Final = parse_name("redirect.invalid.")


@attrs.frozen(kw_only=True)
class SourceChange:
    """A source that is `added`, `removed` or `changed`, and then in which keys; or `same`, with something to say."""

    id: str
    change: str
    keys: tuple[str, ...] = ()
    note: str = ""
    """why what its file says is not what would count"""


@attrs.frozen(kw_only=True)
class RecordChange:
    """One name whose record would change; NONE is no record."""

    name: str
    before: Action
    after: Action


@attrs.frozen(kw_only=True)
class RecordChanges:
    """How many names change in one way, and the `first` of them in canonical order, or all."""

    count: int
    first: tuple[RecordChange, ...]


@attrs.frozen(kw_only=True)
class Plan:
    """What a reload would do, or a start where no process `running` says what it goes by."""

    zone: str
    serial: int | None
    """of the stored zone that this is held against; None: there is none"""
    running: bool
    sources: tuple[SourceChange, ...]
    settings: tuple[str, ...]
    """keys outside of sources that would change, and bear on the records"""
    needs_restart: tuple[str, ...]
    held: tuple[str, ...]
    """what would keep the change from being published"""
    removed: RecordChanges
    """names that would have no record any more"""
    added: RecordChanges
    """names that would get one"""
    changed: RecordChanges
    """names whose record would say something else"""
    records: int
    """that the zone would have"""

    @property
    def changes(self) -> bool:
        """Whether anything would change."""
        noted = any(source.change != "same" for source in self.sources)
        count = self.removed.count + self.added.count + self.changed.count
        return bool(count or self.settings or self.needs_restart or noted)


@attrs.frozen(kw_only=True, eq=False)
class Stored:
    """What is stored in a state folder."""

    zone: StoredZone | None = None
    lists: frozenset[str] = frozenset()
    """the keys of the sources that have something stored"""
    states: Mapping[str, SourceState] = attrs.field(factory=dict)
    overrides: tuple[Override, ...] = ()


def make_plan(config: Config, *, running: Config | None, state_dir: Path, now: int, most: int | None = None) -> Plan:
    """What taking `config` would change, where a process goes by `running` (None: none runs).

    Names the first `most` changes of each way, or all. Reads every list, so it takes as long as a start.
    Raises StoreError when what is stored cannot be read.
    """
    taken = config if running is None else after_reload(running, config)
    settings = source_settings(taken)
    stored = read_stored(state_dir, format_name(taken.zone.name), (SourceState(settings=each) for each in settings))
    states = {each.id: stored.states.get(stored_key(each), SourceState(settings=each)) for each in settings}
    with tempfile.TemporaryDirectory(prefix="tapir-plan-") as staging:
        states, notes = _read_all(taken, states, Path(staging), now)
        states |= _internal(taken, states, stored.overrides, now)
        records = decide(taken, states.values())
    before = stored.zone.records if stored.zone is not None else EMPTY_RECORDS
    delta = compare(taken, before, records)
    removed, added, changed = _changes(delta, most)
    names = removed.count + added.count + changed.count
    return Plan(
        zone=format_name(taken.zone.name),
        serial=stored.zone.serial if stored.zone is not None else None,
        running=running is not None,
        sources=_source_changes(taken, running, stored.lists, notes),
        settings=_changed_settings(running, taken) if running is not None else (),
        needs_restart=changes_needing_restart(running, config) if running is not None else (),
        held=_held(taken, states.values(), stored.zone, delta, names=names),
        removed=removed,
        added=added,
        changed=changed,
        records=len(records),
    )


def lists_allowing_canary(config: Config) -> tuple[str, ...]:
    """The allowlists whose files keep the canary out of the zone, by name; a file that cannot be read says nothing."""
    allowing = attrs.evolve(config, sources=tuple(source for source in config.sources if source.kind is ListKind.ALLOW))
    if config.canary is None or not running_sources(allowing):
        return ()
    states = {each.id: SourceState(settings=each) for each in source_settings(allowing)}
    with tempfile.TemporaryDirectory(prefix="tapir-check-") as staging:
        states, _ = _read_all(allowing, states, Path(staging), 0)
        states |= _internal(config, states, (), 0)  # what is looked up is asked for what some list would block
        policy = PolicyState(config.policy, zone=config.zone.name, open_lookup=open_copy)
        policy.set_lists(contents_of(states.values()))
        hits = policy.explain(config.canary).hits
    return tuple(dict.fromkeys(hit.list_name for hit in hits if hit.kind == ListKind.ALLOW.value))


# What is stored


def read_stored(state_dir: Path, zone: str, sources: Iterable[SourceState]) -> Stored:
    """What is stored of `zone` and `sources`; nothing where there is no state folder. Raises StoreError."""
    found: dict[str, SourceState] = {}
    keys: frozenset[str] = frozenset()
    version: StoredZone | None = None
    overrides: tuple[Override, ...] = ()
    if (path := zone_path(state_dir, zone)).exists():
        with contextlib.closing(ZoneStore.open_reading(path)) as zones:
            version = zones.load()
    if (path := lists_path(state_dir)).exists():
        with contextlib.closing(ListStore.open_reading(path)) as lists:
            known = {each.source: each for each in lists.load_all()}
            keys = frozenset(known)
            for state in sources:
                if (key := stored_key(state.settings)) in known and state.settings.supported:
                    found[key] = load_state(lists, key, known[key], state)
    if (path := overrides_path(state_dir)).exists():
        with contextlib.closing(OverrideStore.open_reading(path)) as local:
            overrides = local.load()
    return Stored(zone=version, lists=keys, states=found, overrides=overrides)


# What the lists say


def _read_all(
    config: Config, states: Mapping[str, SourceState], staging: Path, now: int
) -> tuple[dict[str, SourceState], dict[str, str]]:
    """The sources after a look at each of their files, and what there is to say of some."""
    after = dict(states)
    notes: dict[str, str] = {}
    for source in running_sources(config):
        if source.path is None:
            state = after[source.id]
            held = "" if state.content is not None else "; it has no content yet"
            notes[source.id] = f"{source.origin} is not asked for here: what was stored of it last counts{held}"
            continue
        after[source.id], notes[source.id] = _read(config, source, states[source.id], staging, now)
    return after, notes


def _read(config: Config, source: SourceConfig, state: SourceState, staging: Path, now: int) -> tuple[SourceState, str]:
    reading = attrs.evolve(file_settings(source, zone=config.zone.name).reading, staging=staging)
    reason = ""
    for _ in range(_TRIES):
        try:
            read = read_dawg if reading.format == "dawg" else read_list
            admitted = read(reading, look_at(reading.path), Progress())
        except ListTornError as exc:
            reason = f"{reading.path}: {exc}"
            continue
        except ListUnreadableError as exc:
            reason = str(exc)
            break
        content = SourceContent(
            block=admitted.content, digest=admitted.digest, refusals=admitted.refusals, loaded_at=now
        )
        brake = state.settings.brake or BrakeSettings()
        state, reaction = take_content(state, content, brake=brake)
        if reaction is Reaction.HELD:
            return state, f"held by the brake: it {state.held_because}; what it said before counts"
        return state, ""
    if state.content is None:
        return state, f"{reason}; it has no content yet"
    return state, f"{reason}; the {len(state.content.block)} names that it said last count"


def _internal(
    config: Config, states: Mapping[str, SourceState], overrides: Iterable[Override], now: int
) -> dict[str, SourceState]:
    """The sources that nobody configures, with what the operator said and the canary."""
    live = [override for override in overrides if is_in_force(override, now)]
    blocks = {source: content_of(live, kind) for kind, source in SOURCES.items()}
    canary = () if config.canary is None else (config.canary,)
    blocks[CANARY] = ListBlock(names=NameBlock.of(canary))
    return {
        source: attrs.evolve(
            states[source],
            content=SourceContent(block=block, digest="", refusals=(), loaded_at=now),
            pending=None,
        )
        for source, block in blocks.items()
    }


def decide(config: Config, states: Iterable[SourceState]) -> RecordBlock:
    """The records that follow from what the sources say, as the policy evaluator has it."""
    policy = PolicyState(config.policy, zone=config.zone.name, redirect=config.zone.redirect, open_lookup=open_copy)
    policy.set_lists(contents_of(states))
    return policy.records()


# What that comes to


def compare(config: Config, before: RecordBlock, after: RecordBlock) -> RecordDelta:
    """The least that makes `after` of `before`."""
    # Where redirects lead is no matter here, but that they lead somewhere is: the zone may have some, and lose them.
    zone = attrs.evolve(config.zone, redirect=config.zone.redirect or _SOMEWHERE)
    return difference(ZoneVersion.build(zone, 1, before), after)


def _changes(delta: RecordDelta, most: int | None) -> tuple[RecordChanges, RecordChanges, RecordChanges]:
    """What is removed, added and changed, each name in one of them."""
    before, after = dict(delta.removed), dict(delta.added)

    def told(names: Set[Name]) -> RecordChanges:
        first = heapq.nsmallest(len(names) if most is None else most, names, key=canonical_key)
        changes = (
            RecordChange(
                name=format_name(name), before=before.get(name, Action.NONE), after=after.get(name, Action.NONE)
            )
            for name in first
        )
        return RecordChanges(count=len(names), first=tuple(changes))

    return (
        told(before.keys() - after.keys()),
        told(after.keys() - before.keys()),
        told(before.keys() & after.keys()),
    )


def _source_changes(
    config: Config, running: Config | None, stored: frozenset[str], notes: Mapping[str, str]
) -> tuple[SourceChange, ...]:
    after = {source.id: source for source in config.sources if source.active}
    found: list[SourceChange] = []
    if running is not None:
        before = {source.id: source for source in running.sources if source.active}
        gone = before.keys() - after.keys()
        come = after.keys() - before.keys()
        keys = {id_: _differing(before[id_], after[id_]) for id_ in before.keys() & after.keys()}
    else:
        # Nobody says what was configured before; the store knows which sources have said something.
        known = {id_: ListKind(kind) for kind, _, id_ in (key.partition("/") for key in stored)}
        gone = known.keys() - after.keys() - LISTS.keys()
        come = {id_ for id_, source in after.items() if source.supported} - known.keys()
        keys = {id_: ("type",) for id_, source in after.items() if id_ in known and known[id_] is not source.kind}
    found += [SourceChange(id=id_, change="removed") for id_ in sorted(gone)]
    for id_ in after:
        change = "added" if id_ in come else "changed" if keys.get(id_) else "same"
        if change != "same" or notes.get(id_):
            found.append(SourceChange(id=id_, change=change, keys=keys.get(id_, ()), note=notes.get(id_, "")))
    return tuple(found)


_KEYS: Final = {"kind": "type", "origin": "source", "path": "filename"}


def _differing(before: Any, after: Any) -> tuple[str, ...]:
    """The fields in which two values of one attrs class differ, as the files spell them."""
    return tuple(
        _KEYS.get(field.name, field.name.replace("_", "-"))
        for field in attrs.fields(type(after))
        if getattr(before, field.name) != getattr(after, field.name)
    )


def _changed_settings(running: Config, taken: Config) -> tuple[str, ...]:
    keys = [f"policy: {key}" for key in _differing(running.policy, taken.policy)]
    if running.canary != taken.canary:
        keys.append("services.rpz.canary")
    return tuple(keys)


def _held(
    config: Config,
    states: Iterable[SourceState],
    zone: StoredZone | None,
    delta: RecordDelta,
    *,
    names: int,
) -> tuple[str, ...]:
    """What would keep the change from being published."""
    held: list[str] = []
    gate = judge_gate(states := tuple(states))
    waived = judge_gate(waive_missing(states))
    if not waived.publish:
        held.append(f"nothing new is published without content for {', '.join(waived.blocking)}")
    elif gate.awaited:
        held.append(f"for up to {config.start_deadline} s, {', '.join(gate.awaited)} would be waited for")
    if zone is None:
        return tuple(held)
    if reason := Steering.unpack(zone.steering, held=zone.held).reason:
        held.append(f"the zone is {reason}")
    brake = Brake(change=config.zone_brake.change, minimum=config.zone_brake.minimum)
    size = ChangeSize(names=names, removed=len(delta.removed), added=len(delta.added))
    if len(zone.records) and brake.holds(records=len(zone.records), size=size):
        held.append("the zone's brake would hold it: tapir accept zone")
    return tuple(held)
