from itertools import pairwise

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.model.actions import Action
from tapir.model.blocks import RecordBlock, RecordDelta, VersionDelta
from tapir.model.names import parse_name
from tapir.zone.errors import ZoneError
from tapir.zone.journal import Journal, octets_of
from tapir.zone.serial import add, is_newer

SECOND = 1_000_000


def step(from_serial, to_serial, at=0, added=()):
    content = RecordBlock.of((parse_name(name), Action.DROP) for name in added)
    return VersionDelta(from_serial=from_serial, to_serial=to_serial, at=at, delta=RecordDelta(added=content))


def net(journal, serial):
    """The net difference, which must be there."""
    found = journal.net(serial)
    assert found is not None
    return found


def since(journal, serial):
    """The steps from `serial` on, which must be there."""
    found = journal.since(serial)
    assert found is not None
    return found


def serials(journal):
    return [(one.from_serial, one.to_serial) for one in journal]


def test_an_empty_journal_reaches_nowhere():
    journal = Journal()
    assert (journal.from_serial, journal.to_serial, len(journal), journal.octets) == (None, None, 0, 0)
    assert journal.net(1) is None
    assert not journal.reaches(1)


def test_it_reaches_each_serial_that_it_came_by():
    journal = Journal.of([step(1, 2, added=["a"]), step(2, 7, added=["b"]), step(7, 8, added=["c"])])
    assert (journal.from_serial, journal.to_serial) == (1, 8)
    assert [len(net(journal, serial)) for serial in (1, 2, 7, 8)] == [3, 2, 1, 0]
    for serial in (0, 3, 9, 2**31):
        assert journal.net(serial) is None
    assert [len(since(journal, serial)) for serial in (1, 2, 7)] == [3, 2, 1]
    assert repr(journal) == f"<Journal 1→8, 3 steps, {journal.octets} octets>"


def test_a_step_that_does_not_follow_is_refused():
    with pytest.raises(ZoneError, match="does not follow"):
        Journal.of([step(1, 2), step(3, 4)])
    with pytest.raises(ZoneError, match="not a serial"):
        Journal.of([step(1, 2**32)])


def test_a_journal_crosses_the_wrap():
    journal = Journal.of([step(2**32 - 2, 2**32 - 1), step(2**32 - 1, 1), step(1, 2)])
    assert [journal.reaches(serial) for serial in (2**32 - 2, 2**32 - 1, 0, 1)] == [True, True, False, True]


@pytest.mark.parametrize("back", [5, 4, 6 + 2**31])
def test_setting_the_serial_back_ends_the_past(back):
    journal = Journal.of([step(5, 6), step(6, back)])
    assert len(journal) == 0
    assert serials(journal.append(step(back, add(back, 1)))) == [(back, add(back, 1))]


def test_steps_too_far_back_to_compare_go():
    journal = Journal.of([step(1, 2), step(2, 2**31), step(2**31, 2**31 + 1), step(2**31 + 1, 2**31 + 3)])
    assert serials(journal) == [(2**31, 2**31 + 1), (2**31 + 1, 2**31 + 3)]
    assert journal.octets == sum(map(octets_of, journal))


@given(
    start=st.sampled_from([0, 1, 2**31 - 2, 2**32 - 3]),
    jumps=st.lists(st.one_of(st.integers(1, 3), st.integers(1, 2**32 - 1)), max_size=12),
    limits=st.tuples(st.integers(1, 10), st.integers(1, 3_000), st.integers(1, 12)),
)
def test_all_serials_stay_in_order_and_within_the_limits(settings, start, jumps, limits):
    deltas, octets, age = limits
    limited = attrs.evolve(settings, journal_max_deltas=deltas, journal_max_octets=octets, journal_max_age=age)
    journal = Journal()
    serial = start
    for now, jump in enumerate(jumps):
        following = (serial + jump) % 2**32
        journal = journal.append(step(serial, following, at=now * SECOND, added=[f"n{now}"] * (now % 3)))
        journal = journal.prune(limited, now=now * SECOND)
        serial = following
        assert journal.octets == sum(map(octets_of, journal))
        assert len(journal) <= deltas
        assert journal.octets <= octets or not journal.steps
        assert all(one.at >= (now - age) * SECOND for one in journal)
        assert journal.to_serial in {serial, None}
        for one, other in pairwise(journal.steps):
            assert one.to_serial == other.from_serial
        assert all(is_newer(serial, than=one.from_serial) for one in journal)
        assert all(since(journal, one.from_serial)[0] is one for one in journal)


def test_pruning_nothing_keeps_the_journal(settings):
    journal = Journal.of([step(1, 2)])
    assert journal.prune(settings, now=0) is journal
