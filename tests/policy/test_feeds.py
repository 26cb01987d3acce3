"""What a feed says ends on the lists that pop.md §3.3 names, also by differences."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.suffixes import build_suffix_test
from tapir.model.actions import Action, ListKind
from tapir.model.blocks import RecordBlock, RecordDelta
from tapir.model.names import Name, parse_name
from tapir.policy.feeds import FeedList, FeedRules, list_of, map_content, map_delta

SUFFIXES = build_suffix_test("com\nco.uk\nuk\n")
OUR_ZONE = parse_name("rpz.pop.example")
SAID = [action for action in Action if action is not Action.NONE]
NAMES = [
    parse_name(text)
    for text in (
        "a.example",
        "*.a.example",
        "b.a.example",
        "com",
        "*.com",
        "co.uk",
        r"x.\*.example",
        "1.rpz-ip",
        "b.test",
    )
]
CONTENTS = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(SAID))


def rules_for(kind, **keys):
    return FeedRules(kind=kind, zone=OUR_ZONE, is_public_suffix=SUFFIXES, **keys)


def lists_of(content):
    return {target: list(names) for target, names in content.lists.items()}


def block(content):
    return RecordBlock.of(content.items())


@pytest.mark.parametrize(
    ("kind", "action", "target", "catch_all"),
    [
        (ListKind.ALLOW, Action.PASSTHRU, ListKind.ALLOW, False),
        (ListKind.ALLOW, Action.NXDOMAIN, ListKind.DOUBT, True),
        (ListKind.ALLOW, Action.TCP_ONLY, ListKind.DOUBT, True),
        (ListKind.DENY, Action.PASSTHRU, ListKind.ALLOW, True),
        (ListKind.DENY, Action.DROP, ListKind.DENY, False),
        (ListKind.DOUBT, Action.PASSTHRU, ListKind.ALLOW, True),
        (ListKind.DOUBT, Action.NODATA, ListKind.DOUBT, False),
    ],
)
def test_each_rule_has_its_list(kind, action, target, catch_all):
    assert list_of(kind, action) == FeedList(target, catch_all, action)
    name = parse_name("*.bad.test")
    content = map_content([block({name: action})], rules_for(kind))
    assert lists_of(content) == {FeedList(target, catch_all, action): [name]}
    assert (content.refused, content.repeated) == ({}, 0)


@given(st.lists(CONTENTS, max_size=3), st.sampled_from(ListKind), st.booleans())
def test_content_is_sorted_out_as_it_would_be_name_by_name(contents, kind, broad):
    rules = rules_for(kind, broad=broad)
    whole: dict[Name, Action] = {}
    for content in contents:
        whole |= content
    expected: dict[FeedList, list[bytes]] = {}
    refused = 0
    for name, action in sorted(whole.items()):
        target = list_of(kind, action)
        plain = name.removeprefix(b"\x01*")
        bad = plain.find(b"*") >= 0 or name.find(b"rpz-ip") >= 0
        suffix = plain in {parse_name("com"), parse_name("co.uk")} and target.kind is not ListKind.ALLOW and not broad
        if bad or suffix:
            refused += 1
        else:
            expected.setdefault(target, []).append(name)
    found = map_content([block(content) for content in contents], rules)
    assert lists_of(found) == expected
    assert sum(found.refused.values()) == refused
    assert found.repeated == sum(map(len, contents)) - len(whole)


@given(CONTENTS, CONTENTS, st.sampled_from(ListKind))
def test_a_difference_leads_from_the_lists_before_to_the_lists_after(before, after, kind):
    delta = RecordDelta(
        removed=block({name: action for name, action in before.items() if after.get(name) is not action}),
        added=block({name: action for name, action in after.items() if before.get(name) is not action}),
    )
    lists = {target: set(names) for target, names in map_content([block(before)], rules_for(kind)).lists.items()}
    for target, change in map_delta(delta, rules_for(kind)).items():
        held = lists.setdefault(target, set())
        gone, come = set(change.removed), set(change.added)
        assert gone <= held
        assert not come & held
        held -= gone
        held |= come
    wanted = {target: set(names) for target, names in map_content([block(after)], rules_for(kind)).lists.items()}
    assert {target: names for target, names in lists.items() if names} == wanted
