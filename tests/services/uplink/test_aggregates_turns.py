"""Whose turn it is, against servers and files that fail in any way: all that can arrive does, in bounded tries."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.edmnames import HISTOGRAM_FILE, FileName
from tapir.services.uplink.aggregates_turns import WINDOW, Blame, Outbox, Patience, Turns, survey
from tapir.store.parquetfiles import StoredFile

PATIENCE = Patience()
MINUTE = 60_000_000


def stored(number: int, size: int = 1) -> StoredFile:
    name = FileName(kind=HISTOGRAM_FILE, start=number * MINUTE, stop=(number + 1) * MINUTE)
    return StoredFile(path=Path("/outbox") / str(name), name=name, size=size, modified=0.0)


FILES = [stored(number) for number in range(20)]


def turns_of(*files: StoredFile, chance: float = 0.0) -> Turns:
    turns = Turns(PATIENCE, chance=lambda: chance)
    turns.see(survey(files, frozenset()))
    return turns


def test_what_is_in_the_folder() -> None:
    assert survey([], frozenset()) == Outbox()
    files = [stored(number, size=number) for number in range(WINDOW + 10)]
    outbox = survey(files, frozenset({files[0].path.name, "gone"}))
    assert (outbox.files, outbox.octets) == (len(files), sum(range(len(files))))
    assert outbox.oldest == files[0]
    assert outbox.chosen == (*files[1 : WINDOW + 1], files[-1])
    assert outbox.names == {files[0].path.name}
    assert outbox.hidden
    assert not survey(files[: WINDOW + 1], frozenset()).hidden
    assert survey(files[: WINDOW + 1], frozenset()).chosen == tuple(files[: WINDOW + 1])


def test_the_oldest_is_next_and_after_a_failure_the_newest_and_the_oldest_by_turns() -> None:
    turns = turns_of(*FILES[:5])
    now, order = 0.0, []
    for _ in range(10):
        file = turns.choose(now)
        assert file is not None
        order.append(FILES.index(file))
        assert not turns.failed(file, Blame.SHARED, now=now)
        assert turns.choose(turns.resume_at - 0.001) is None
        now = turns.resume_at
    assert order == [0, 4, 1, 3, 2] * 2
    file = turns.choose(now)
    assert file == FILES[0]
    turns.arrived(file)
    # It was the server, or so it seems: the others begin anew, the oldest first.
    assert turns.choose(now) == FILES[1]


def test_a_file_that_fails_again_although_others_arrived_is_put_aside() -> None:
    turns = turns_of(*FILES[:3])
    assert not turns.failed(FILES[0], Blame.SHARED, now=0)
    turns.arrived(FILES[2])
    assert turns.choose(0) == FILES[0]
    assert turns.failed(FILES[0], Blame.SHARED, now=0)
    assert turns.aside(0) == {FILES[0].path.name}
    assert turns.refused == 1
    assert turns.choose(turns.resume_at) == FILES[1]
    turns.arrived(FILES[1])
    assert turns.choose(599) is None
    assert turns.choose(601) == FILES[0]
    # For twice as long then, and no longer than an hour with the jitter.
    assert turns.failed(FILES[0], Blame.SHARED, now=601)
    assert turns.choose(601 + 1199) is None
    assert turns.choose(601 + 1200) == FILES[0]
    for _ in range(2000):
        turns.failed(FILES[0], Blame.REFUSED, now=0)
    assert turns.choose(3600) == FILES[0]


def test_what_is_refused_while_nothing_arrives_comes_back_when_something_does() -> None:
    turns = turns_of(*FILES[:3])
    assert turns.failed(FILES[0], Blame.REFUSED, now=0)
    assert turns.failed(FILES[1], Blame.REFUSED, now=20)
    turns.arrived(FILES[2])
    assert turns.refused == 0
    assert turns.choose(40) == FILES[0]
    assert turns.failed(FILES[0], Blame.REFUSED, now=40)
    turns.arrived(FILES[1])
    assert turns.choose(60) is None
    assert turns.refused == 1


def test_what_is_wrong_with_a_file_alone_pauses_nothing() -> None:
    turns = turns_of(*FILES[:2])
    assert turns.failed(FILES[0], Blame.FILE, now=0)
    assert turns.choose(0) == FILES[1]
    turns.arrived(FILES[1])
    assert turns.choose(0) is None


def test_without_a_connection_the_oldest_stays_the_next() -> None:
    turns = turns_of(*FILES[:3])
    for _ in range(3):
        assert not turns.failed(FILES[0], Blame.NOBODY, now=0)
        assert turns.choose(turns.resume_at) == FILES[0]
    assert turns.resume_at == 40


def test_what_is_gone_is_forgotten() -> None:
    turns = turns_of(*FILES[:2])
    turns.failed(FILES[0], Blame.REFUSED, now=0)
    turns.see(survey(FILES[1:2], turns.aside(0)))
    assert turns.refused == 0
    turns.gone(FILES[1])
    assert turns.choose(100) is None


def test_others_settings_begin_anew() -> None:
    turns = turns_of(*FILES[:2])
    turns.failed(FILES[0], Blame.REFUSED, now=0)
    turns.begin_anew()
    assert turns.choose(0) == FILES[0]
    turns.wait(10, now=0)
    assert turns.choose(9) is None


@given(
    bad=st.dictionaries(st.integers(0, 19), st.sampled_from([Blame.SHARED, Blame.REFUSED, Blame.FILE]), max_size=19),
    outages=st.lists(
        st.tuples(st.sampled_from([Blame.NOBODY, Blame.SHARED, Blame.REFUSED]), st.integers(0, 30)), max_size=4
    ),
    chance=st.floats(0, 1),
)
def test_all_that_can_arrive_does(
    bad: Mapping[int, Blame], outages: Sequence[tuple[Blame, int]], chance: float
) -> None:
    """Outages are counted in tries; between them the server takes all but the files that are bad."""
    turns = turns_of(*FILES, chance=chance)
    left, now = set(range(20)), 0.0
    pending = [each for blame, length in outages for each in (*[None] * 5, *[blame] * length)]
    # A pause for each try of an outage and two for each of what the bad ones cost; and a scan.
    end = 620 * (len(pending) + 20 * len(bad) + 20)
    while left - bad.keys():
        assert now < end, "it is stuck"
        file = turns.choose(now)
        if file is None:
            now += 10
            turns.see(survey([FILES[number] for number in sorted(left)], turns.aside(now)))
            continue
        number = FILES.index(file)
        blame = (pending.pop(0) if pending else None) or bad.get(number)
        if blame is not None:
            turns.failed(file, blame, now=now)
        else:
            assert number in left, "it is there no more"
            turns.arrived(file)
            left.discard(number)


@given(st.lists(st.sampled_from([*Blame, None]), max_size=60), st.floats(0, 1))
def test_pauses_have_their_bounds(blames: list[Blame | None], chance: float) -> None:
    turns = turns_of(*FILES, chance=chance)
    now = failures = 0.0
    for blame in blames:
        file = turns.choose(now)
        if file is None:
            break
        if blame is None:
            turns.arrived(file)
            failures = 0
            assert turns.resume_at <= now
            continue
        turns.failed(file, blame, now=now)
        if blame is not Blame.FILE:
            failures += 1
            pause = turns.resume_at - now
            least = min(10 * 2 ** (failures - 1), 400)
            assert least - 1e-6 <= pause <= 1.5 * least + 1e-6
        now = max(now, turns.resume_at)
