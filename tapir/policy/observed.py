"""What an observation source knows: which names are on its list, until when, and which messages come too late. Pure.

The order of messages. Each name has a *stamp*: the time of the last message that was taken for it. An addition is of
its entry's `time_added`, a removal of its message's `timestamp` (of its entry's `time_added` if that is later, and of
the time of arrival where neither is said). Then, name by name:

    older than the stamp     `stale`: nothing changes
    as old as the stamp      a removal is taken; an addition too, unless what was taken last is a removal
    newer                    taken; it replaces the tags and moves the deadline, either way

So the order in which additions and removals of different times arrive does not matter, a replayed addition does not
undo a removal, and of two additions of one time the later one to arrive counts. What a message both adds and removes
it removes. A time that lies in the future counts as it stands: clamping it to our clock would let a replay win later.

An addition whose deadline has passed on arrival is `expired`: it puts nothing on the list. If it is as new as what is
held it ends that, though, as it would have done in time: otherwise what is blocked would depend on how late it came.

What is remembered. A name that left the list is remembered with its stamp as long as an older addition could still
hold: until the latest deadline of any addition of it that ever came, and after a removal for `RETAIN` more, since one
may be under way that nobody has seen yet. So many names at most are remembered that way (`most_gone`); of more, those
are forgotten first that would be soonest. Names on the list are bounded by `most`; what is above is refused (`full`).
"""

from collections.abc import Sequence
from typing import Final

import attrs
import numpy as np
import numpy.typing as npt

from tapir.codec.columns import octets_of
from tapir.codec.ordering import in_order, take_names
from tapir.model.blocks import EMPTY_NAMES, ListBlock, NameBlock, ObservationBlock
from tapir.model.names import Name
from tapir.model.observed import NOTHING_REMEMBERED, RememberedBlock, RememberedStep, Standing
from tapir.policy.observed_messages import Messages, Order, Report, gathered, times_in, waves
from tapir.policy.observed_rows import LOWEST, Rows, RowTable
from tapir.policy.table import Flags

RETAIN: Final = 86_400 * 1_000_000
"""How long a removal is remembered at least, in microseconds: as long as a broker keeps our session."""
MOST: Final = 10_000_000
MOST_GONE: Final = 1_000_000
NEVER: Final = LOWEST
"""As `now`: no deadline has passed."""

_HIGHEST: Final = (1 << 63) - 1
_NO_STEP: Final = RememberedStep()


@attrs.frozen(kw_only=True)
class Tally:
    """How many entries of messages were taken, and how many were not, by reason."""

    added: int = 0
    removed: int = 0
    expired: int = 0
    stale: int = 0
    full: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            **{field.name: getattr(self, field.name) + getattr(other, field.name) for field in attrs.fields(Tally)}
        )


@attrs.frozen(kw_only=True, eq=False)
class BookChange:
    """What came of it: names that left the list, names that are on it anew or with other tags, and what to store.

    `removed` and `upserted` are in order of wire octets.
    """

    removed: NameBlock = EMPTY_NAMES
    upserted: ListBlock = ListBlock(names=EMPTY_NAMES)
    remembered: RememberedBlock = NOTHING_REMEMBERED
    tally: Tally = Tally()

    @property
    def changes_list(self) -> bool:
        """Whether the list is another one now."""
        return len(self.removed) + len(self.upserted) > 0


@attrs.frozen(kw_only=True)
class KnownName:
    """What is known of one name; see RememberedBlock."""

    standing: Standing
    tags: int
    stamp: int
    deadline: int


class ObservationBook:
    """The names of one observation source. Mutable, and owned by one actor.

    `key` is a secret, see NameTable. Times are microseconds since the epoch; `now` NEVER lets nothing have ended.
    """

    def __init__(self, *, key: bytes = b"", most: int = MOST, most_gone: int = MOST_GONE) -> None:
        self._rows = RowTable(key=key)
        self._most = most
        self._most_gone = most_gone
        self._live = 0
        self._next = _HIGHEST

    def __len__(self) -> int:
        """How many names are on the list."""
        return self._live

    @property
    def gone(self) -> int:
        """How many names are remembered that are not on the list."""
        return len(self._rows) - self._live

    @property
    def octets(self) -> int:
        """How much memory the book takes."""
        return self._rows.octets

    # What messages say

    def apply(self, reports: Sequence[Report], *, now: int) -> BookChange:
        """Take what `reports` say, one after the other. Raises ValueError for what is no name."""
        names, messages, order = gathered(reports)
        return self._apply(names, messages, order, now=now)

    def merge(self, snapshot: ObservationBlock, *, now: int) -> BookChange:
        """Take what another POP holds: what is newer than what is known here, and holds still."""
        messages = Messages(
            stamps=times_in([snapshot.observed]),
            deadlines=times_in([snapshot.deadlines]),
            tags=np.frombuffer(snapshot.tags, np.uint32),
            removing=np.zeros(len(snapshot), np.bool_),
        )
        return self._apply(snapshot.names, messages, np.arange(len(snapshot)), now=now, merging=True)

    def _apply(
        self, names: NameBlock, messages: Messages, order: Order, *, now: int, merging: bool = False
    ) -> BookChange:
        if not len(names):
            return BookChange()
        if len(self._rows) + len(names) > self._most:
            self._forget_over(now)
        rows, new = self._rows.enter(names)
        # The last of the new ones find no room, if there is not enough.
        refused = new[max(0, len(new) - max(0, len(self._rows) - self._most)) :]
        touched = np.unique(rows)
        before = self._state_of(touched)
        tally = Tally()
        for wave in waves(rows, order, unique=len(touched) == len(rows)):
            tally += self._take(rows[wave], messages.part(wave), refused, now, merging)
        after = self._state_of(touched)
        known = after.standings != Standing.UNKNOWN
        different = known & before.differs(after)
        change = BookChange(
            removed=self._ordered_names(touched[before.live & ~after.live]),
            upserted=self._ordered_entries(touched[after.live & ~(before.live & (before.tags == after.tags))]),
            remembered=self._rows.block_of(touched[different]),
            tally=tally,
        )
        self._live += int(after.live.sum()) - int(before.live.sum())
        if after.live.any():
            self._next = min(self._next, int(after.deadlines[after.live].min()))
        self._rows.forget(touched[~known])
        self._forget_excess()
        return change

    def _take(self, rows: Rows, messages: Messages, refused: Rows, now: int, merging: bool) -> Tally:
        """Take a message for each of `rows`, none of which is there twice."""
        table = self._rows
        own, standings = table.stamps[rows], table.standings[rows]
        known = standings != Standing.UNKNOWN
        full = np.isin(rows, refused) if len(refused) else np.zeros(len(rows), np.bool_)
        adding, stamps, deadlines = ~messages.removing, messages.stamps, messages.deadlines
        as_new = (stamps > own) | ((stamps == own) & (messages.removing | (standings != Standing.WITHDRAWN)))
        if merging:
            as_new = stamps > own
        over = adding & (deadlines <= now)
        taken = adding & as_new & ~over & ~full
        ends = adding & as_new & over & known & (not merging)
        gone = messages.removing & as_new & ~full
        reaches = np.where(messages.removing, np.minimum(stamps, _HIGHEST - RETAIN) + RETAIN, deadlines)
        for which, standing in ((taken, Standing.LIVE), (ends, Standing.ENDED), (gone, Standing.WITHDRAWN)):
            table.standings[rows[which]] = standing
        stamped = taken | ends | gone
        table.stamps[rows[stamped]] = stamps[stamped]
        observed = taken | ends
        table.deadlines[rows[observed]] = deadlines[observed]
        table.tags[rows[observed]] = messages.tags[observed]
        reached = stamped | (known & adding)
        table.horizons[rows[reached]] = np.maximum(table.horizons[rows[reached]], reaches[reached])
        return Tally(
            added=int(taken.sum()),
            removed=int(gone.sum()),
            expired=int(over.sum()),
            stale=int((~as_new & ~over).sum()),
            full=int((full & as_new & ~over).sum()),
        )

    # What ends by itself

    def next_deadline(self) -> int | None:
        """Before this nothing ends; None when nothing ever does."""
        return self._next if self._live else None

    def expire(self, now: int) -> BookChange:
        """All that ends by `now` is off the list; what nobody needs to remember any more is forgotten."""
        table = self._rows
        live = table.standings == Standing.LIVE
        due = _rows_where(live & (table.deadlines <= now))
        table.standings[due] = Standing.ENDED
        self._live -= len(due)
        live[due] = False
        self._next = int(np.min(table.deadlines, where=live, initial=_HIGHEST))
        removed = self._ordered_names(due)
        self._forget_over(now)
        self._forget_excess()
        return BookChange(removed=removed)

    def _forget_over(self, now: int) -> None:
        table = self._rows
        self._rows.forget(_rows_where((table.standings > Standing.LIVE) & (table.horizons <= now)))

    def _forget_excess(self) -> None:
        """Have no more names remembered that are off the list than may be."""
        if self.gone <= self._most_gone:
            return
        gone = _rows_where(self._rows.standings > Standing.LIVE)
        # A tenth more, so that not every message has to look for the next one.
        excess = min(len(gone), len(gone) - self._most_gone + self._most_gone // 10)
        self._rows.forget(gone[np.argpartition(self._rows.horizons[gone], excess - 1)[:excess]])

    # What is held

    def content(self) -> ListBlock:
        """The list, in order of wire octets."""
        return self._ordered_entries(_rows_where(self._rows.standings == Standing.LIVE))

    def export(self, now: int) -> ObservationBlock:
        """The list with its times, without what ends by `now`."""
        table = self._rows
        rows = _rows_where((table.standings == Standing.LIVE) & (table.deadlines > now))
        return ObservationBlock(
            names=table.names_of(rows),
            tags=octets_of(table.tags[rows]),
            observed=octets_of(table.stamps[rows]),
            deadlines=octets_of(table.deadlines[rows]),
        )

    def known(self, name: Name) -> KnownName | None:
        """What is known of `name` itself."""
        table = self._rows
        for row in table.find(NameBlock.of((name,))):
            return KnownName(
                standing=Standing(table.standings[row]),
                tags=int(table.tags[row]),
                stamp=int(table.stamps[row]),
                deadline=int(table.deadlines[row]),
            )
        return None

    def snapshot(self) -> RememberedBlock:
        """All that is remembered."""
        return self._rows.block_of(_rows_where(self._rows.standings != Standing.UNKNOWN))

    def restore(self, steps: Sequence[RememberedStep], *, now: int) -> None:
        """Take what was stored, in order; what nobody needs to remember at `now` is forgotten."""
        table = self._rows
        rows = table.restore([step.entries for step in steps])
        latest = np.full(table.extent, 0, np.int32)
        latest[rows] = np.repeat(np.arange(len(steps), dtype=np.int32), [len(step.entries) for step in steps])
        # What a step ended are the names that it, or a step before it, was the last to speak of.
        ended = np.array([NEVER if step.ended_by is None else step.ended_by for step in (*steps, _NO_STEP)], np.int64)
        ended_by = np.maximum.accumulate(ended[::-1])[::-1]
        over = (table.standings == Standing.LIVE) & (table.deadlines <= ended_by[latest])
        table.standings[_rows_where(over)] = Standing.ENDED
        live = table.standings == Standing.LIVE
        self._live = int(live.sum())
        self._next = int(np.min(table.deadlines, where=live, initial=_HIGHEST))
        self._forget_over(now)
        self._forget_excess()

    def _ordered_names(self, rows: Rows) -> NameBlock:
        return self._ordered_entries(rows).names

    def _ordered_entries(self, rows: Rows) -> ListBlock:
        if not len(rows):
            return ListBlock(names=EMPTY_NAMES)
        names = self._rows.names_of(rows)
        order = in_order(names, np.arange(len(rows), dtype=np.uint32))
        tags = self._rows.tags[rows][order]
        return ListBlock(names=take_names(names, order), tags=octets_of(tags) if tags.any() else b"")

    def _state_of(self, rows: Rows) -> "_State":
        table = self._rows
        return _State(
            standings=table.standings[rows],
            tags=table.tags[rows],
            times=np.stack([table.stamps[rows], table.deadlines[rows], table.horizons[rows]]),
        )


@attrs.frozen(kw_only=True, eq=False)
class _State:
    """What was known of some rows."""

    standings: npt.NDArray[np.uint8]
    tags: npt.NDArray[np.uint32]
    times: npt.NDArray[np.int64]

    @property
    def live(self) -> Flags:
        live: Flags = self.standings == Standing.LIVE
        return live

    @property
    def deadlines(self) -> npt.NDArray[np.int64]:
        deadlines: npt.NDArray[np.int64] = self.times[1]
        return deadlines

    def differs(self, other: "_State") -> Flags:
        different: Flags = (
            (self.standings != other.standings) | (self.tags != other.tags) | (self.times != other.times).any(axis=0)
        )
        return different


def _rows_where(flags: Flags) -> Rows:
    return np.flatnonzero(flags).astype(np.int32)
