"""The book of an observation source against a dictionary, whatever comes in whatever order."""

from collections.abc import Sequence

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.model.blocks import ListBlock, NameBlock, ObservationBlock, WithdrawalBlock
from tapir.model.names import Name, format_name, parse_name
from tapir.model.observed import RememberedStep, Standing
from tapir.policy.observed import NEVER, RETAIN, BookChange, ObservationBook, Tally
from tapir.policy.observed_messages import Report

NAMES = [parse_name(text) for text in ("a.example", "b.example", "x.a.example", "*.a.example", "c.test", "*.test")]
A, B = NAMES[0], NAMES[1]


@attrs.frozen(kw_only=True)
class Told:
    """One message: what it adds (name, tags, time, deadline), and what it removes (name, time) at which time."""

    added: tuple[tuple[Name, int, int, int], ...] = ()
    removed: tuple[tuple[Name, int], ...] = ()
    at: int = 0

    @property
    def report(self) -> Report:
        return Report(
            added=ObservationBlock.of(self.added), removed=WithdrawalBlock.of(self.removed), removed_at=self.at
        )


def add(name: Name, time: int, deadline: int, tags: int = 1) -> Told:
    return Told(added=((name, tags, time, deadline),))


def remove(name: Name, at: int) -> Told:
    return Told(removed=((name, 0),), at=at)


@attrs.define
class Known:
    standing: Standing
    tags: int
    stamp: int
    deadline: int
    horizon: int


class Oracle:
    """The same rules, one name after the other."""

    def __init__(self) -> None:
        self.known: dict[Name, Known] = {}

    def take(self, told: Told, now: int) -> Tally:
        tally = dict.fromkeys(("added", "removed", "expired", "stale"), 0)
        for name, tags, time, deadline in told.added:
            tally[self._add(name, tags, time, deadline, now)] += 1
        for name, time in told.removed:
            tally[self._remove(name, max(time, told.at))] += 1
        return Tally(**tally)

    def _add(self, name: Name, tags: int, time: int, deadline: int, now: int) -> str:
        known = self.known.get(name)
        if known is not None:
            known.horizon = max(known.horizon, deadline)
        late = known is not None and (
            time < known.stamp or (time == known.stamp and known.standing is Standing.WITHDRAWN)
        )
        if deadline <= now:
            if known is not None and not late:
                known.standing, known.tags, known.stamp, known.deadline = Standing.ENDED, tags, time, deadline
            return "expired"
        if late:
            return "stale"
        horizon = deadline if known is None else known.horizon
        self.known[name] = Known(Standing.LIVE, tags, time, deadline, horizon)
        return "added"

    def _remove(self, name: Name, time: int) -> str:
        known = self.known.setdefault(name, Known(Standing.UNKNOWN, 0, NEVER, NEVER, NEVER))
        if time < known.stamp:
            return "stale"
        known.standing, known.stamp = Standing.WITHDRAWN, time
        known.horizon = max(known.horizon, time + RETAIN)
        return "removed"

    def merge(self, snapshot: Sequence[tuple[Name, int, int, int]], now: int) -> None:
        for name, tags, time, deadline in snapshot:
            known = self.known.get(name)
            if deadline > now and (known is None or time > known.stamp):
                self._add(name, tags, time, deadline, now)
            elif known is not None:
                known.horizon = max(known.horizon, deadline)

    def expire(self, now: int) -> None:
        for known in self.known.values():
            if known.standing is Standing.LIVE and known.deadline <= now:
                known.standing = Standing.ENDED
        self.known = {
            name: known for name, known in self.known.items() if known.standing is Standing.LIVE or known.horizon > now
        }

    @property
    def content(self) -> dict[Name, int]:
        return {name: known.tags for name, known in self.known.items() if known.standing is Standing.LIVE}


def applied(list_: dict[Name, int], change: BookChange) -> dict[Name, int]:
    """`list_` after `change`, which must fit it to the letter."""
    after = dict(list_)
    for name in change.removed:
        del after[name]
    for name, tags in change.upserted:
        assert after.get(name) != tags, "nothing changed of it"
        after[name] = tags
    assert list(change.removed) == sorted(change.removed)
    assert list(change.upserted.names) == sorted(change.upserted.names)
    return after


times = st.integers(0, 12)
entries = st.tuples(st.sampled_from(NAMES), st.integers(0, 3), times, st.integers(-2, 24))


@st.composite
def tellings(draw: st.DrawFn) -> Told:
    added = draw(st.lists(entries, max_size=3, unique_by=lambda entry: entry[0]))
    left = [name for name in NAMES if name not in {entry[0] for entry in added}]
    removed = draw(st.lists(st.tuples(st.sampled_from(left), st.just(0)), max_size=2, unique_by=lambda entry: entry[0]))
    return Told(added=tuple(added), removed=tuple(removed), at=draw(times))


steps = st.one_of(
    st.lists(tellings(), min_size=1, max_size=4),
    st.tuples(st.just("expire")),
    st.tuples(st.just("restart")),
    st.tuples(st.just("merge"), st.lists(entries, max_size=4, unique_by=lambda entry: entry[0])),
)


@given(st.lists(st.tuples(st.integers(0, 3), steps), max_size=12))
def test_it_knows_what_a_dictionary_knows(history: list[tuple[int, object]]) -> None:
    book, oracle = ObservationBook(), Oracle()
    now = 0
    held: dict[Name, int] = {}
    stored: list[RememberedStep] = []
    for passed, step in history:
        now += passed
        if isinstance(step, list):
            change = book.apply([told.report for told in step], now=now)
            tally = Tally()
            for told in step:
                tally += oracle.take(told, now)
            assert change.tally == tally
            stored.append(RememberedStep(entries=change.remembered))
        elif step[0] == "expire":
            change = book.expire(now)
            oracle.expire(now)
            stored.append(RememberedStep(ended_by=now))
        elif step[0] == "merge":
            snapshot = step[1]
            change = book.merge(ObservationBlock.of(snapshot), now=now)
            oracle.merge(snapshot, now)
            stored.append(RememberedStep(entries=change.remembered))
        else:
            book = ObservationBook()
            book.restore(stored, now=now)
            oracle.known = {
                name: known
                for name, known in oracle.known.items()
                if known.standing is Standing.LIVE or known.horizon > now
            }
            change = BookChange()
        held = applied(held, change)
        assert held == oracle.content
        assert dict(book.content()) == held
        assert len(book) == len(held)
        for name in NAMES:
            found, known = book.known(name), oracle.known.get(name)
            assert (found is None) == (known is None)
            if found is not None and known is not None:
                assert (found.standing, found.stamp) == (known.standing, known.stamp)
        deadlines = [known.deadline for known in oracle.known.values() if known.standing is Standing.LIVE]
        next_deadline = book.next_deadline()
        assert (next_deadline is None) == (not deadlines)
        if next_deadline is not None:
            assert next_deadline <= min(deadlines)
    restored = ObservationBook()
    restored.restore([RememberedStep(entries=book.snapshot())], now=now)
    assert dict(restored.content()) == held


@given(st.permutations([add(A, 1, 50, 1), add(A, 2, 40, 2), remove(A, 3), add(A, 4, 30, 4), add(B, 1, 9)]))
def test_the_order_in_which_messages_arrive_does_not_matter(order: list[Told]) -> None:
    book = ObservationBook()
    for told in order:
        book.apply([told.report], now=5)
    assert dict(book.content()) == {A: 4, B: 1}
    assert book.known(A).deadline == 30


def test_a_replayed_addition_does_not_undo_a_removal() -> None:
    book = ObservationBook()
    addition = add(A, 10, 1000)
    book.apply([addition.report, remove(A, 20).report], now=20)
    for _ in range(3):
        assert book.apply([addition.report], now=21).tally == Tally(stale=1)
    assert len(book) == 0
    # Nor when it is of the very time of the removal, which may be as coarse as a second.
    assert book.apply([add(A, 20, 1000).report], now=21).tally == Tally(stale=1)
    assert book.apply([add(A, 21, 1000).report], now=21).tally == Tally(added=1)


def test_a_removal_is_remembered_until_no_addition_could_come_back() -> None:
    book = ObservationBook()
    late = 5 * RETAIN
    book.apply([add(A, 10, late).report, remove(A, 20).report, remove(B, 20).report], now=20)
    book.expire(20 + RETAIN - 1)
    assert book.gone == 2
    book.expire(20 + RETAIN)
    assert book.gone == 1, "of one no addition ever came"
    book.expire(late - 1)
    assert book.apply([add(A, 10, late).report], now=late - 1).tally == Tally(stale=1)
    book.expire(late)
    assert book.gone == 0
    assert book.apply([add(A, 10, late).report], now=late).tally == Tally(expired=1)


def test_a_shorter_observation_is_not_undone_by_an_older_longer_one() -> None:
    book = ObservationBook()
    book.apply([add(A, 1, 1000).report, add(A, 2, 10).report], now=2)
    assert list(book.expire(10).removed) == [A]
    assert book.apply([add(A, 1, 1000).report], now=11).tally == Tally(stale=1)
    assert len(book) == 0


def test_one_that_comes_too_late_still_ends_what_it_replaces() -> None:
    book = ObservationBook()
    book.apply([add(A, 1, 1000).report], now=1)
    change = book.apply([add(A, 2, 5).report, add(B, 2, 5).report], now=6)
    assert (change.tally, list(change.removed)) == (Tally(expired=2), [A])
    assert book.known(B) is None


def test_while_the_clock_is_doubted_nothing_has_ended() -> None:
    book = ObservationBook()
    assert book.apply([add(A, 1, 5).report], now=NEVER).tally == Tally(added=1)
    assert list(book.expire(6).removed) == [A]


def test_there_is_room_for_so_many_and_no_more() -> None:
    book = ObservationBook(most=3)
    names = [parse_name(f"n{number}.example") for number in range(6)]
    assert book.apply([add(name, 1, 100).report for name in names[:2]], now=1).tally == Tally(added=2)
    assert book.apply([add(name, 2, 100).report for name in names[1:]], now=2).tally == Tally(added=2, full=3)
    assert len(book) == 3
    book.expire(100)
    assert book.apply([add(name, 101, 200).report for name in names[:3]], now=101).tally == Tally(added=3)


def test_of_too_many_that_are_gone_those_are_forgotten_first_that_would_be_soonest() -> None:
    book = ObservationBook(most_gone=10)
    names = [parse_name(f"n{number}.example") for number in range(11)]
    for number, name in enumerate(names):
        book.apply([remove(name, number).report], now=20)
    assert [book.known(name) is None for name in names] == [True] * 2 + [False] * 9


def test_what_is_exported_can_be_merged_anywhere() -> None:
    book, other = ObservationBook(), ObservationBook()
    book.apply([add(A, 5, 100, 3).report, add(B, 5, 50, 4).report, remove(NAMES[2], 9).report], now=5)
    other.apply([add(A, 6, 80, 7).report, add(NAMES[2], 4, 100).report], now=6)
    change = other.merge(book.export(50), now=50)
    assert dict(change.upserted) == {}
    assert other.merge(book.export(10), now=10).tally == Tally(added=1, stale=1)
    assert dict(other.content()) == {A: 7, B: 4, NAMES[2]: 1}
    assert [(format_name(name), *rest) for name, *rest in other.export(10)].count(("b.example.", 4, 5, 50)) == 1


def test_what_is_no_name_is_the_callers_mistake() -> None:
    block = ObservationBlock(names=NameBlock.of([Name(b"bad")]), tags=bytes(4), observed=bytes(8), deadlines=bytes(8))
    with pytest.raises(ValueError, match="name"):
        ObservationBook().merge(block, now=0)
    assert isinstance(ObservationBook().content(), ListBlock)
