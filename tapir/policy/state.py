"""The policy evaluator's memory: what all lists say, what follows from it, and what the zone was told."""

from collections.abc import Iterable
from itertools import chain
from typing import Final

import attrs
import numpy as np

from tapir.codec.columns import octets_of
from tapir.model.actions import Action
from tapir.model.blocks import ListBlock, LookupList, RecordBlock, RecordDelta
from tapir.model.messages.lists import ListChange, ListContent, ListDescription
from tapir.model.messages.policy import Explanation
from tapir.model.names import Name
from tapir.policy.columns import Columns
from tapir.policy.compile import Emission
from tapir.policy.explain import explain
from tapir.policy.lookups import Asked, Lookups, OpenLookup, refuse_lookup
from tapir.policy.passing import Judge, Passing
from tapir.policy.rules import Actions, decide_rows
from tapir.policy.settings import PolicySettings
from tapir.policy.table import NameTable, Slots

_FEW: Final = 1024
"""changed names for each of which it is looked up on what it bears; of more, everything is judged again"""


class PolicyState:
    """Lists and policy in, records out; each change yields the least delta to the records that stood before.

    For every name that can be looked up in `zone`, the records answer as `decide` does: by the name's own
    record, else by the wildcard below its closest encloser; PASSTHRU stands for "nothing" under a wildcard.
    The exception is `a.*.x` and the like where `*.x` has a record: no wildcard holds for it (RFC 4592 §2.2.1).
    Mutable, and owned by one actor. After an exception that is not UnknownListError it is good for nothing.
    """

    def __init__(
        self,
        settings: PolicySettings,
        *,
        zone: Name,
        redirect: Name | None = None,
        key: bytes = b"",
        open_lookup: OpenLookup = refuse_lookup,
    ) -> None:
        self._settings = settings
        self._zone = zone
        self._redirect = redirect  # for explanations only: records say REDIRECT, the zone knows where that leads
        self._table = NameTable(key=key)
        self._columns = Columns((), self._table)
        self._open_lookup = open_lookup
        self._lookups = Lookups(self._table, self._columns)
        self._watching = False
        self._emission = Emission(self._table, zone)
        self._records = 0
        self._passing = Passing()

    @property
    def settings(self) -> PolicySettings:
        """The policy in force."""
        return self._settings

    @property
    def list_count(self) -> int:
        """How many lists there are."""
        return len(self._columns.lists)

    @property
    def name_count(self) -> int:
        """How many names and wildcards are on any list."""
        return sum(len(slots) for slots in self._columns.entry_parts())

    @property
    def node_count(self) -> int:
        """How many names the table keeps: those on lists, those above them, and the root."""
        return len(self._table)

    @property
    def record_count(self) -> int:
        """How many records the zone is to hold, its apex aside."""
        return self._records

    @property
    def octets(self) -> int:
        """How much memory all of this takes, at most: the name table with its columns."""
        return self._table.octets + self._columns.octets + self._emission.octets

    def __repr__(self) -> str:
        return f"<PolicyState of {self.list_count} lists, {self.node_count} nodes, {self._records} records>"

    def set_lists(self, lists: Iterable[ListContent]) -> RecordDelta:
        """Replace all lists, which ones there are included. Raises LookupGoneError, having changed nothing."""
        contents = tuple(lists)
        asked = {
            each.description.source: self._opened(each.content)
            for each in contents
            if isinstance(each.content, LookupList)
        }
        self._columns = Columns([each.description for each in contents], self._table)
        self._lookups = Lookups(self._table, self._columns)
        for each in contents:
            if isinstance(each.content, ListBlock):
                for _ in self._columns.putting(each.description.source, each.content):
                    pass
        self._columns.grow()
        for source, lookup in asked.items():
            self._look_up(source, lookup)
        delta = self._judged(self._told(*self._emission.update_all(self._columns, self._settings)))
        for slots in self._columns.parts(stars=False):
            self._release(slots >> 1)
        self._forget_entered()
        return delta

    def apply(self, changes: Iterable[ListChange]) -> RecordDelta:
        """Change lists.

        Raises UnknownListError for a list that `set_lists` did not name, LookupGoneError for a file that cannot be
        used; both having changed nothing.
        """
        changes = tuple(changes)
        for change in changes:
            self._columns.place_of(change.source)
        asked = {change.source: None if change.lookup is None else self._opened(change.lookup) for change in changes}
        taken: list[Slots] = [np.empty(0, np.int32)]
        touched: list[Slots] = [np.empty(0, np.int32)]
        for source, lookup in asked.items():
            if lookup is None and source in self._lookups:
                taken.append(self._look_up(source, None))
                touched.append(taken[-1])
        for change in changes:
            taken.append(self._columns.take(change.source, change.removed))
            touched.append(taken[-1])
            touched.append(self._columns.put(change.source, change.upserted))
        self._columns.grow()
        if self._lookups:
            touched.append(self._lookups.follow(self._table.entered(), np.concatenate(touched)))
        for source, lookup in asked.items():
            if lookup is not None:
                taken.append(self._look_up(source, lookup))
                touched.append(taken[-1])
        self._columns.grow()
        delta = self._told(*self._emission.update(np.concatenate(touched), self._columns, self._settings))
        gone = np.concatenate(taken)
        if len(gone):
            self._release(np.concatenate((gone >> 1, self._lookups.freed_by(gone))))
        self._forget_entered()
        return self._judged(delta, changes)

    def _forget_entered(self) -> None:
        if self._watching:
            self._table.entered()

    def _opened(self, content: LookupList) -> Asked:
        return Asked(lookup=self._open_lookup(content), subtree=content.subtree)

    def _look_up(self, source: str, asked: Asked | None) -> Slots:
        if not self._watching:
            self._table.watch()
            self._watching = True
        return self._lookups.replace(source, asked)

    def _release(self, nodes: Slots) -> None:
        self._table.release(nodes, self._lookups.in_use, forget=self._lookups.forget)

    def describe(self, lists: Iterable[ListDescription]) -> RecordDelta:
        """Decide everything anew by other actions and weights of the same lists.

        Raises UnknownListError, having changed nothing, when there are others.
        """
        self._columns.describe(tuple(lists))
        return self._judged(self._told(*self._emission.update_all(self._columns, self._settings)))

    def set_policy(self, settings: PolicySettings) -> RecordDelta:
        """Decide everything anew by `settings`."""
        self._settings = settings
        return self._judged(self._told(*self._emission.update_all(self._columns, settings)))

    # What is passed through

    def set_passed(self, source: str, records: Iterable[bytes]) -> RecordDelta:
        """The feed `source` wants exactly `records` passed through (`tapir.codec.passed`), below the zone's name."""
        return RecordDelta(passed=self._passing.judge(self._passing.take(source, records), self._judge()))

    def passed(self) -> tuple[bytes, ...]:
        """All that is passed through beside `records`."""
        return self._passing.records()

    @property
    def passing(self) -> Passing:
        """What feeds want to pass through, and what of it does; to be looked at."""
        return self._passing

    def _judged(self, delta: RecordDelta, changes: tuple[ListChange, ...] | None = None) -> RecordDelta:
        """`delta`, with what it means for what is passed through; `changes` led to it, or more than can be told."""
        passing = self._passing
        if not passing:
            return delta
        if (
            changes is None
            or any(change.lookup is not None for change in changes)
            or sum(len(change.removed) + len(change.upserted) for change in changes) > _FEW
        ):
            owners = passing.names()
        else:
            names = chain.from_iterable(chain(change.removed, change.upserted.names) for change in changes)
            owners = passing.names_touched(names)
        passed = passing.judge(owners, self._judge())
        return RecordDelta(removed=delta.removed, added=delta.added, passed=passed)

    def _judge(self) -> Judge:
        return Judge(
            settings=self._settings,
            table=self._table,
            columns=self._columns,
            emitted=self._emission.emitted,
            lookups=self._lookups,
        )

    def records(self) -> RecordBlock:
        """All that the zone is to hold, its apex aside."""
        emitted = self._emission.emitted
        parts = self._columns.parts(stars=emitted.stars is not None)
        found = np.concatenate([np.empty(0, np.int32), *(part[emitted[part] != 0] for part in parts)])
        return self._block(found, emitted[found])

    def decide(self, name: Name) -> Action:
        """What to do with `name`; NONE for the root and for what is on no list."""
        if any(self._lookups.hits(name)):
            return Action.NONE
        slots = np.array([self._table.governing_slot(name)], np.int32)
        return Action(int(decide_rows(self._settings, self._columns.gather(slots))[0]))

    def decide_all(self) -> RecordBlock:
        """What to do with every name and wildcard that is on a list, NONE left out."""
        slots: list[Slots] = [np.empty(0, np.int32)]
        actions: list[Actions] = [np.empty(0, np.uint8)]
        for part in self._columns.entry_parts():
            decided = decide_rows(self._settings, self._columns.gather(part))
            slots.append(part[decided != 0])
            actions.append(decided[decided != 0])
        return self._block(np.concatenate(slots), np.concatenate(actions))

    def explain(self, name: Name) -> Explanation:
        """Why `decide` says what it says of `name`, and which record says it to resolvers."""
        explanation = explain(
            name,
            zone=self._zone,
            redirect=self._redirect,
            settings=self._settings,
            table=self._table,
            columns=self._columns,
            emitted=self._emission.emitted,
            lookups=self._lookups,
        )
        return attrs.evolve(explanation, passed=self._passing.facts(name)) if self._passing else explanation

    def _told(self, changed: Slots, before: Actions) -> RecordDelta:
        after = self._emission.emitted[changed]
        gone = before != 0
        come = after != 0
        self._records += int(np.count_nonzero(come)) - int(np.count_nonzero(gone))
        return RecordDelta(
            removed=self._block(changed[gone], before[gone]), added=self._block(changed[come], after[come])
        )

    def _block(self, slots: Slots, actions: Actions) -> RecordBlock:
        return RecordBlock(names=self._table.names_of(slots), actions=octets_of(actions))
