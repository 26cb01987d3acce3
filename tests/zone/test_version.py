import random

import attrs
import dns.name
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tapir.model.actions import Action
from tapir.model.blocks import EMPTY_RECORDS, NameBlock, RecordBlock, RecordDelta
from tapir.model.names import ROOT, Name, canonical_key, parse_name
from tapir.zone.chunk import MAX_OCTETS, MIN_OCTETS
from tapir.zone.errors import ZoneError
from tapir.zone.settings import ZoneSettings
from tapir.zone.version import ZoneVersion

SAID = [action for action in Action if action is not Action.NONE]
LABELS = st.one_of(st.sampled_from([b"a", b"b", b"*", b"\0", b"\1"]), st.binary(min_size=1, max_size=6))
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(lambda labels: Name(dns.name.Name([*labels, b""]).to_digestable()))
CONTENTS = st.dictionaries(NAMES, st.sampled_from(SAID), max_size=60)


def block(content):
    return RecordBlock.of(content.items())


def many(count, seed=1):
    shuffler = random.Random(seed)
    names = {f"w{shuffler.randrange(10**9)}.d{shuffler.randrange(count)}.example" for _ in range(count)}
    return {parse_name(name): SAID[shuffler.randrange(len(SAID))] for name in sorted(names)}


def assert_holds(version, content):
    assert dict(version) == content
    assert len(version) == len(content)
    names = list(version.names())
    assert names == sorted(content, key=canonical_key)
    assert [chunk.key(0, version.encoding.tail_starts) for chunk in version.chunks] == list(version.firsts)
    assert version.octets == sum(len(wire) for _, wire in version.bodies())


@given(content=CONTENTS)
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_version_holds_what_it_was_built_from(settings, tiny_chunks, content):
    version = ZoneVersion.build(settings, 5, block(content))
    assert version.serial == 5
    assert_holds(version, content)
    for name in content:
        assert version.get(name) is content[name]
    again = ZoneVersion.build(settings, 5, version.records())
    assert list(again.bodies()) == list(version.bodies())


@given(content=CONTENTS, target=CONTENTS)
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_successor_is_the_version_changed_by_the_delta(settings, tiny_chunks, content, target):
    version = ZoneVersion.build(settings, 5, block(content))
    removed = {name: action for name, action in content.items() if target.get(name) != action}
    added = {name: action for name, action in target.items() if content.get(name) != action}
    following = version.successor(RecordDelta(removed=block(removed), added=block(added)), 6)
    assert_holds(following, target)
    assert_holds(version, content)
    for name in {*content, *target}:
        assert following.get(name) is target.get(name, Action.NONE)


@given(content=CONTENTS, data=st.data())
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_does_not_fit_raises_and_changes_nothing(settings, tiny_chunks, content, data):
    version = ZoneVersion.build(settings, 5, block(content))
    name = data.draw(st.sampled_from(sorted(content)) if content else NAMES)
    there = content.get(name)
    wrong = next(action for action in SAID if action is not there)
    misfits = [RecordDelta(removed=block({name: wrong}))]
    if there is not None:
        misfits.append(RecordDelta(added=block({name: wrong})))
        misfits.append(RecordDelta(added=block({name: there})))
        misfits.append(RecordDelta(removed=RecordBlock.of([(name, there)] * 2)))
    for delta in misfits:
        with pytest.raises(ZoneError):
            version.successor(delta, 6)
    assert_holds(version, content)


def test_reprs_show_sizes_and_no_names(settings):
    version = ZoneVersion.build(settings, 1, block(many(10)))
    assert repr(version.chunks) == f"(<Chunk of 10 records, {len(version.chunks[0].wire)} octets>,)"
    assert version.get(ROOT) is Action.NONE


def test_an_empty_version_is_its_apex(settings):
    version = ZoneVersion.build(settings, 1)
    assert_holds(version, {})
    assert version.get(parse_name("a")) is Action.NONE
    assert version.neighbours(parse_name("a")) == (b"", b"")
    assert [count for count, _ in version.bodies()] == [1, 2, 1]
    assert repr(version) == "<ZoneVersion rpz.example. serial 1, 0 records>"


def test_a_version_empties_and_fills_again(settings):
    content = many(3_000)
    full = ZoneVersion.build(settings, 1).successor(RecordDelta(added=block(content)), 2)
    assert_holds(full, content)
    empty = full.successor(RecordDelta(removed=full.records()), 3)
    assert_holds(empty, {})
    assert empty.chunks == ()


def test_chunks_stay_within_their_size_and_mostly_full(settings):
    shuffler = random.Random(3)
    content = many(20_000)
    version = ZoneVersion.build(settings, 1, block(content))
    assert 280 < len(version) / len(version.chunks) < 320
    for serial in range(2, 40):
        gone = dict(shuffler.sample(sorted(content.items()), 300))
        new = {name: action for name, action in many(250, seed=serial).items() if name not in content}
        version = version.successor(RecordDelta(removed=block(gone), added=block(new)), serial)
        content = {name: action for name, action in content.items() if name not in gone} | new
        assert max(len(chunk.wire) for chunk in version.chunks) <= MAX_OCTETS
    assert_holds(version, content)
    assert len(version) / len(version.chunks) > 150


def test_no_small_chunk_is_left_at_the_end(settings):
    content = many(2_000)
    version = ZoneVersion.build(settings, 1, block(content))
    last = dict(list(version)[-len(version.chunks[-1]) + 3 :])
    following = version.successor(RecordDelta(removed=block(last)), 2)
    assert min(len(chunk.wire) for chunk in following.chunks) >= MIN_OCTETS
    assert_holds(following, {name: action for name, action in content.items() if name not in last})


def test_only_dirty_chunks_are_rebuilt(settings):
    content = many(20_000)
    version = ZoneVersion.build(settings, 1, block(content))
    name, action = sorted(content.items())[777]
    following = version.successor(RecordDelta(removed=block({name: action})), 2)
    shared = {id(chunk) for chunk in version.chunks} & {id(chunk) for chunk in following.chunks}
    assert len(shared) == len(version.chunks) - 1
    renumbered = version.successor(RecordDelta(), 9)
    assert renumbered.chunks == version.chunks
    assert renumbered.serial == 9


def test_longest_names_fit_and_longer_ones_do_not(settings):
    room = 255 - len(settings.apex)
    labels = [b"a" * 63] * 3
    longest = Name(dns.name.Name([b"b" * (room - 3 * 64 - 1), *labels, b""]).to_digestable())
    assert len(longest) + len(settings.apex) - 1 == 255
    content = {longest: Action.REDIRECT}
    assert_holds(ZoneVersion.build(settings, 1, block(content)), content)
    longer = Name(dns.name.Name([b"b" * (room - 3 * 64), *labels, b""]).to_digestable())
    with pytest.raises(ZoneError, match="no owner"):
        ZoneVersion.build(settings, 1, block({longer: Action.DROP}))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ([(ROOT, Action.DROP)], "no owner"),
        ([(parse_name("a"), Action.NONE)], "cannot say"),
        ([(parse_name("a"), 7)], "7, which"),
        ([(parse_name("a"), Action.DROP), (parse_name("a"), Action.DROP)], "twice"),
        ([(parse_name("b"), Action.DROP), (parse_name("a"), Action.DROP), (parse_name("b"), Action.NODATA)], "twice"),
    ],
)
def test_what_the_zone_cannot_hold_is_refused(settings, content, complaint):
    with pytest.raises(ZoneError, match=complaint):
        ZoneVersion.build(settings, 1, RecordBlock.of(content))
    with pytest.raises(ZoneError, match=complaint):
        ZoneVersion.build(settings, 1).successor(RecordDelta(added=RecordBlock.of(content)), 2)


def test_redirect_needs_a_target():
    settings = ZoneSettings(name=parse_name("rpz"))
    with pytest.raises(ZoneError, match="REDIRECT"):
        ZoneVersion.build(settings, 1, block({parse_name("a"): Action.REDIRECT}))


@pytest.mark.parametrize("serial", [-1, 2**32])
def test_serials_are_32_bits(settings, serial):
    with pytest.raises(ZoneError):
        ZoneVersion.build(settings, serial)
    with pytest.raises(ZoneError):
        ZoneVersion.build(settings, 1).successor(RecordDelta(), serial)


def test_a_successor_has_another_serial(settings):
    with pytest.raises(ZoneError, match="another serial"):
        ZoneVersion.build(settings, 1).successor(RecordDelta(), 1)


def test_restating_keeps_the_rules_under_new_settings(settings):
    content = many(50)
    version = ZoneVersion.build(settings, 1, block(content))
    restated = version.restated(attrs.evolve(settings, ttl=5), 2)
    assert_holds(restated, content)
    assert restated.settings.ttl == 5
    assert restated.encoding.digest != version.encoding.digest


def test_a_block_that_is_a_slice_of_a_larger_one(settings):
    whole = NameBlock.of([parse_name("x"), parse_name("a"), parse_name("b")])
    part = RecordBlock(names=NameBlock(data=whole.data, offsets=whole.offsets[4:]), actions=b"\4\5")
    version = ZoneVersion.build(settings, 1, part)
    assert dict(version) == {parse_name("a"): Action.NXDOMAIN, parse_name("b"): Action.DROP}
    assert len(version.records()) == 2
    assert len(EMPTY_RECORDS) == 0
