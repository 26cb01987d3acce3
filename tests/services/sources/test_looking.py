import stat

import pytest

from tapir.services.sources.looking import FileSign, Sighting, Verdict, judge, refuse_kind

INTERVAL = 1.0
SECOND = 1_000_000_000
WALL = 1_700_000_000_000_000  # microseconds
NOW_NS = WALL * 1000


def sign(*, inode: int = 1, size: int = 10, modified_ns: int = NOW_NS, changed_ns: int | None = None) -> FileSign:
    return FileSign(
        device=1,
        inode=inode,
        size=size,
        modified_ns=modified_ns,
        changed_ns=modified_ns if changed_ns is None else changed_ns,
    )


def look(
    seen: FileSign, *, taken: FileSign | None = None, sighting: Sighting | None = None, now: float = 0.0
) -> tuple[Verdict, Sighting | None]:
    return judge(seen, taken=taken, sighting=sighting, now=now, wall=WALL, interval=INTERVAL)


def test_an_old_file_is_read_at_the_first_look() -> None:
    assert look(sign(modified_ns=NOW_NS - SECOND))[0] is Verdict.READ


def test_a_file_that_was_just_written_waits_for_one_interval() -> None:
    fresh = sign()
    verdict, sighting = look(fresh)
    assert verdict is Verdict.SETTLING
    assert look(fresh, sighting=sighting, now=0.5)[0] is Verdict.SETTLING
    assert look(fresh, sighting=sighting, now=1.0)[0] is Verdict.READ


def test_a_file_from_the_future_waits_for_one_interval_only() -> None:
    future = sign(modified_ns=NOW_NS + 3600 * SECOND, changed_ns=NOW_NS)
    verdict, sighting = look(future)
    assert verdict is Verdict.SETTLING
    assert look(future, sighting=sighting, now=1.0)[0] is Verdict.READ


def test_a_file_renamed_into_place_is_read_at_once() -> None:
    taken = sign(inode=1, modified_ns=NOW_NS - 5 * SECOND)
    renamed = sign(inode=2, modified_ns=NOW_NS - 1, changed_ns=NOW_NS)
    assert look(renamed, taken=taken)[0] is Verdict.READ


def test_a_new_inode_whose_last_write_may_still_go_on_settles_first() -> None:
    taken = sign(inode=1, modified_ns=NOW_NS - 5 * SECOND)
    rewritten = sign(inode=2)
    verdict, sighting = look(rewritten, taken=taken)
    assert verdict is Verdict.SETTLING
    assert look(rewritten, taken=taken, sighting=sighting, now=1.0)[0] is Verdict.READ


def test_a_file_written_in_place_settles_even_when_its_times_are_old() -> None:
    taken = sign(modified_ns=NOW_NS - 10 * SECOND)
    longer = sign(size=20, modified_ns=NOW_NS - 5 * SECOND, changed_ns=NOW_NS)
    verdict, sighting = look(longer, taken=taken)
    assert verdict is Verdict.SETTLING
    still_longer = sign(size=30, modified_ns=NOW_NS)
    verdict, sighting = look(still_longer, taken=taken, sighting=sighting, now=1.0)
    assert verdict is Verdict.SETTLING
    assert sighting is not None
    assert sighting.changing_since == 0.0, "how long a file has been changing is not forgotten"
    assert look(still_longer, taken=taken, sighting=sighting, now=2.0)[0] is Verdict.READ


def test_a_chmod_is_no_other_content() -> None:
    taken = sign(modified_ns=NOW_NS - 5 * SECOND)
    assert look(sign(modified_ns=NOW_NS - 5 * SECOND, changed_ns=NOW_NS), taken=taken)[0] is Verdict.UNCHANGED


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        (stat.S_IFREG, ""),
        (stat.S_IFDIR, "a directory"),
        (stat.S_IFIFO, "a named pipe"),
        (stat.S_IFSOCK, "a socket"),
        (stat.S_IFCHR, "a character device"),
        (stat.S_IFBLK, "a block device"),
    ],
)
def test_only_a_regular_file_can_hold_a_list(mode: int, said: str) -> None:
    reason = refuse_kind(mode)
    assert said in reason
    assert bool(reason) is bool(said)
