"""What is asked of the store: every name that did not come lately, once."""

import numpy as np
import pytest
from dnstap_frames import frame, response
from hypothesis import given
from hypothesis import strategies as st
from sightings import named, sightings_of

from tapir.codec.dnstap import DecodedBlock, decode
from tapir.codec.newqname import Sightings
from tapir.minimiser.columns import accepted
from tapir.minimiser.novelty import Gathering, RecentNames
from tapir.model.blocks import FrameBlock

SECRET = bytes(range(16))
HOUR = 3_600_000_000


def block_of(*names: bytes) -> DecodedBlock:
    return decode(FrameBlock.of([frame(response_message=response(name)) for name in names]), SECRET)


def sifted(recent: RecentNames, *names: bytes) -> list[bytes]:
    block = block_of(*names)
    return [bytes(name) for name in recent.sift(block, accepted(block)).names]


NAMES = [named(f"{letter}{number}") for letter in "aB" for number in range(20)]


@given(st.lists(st.lists(st.sampled_from(NAMES + [name.swapcase() for name in NAMES]), max_size=30), max_size=5))
def test_a_name_is_asked_for_once(blocks: list[list[bytes]]) -> None:
    recent = RecentNames(100_000, refresh=HOUR)
    seen: set[bytes] = set()
    for names in blocks:
        wanted = []
        for name in names:
            if name.lower() not in seen:
                seen.add(name.lower())
                wanted.append(name)
        assert sifted(recent, *names) == wanted


@given(st.lists(st.lists(st.sampled_from(NAMES), max_size=30), max_size=5))
def test_a_small_memory_asks_again_and_misses_nothing(blocks: list[list[bytes]]) -> None:
    recent = RecentNames(8, refresh=HOUR)
    ever: set[bytes] = set()
    asked: set[bytes] = set()
    for names in blocks:
        asked |= set(sifted(recent, *names))
        ever |= set(names)
        assert asked == ever


def test_rows_that_are_not_asked_for_are_left_alone() -> None:
    recent = RecentNames(8, refresh=HOUR)
    block = block_of(named("a"), named("b"))
    assert list(recent.sift(block, np.array([1])).names) == [named("b")]
    assert list(recent.sift(block, np.array([0, 1])).names) == [named("a")]
    assert recent.evicted == 0
    assert len(recent.sift(block, np.array([], np.intp))) == 0


def test_a_sighting_says_what_the_response_did() -> None:
    block = block_of(named("A"), named("b"))
    found = RecentNames(8, refresh=HOUR).sift(block, accepted(block))
    assert found.flags.tolist() == block.flags.tolist()
    assert found.qtype.tolist() == block.qtype.tolist()
    assert found.qclass.tolist() == block.qclass.tolist()
    assert found.time.tolist() == block.time.tolist()
    assert found.name_hash.tolist() == block.name_hash.tolist()


def test_what_could_not_be_asked_is_asked_again() -> None:
    recent = RecentNames(8, refresh=HOUR)
    block = block_of(named("a"), named("b"))
    found = recent.sift(block, accepted(block))
    recent.forget(found.rows(np.array([1], np.uint32)).name_hash)
    assert sifted(recent, named("a"), named("b")) == [named("b")]


def test_each_name_is_let_through_now_and_then() -> None:
    names = [named(f"n{number}") for number in range(200)]
    recent = RecentNames(10_000, refresh=HOUR)
    assert sifted(recent, *names) == names
    recent.age(0)
    assert sifted(recent, *names) == []
    recent.age(HOUR // 2)
    half = sifted(recent, *names)
    assert 60 < len(half) < 140
    recent.age(HOUR // 2)
    assert sifted(recent, *names) == []
    recent.age(HOUR + HOUR // 4)
    rest = sifted(recent, *names)
    assert set(names) - set(half) <= set(rest)
    recent.age(5 * HOUR)
    assert sifted(recent, *names) == names


def test_the_clock_may_be_set_back() -> None:
    recent = RecentNames(8, refresh=HOUR)
    recent.age(10 * HOUR)
    recent.age(2 * HOUR)
    assert sifted(recent, named("a")) == [named("a")]
    recent.age(2 * HOUR + 1)
    assert sifted(recent, named("a")) == []
    recent.age(3 * HOUR)
    assert sifted(recent, named("a")) == [named("a")]


def test_its_memory_is_what_was_asked_for() -> None:
    recent = RecentNames(10_001, refresh=HOUR)
    assert recent.octets == 10_008 * 8
    assert repr(recent) == "<RecentNames: 10008 entries>"
    for entries, refresh in ((0, 1), (1, 0)):
        with pytest.raises(ValueError, match="room"):
            RecentNames(entries, refresh=refresh)


# -- gathering


def labels(sightings: Sightings | None) -> list[int]:
    return [] if sightings is None else [int(name[1 : 1 + name[0]]) for name in sightings.names]


@given(st.lists(st.integers(0, 9) | st.none(), max_size=30), st.integers(1, 8), st.integers(1, 20))
def test_rows_come_out_in_their_order_or_back(steps: list[int | None], size: int, limit: int) -> None:
    gathering = Gathering(size=size, limit=limit)
    held: list[int] = []
    number = 0
    for step in steps:
        if step is None:
            assert labels(gathering.take()) == held[:size]
            del held[:size]
        else:
            rows = list(range(number, number + step))
            number += step
            room = limit - len(held)
            back = gathering.add(sightings_of([named(str(row)) for row in rows]), now=0)
            assert labels(back) == rows[room:]
            held += rows[:room]
        assert len(gathering) == len(held)


def test_a_batch_is_due_when_it_is_whole_or_old() -> None:
    gathering = Gathering(size=3, limit=10)
    assert not gathering.is_due(100, patience=5)
    assert gathering.add(sightings_of([named("a")]), now=100) is None
    assert gathering.add(sightings_of([named("b")]), now=103) is None
    assert not gathering.is_due(104, patience=5)
    assert gathering.is_due(105, patience=5)
    assert gathering.is_due(99, patience=5)  # the clock was set back: better early than never
    assert gathering.add(sightings_of([named("c")]), now=103) is None
    assert gathering.is_due(103, patience=5)
    assert len(gathering.take()) == 3
    assert not gathering.is_due(1000, patience=5)
    assert len(gathering.take()) == 0


def test_what_comes_one_by_one_takes_no_more_room_than_what_comes_together() -> None:
    gathering = Gathering(size=100, limit=10_000)
    number = 0
    for count in [1] * 700 + [90] * 10 + [1] * 400:
        rows = [named(str(row)) for row in range(number, number + count)]
        assert gathering.add(sightings_of(rows), now=0) is None
        number += count
    assert len(gathering._parts) < 200
    taken: list[int] = []
    while len(gathering):
        taken += labels(gathering.take())
    assert taken == list(range(number))


def test_names_that_make_room_are_counted() -> None:
    recent = RecentNames(8, refresh=HOUR)
    assert len(sifted(recent, *NAMES[:11])) == 11
    assert recent.evicted == 3
