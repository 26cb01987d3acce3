import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.model.actions import Action
from tapir.model.blocks import RecordBlock, RecordDelta
from tapir.model.names import parse_name
from tapir.zone.difference import compose, difference, invert
from tapir.zone.errors import ZoneError
from tapir.zone.version import ZoneVersion

NAMES = st.sampled_from([parse_name(f"n{i}.example") for i in range(12)])
CONTENTS = st.dictionaries(NAMES, st.sampled_from([Action.DROP, Action.NXDOMAIN, Action.NODATA]), max_size=12)


def block(content):
    return RecordBlock.of(content.items())


def delta_between(old, new):
    """The naive difference."""
    return RecordDelta(
        removed=block({n: a for n, a in old.items() if new.get(n) != a}),
        added=block({n: a for n, a in new.items() if old.get(n) != a}),
    )


def as_dicts(delta):
    return dict(delta.removed), dict(delta.added)


@given(old=CONTENTS, new=CONTENTS)
def test_the_difference_is_minimal_and_leads_there(settings, old, new):
    version = ZoneVersion.build(settings, 1, block(old))
    delta = difference(version, block(new))
    assert as_dicts(delta) == as_dicts(delta_between(old, new))
    assert dict(version.successor(delta, 2)) == new


def test_a_large_difference_goes_part_by_part(settings):
    shuffler = random.Random(5)
    old = {parse_name(f"n{i}.example"): Action.DROP for i in range(40_000)}
    new = {name: shuffler.choice([Action.DROP] * 9 + [Action.NODATA]) for name in old if shuffler.random() < 0.9}
    new |= {parse_name(f"m{i}.example"): Action.DROP for i in range(500)}
    items = list(new.items())
    shuffler.shuffle(items)
    version = ZoneVersion.build(settings, 1, block(old))
    delta = difference(version, RecordBlock.of(items))
    assert as_dicts(delta) == as_dicts(delta_between(old, new))


@pytest.mark.parametrize("count", [2, 40_000])
def test_a_name_twice_in_the_content_is_refused(settings, count):
    names = [parse_name(f"n{i}.example") for i in range(count - 1)]
    content = RecordBlock.of((name, Action.DROP) for name in [*names, names[-1]])
    with pytest.raises(ZoneError, match=r"twice"):
        difference(ZoneVersion.build(settings, 1), content)


@given(old=CONTENTS, new=CONTENTS)
def test_the_inverse_leads_back(settings, old, new):
    version = ZoneVersion.build(settings, 1, block(old))
    delta = delta_between(old, new)
    assert dict(version.successor(delta, 2).successor(invert(delta), 3)) == old


@given(contents=st.lists(CONTENTS, min_size=1, max_size=6))
def test_composing_is_the_difference_of_the_ends(contents):
    steps = [delta_between(old, new) for old, new in pairwise(contents)]
    assert as_dicts(compose(steps)) == as_dicts(delta_between(contents[0], contents[-1]))


def test_deltas_that_cannot_follow_each_other_are_refused():
    name = parse_name("a.example")
    add = RecordDelta(added=block({name: Action.DROP}))
    with pytest.raises(ZoneError, match="added"):
        compose([add, add])
    with pytest.raises(ZoneError, match="removed"):
        compose([add, RecordDelta(removed=block({name: Action.NODATA}))])
    with pytest.raises(ZoneError, match="removed"):
        compose([invert(add), invert(add)])
