"""The zone's kernels make, octet by octet, what plain Python makes; over hostile names and in small chunks."""

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from zone_oracle import MisfitError, Sizes, build, successor

import tapir.zone.chunk
import tapir.zone.version
from tapir.model.actions import Action
from tapir.model.blocks import RecordBlock, RecordDelta
from tapir.model.names import Name, parse_name
from tapir.zone.difference import difference
from tapir.zone.encoding import encoding_of
from tapir.zone.errors import ZoneError
from tapir.zone.order import order_key
from tapir.zone.settings import ZoneSettings
from tapir.zone.version import ZoneVersion

SETTINGS = ZoneSettings(name=parse_name("rpz.example"), redirect=parse_name("garden.example"))
ENCODING = encoding_of(SETTINGS)
SIZES = Sizes(longest=1500, fill=1200, shortest=500)
SAID = [action for action in Action if action is not Action.NONE]

LABELS = st.one_of(
    st.sampled_from([b"a", b"b", b"*", b"\0", b"\1", b"\0\1", b"\1\0", b"\xc0\x0c", b"\xff", b"c" * 63]),
    st.binary(min_size=1, max_size=5).map(bytes.lower),
)
NAMES = (
    st.lists(LABELS, min_size=1, max_size=5)
    .map(lambda labels: Name(b"".join(bytes((len(label),)) + label for label in labels) + b"\0"))
    .filter(lambda name: len(name) <= ENCODING.longest)
)
CONTENTS = st.dictionaries(NAMES, st.sampled_from(SAID), max_size=80)


@pytest.fixture(scope="module", autouse=True)
def small_chunks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tapir.zone.chunk, "MAX_OCTETS", SIZES.longest)
        patch.setattr(tapir.zone.chunk, "FILL_OCTETS", SIZES.fill)
        patch.setattr(tapir.zone.version, "MIN_OCTETS", SIZES.shortest)
        # Hardly more than two chunks and a record, so that the desk is full in the midst of a merge, too.
        patch.setattr(tapir.zone.chunk, "_DESK_OCTETS", 4 * SIZES.fill)
        patch.setattr(tapir.zone.chunk, "_DESK_RECORDS", 200)
        yield


def block(content: dict[Name, Action]) -> RecordBlock:
    return RecordBlock.of(content.items())


def entries(version: ZoneVersion) -> list[list[tuple[bytes, int]]]:
    """The records of each chunk."""
    return [
        [
            (chunk.wire[start:end], action)
            for start, end, action in zip(chunk.places, chunk.places[1:], chunk.actions, strict=False)
        ]
        for chunk in version.chunks
    ]


@given(content=CONTENTS)
def test_chunks_are_those_of_plain_python(content: dict[Name, Action]) -> None:
    version = ZoneVersion.build(SETTINGS, 1, block(content))
    assert entries(version) == build(ENCODING, content, SIZES)
    assert list(version.firsts) == [order_key(next(chunk_names(chunk))) for chunk in version.chunks]
    ordered = sorted(content, key=order_key)
    assert list(version.names()) == ordered
    half = len(ordered) // 2
    parts = [block({name: content[name] for name in names}) for names in (ordered[:half], ordered[half:])]
    assert entries(ZoneVersion.build(SETTINGS, 1, *parts)) == entries(version)
    assert entries(ZoneVersion.build(SETTINGS, 1, *reversed(parts))) == entries(version)


def chunk_names(chunk: tapir.zone.chunk.Chunk) -> Iterator[Name]:
    return iter(chunk.names(ENCODING.tail_starts))


@given(contents=st.lists(CONTENTS, min_size=2, max_size=4))
@hypothesis_settings(suppress_health_check=[HealthCheck.large_base_example, HealthCheck.too_slow])
def test_successors_are_those_of_plain_python(contents: list[dict[Name, Action]]) -> None:
    version = ZoneVersion.build(SETTINGS, 1, block(contents[0]))
    chunks = build(ENCODING, contents[0], SIZES)
    for serial, (old, new) in enumerate(itertools.pairwise(contents), 2):
        delta = RecordDelta(
            removed=block({name: action for name, action in old.items() if new.get(name) != action}),
            added=block({name: action for name, action in new.items() if old.get(name) != action}),
        )
        found = difference(version, block(new))
        assert dict(found.removed) == dict(delta.removed)
        assert dict(found.added) == dict(delta.added)
        following = version.successor(delta, serial)
        chunks = successor(ENCODING, chunks, delta, SIZES)
        assert entries(following) == chunks
        between = following.difference_from(version)
        assert dict(between.removed) == dict(delta.removed)
        assert dict(between.added) == dict(delta.added)
        version = following


@given(content=CONTENTS, removed=CONTENTS, added=CONTENTS, data=st.data())
def test_what_fits_and_what_does_not_is_as_in_plain_python(
    content: dict[Name, Action], removed: dict[Name, Action], added: dict[Name, Action], data: st.DataObject
) -> None:
    """Deltas that mostly fit, with some records that need not."""
    there = data.draw(st.sets(st.sampled_from(sorted(content)), max_size=10)) if content else set()
    wrong = dict(list(removed.items())[:1]) if data.draw(st.booleans()) else {}
    gone = {name: content[name] for name in there} | wrong
    new = {name: action for name, action in added.items() if name not in content or data.draw(st.booleans())}
    delta = RecordDelta(removed=block(gone), added=block(new))
    version = ZoneVersion.build(SETTINGS, 1, block(content))
    before = entries(version)
    try:
        expected = successor(ENCODING, before, delta, SIZES)
    except MisfitError:
        with pytest.raises(ZoneError):
            version.successor(delta, 2)
    else:
        assert entries(version.successor(delta, 2)) == expected
    assert entries(version) == before


@given(content=CONTENTS.filter(len), asked=st.lists(NAMES, max_size=10))
def test_names_are_found_and_their_neighbours(content: dict[Name, Action], asked: list[Name]) -> None:
    version = ZoneVersion.build(SETTINGS, 1, block(content))
    keys = sorted(map(order_key, content))
    for name in [*asked, *list(content)[:10]]:
        assert version.get(name) is content.get(name, Action.NONE)
        if name not in content:
            before = [key for key in keys if key < order_key(name)]
            after = [key for key in keys if key > order_key(name)]
            assert version.neighbours(name) == (before[-1] if before else b"", after[0] if after else b"")
