"""Actions and weights of sources, against an oracle that knows one name at a time."""

from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapir.model.actions import RESTRICTIVENESS, Action, ListKind
from tapir.model.blocks import EMPTY_NAMES, ListBlock, NameBlock
from tapir.model.messages.lists import ListChange, ListContent, ListDescription
from tapir.model.names import ROOT, Name, is_wildcard, parent_of, parse_name
from tapir.policy.columns import Columns, UnknownListError
from tapir.policy.settings import CONFIGURABLE, PolicySettings
from tapir.policy.state import PolicyState
from tapir.policy.table import NameTable

ZONE = parse_name("dnstapir.")
EVIL = parse_name("evil.example.")
UPSTREAM = PolicySettings()
ALLOW, DENY, DOUBT = ListKind.ALLOW, ListKind.DENY, ListKind.DOUBT

NAMES = [
    parse_name(name)
    for name in ("a.", "*.a.", "b.a.", "*.b.a.", "c.b.a.", "x.c.b.a.", "d.", "*.d.", "e.d.", "f.", "g.f.")
]
Entries = dict[str, dict[Name, int]]
"""Tags by name, by source."""


@attrs.frozen(kw_only=True)
class Verdict:
    """What the oracle makes of one name."""

    action: Action
    weight: int
    own: frozenset[Action]
    """the actions of their own that the lists of the deciding kind have"""


def covering(name: Name) -> list[Name]:
    """`name`, then the wildcards above it, nearest first."""
    found = [name]
    above = parent_of(parent_of(name)) if is_wildcard(name) else parent_of(name)
    while above != ROOT:
        found.append(Name(b"\x01*" + above))
        above = parent_of(above)
    return found


def resolve(records: dict[Name, Action], name: Name) -> Action:
    """What a resolver finds (RFC 4592 §3.3.1): the name's record, else that of the wildcard at the closest encloser."""
    existing = {ROOT}
    for owner in records:
        while owner != ROOT:
            existing.add(owner)
            owner = parent_of(owner)
    if name in existing:
        return records.get(name, Action.NONE)
    while name not in existing:
        name = parent_of(name)
    return records.get(Name(b"\x01*" + name), Action.NONE)


def severest(actions: list[Action]) -> Action:
    return max(actions, key=RESTRICTIVENESS.index, default=Action.NONE)


def judge(lists: list[ListDescription], entries: Entries, policy: PolicySettings, name: Name) -> Verdict:
    """The rules of docs/configuration.md, word by word."""
    held = {}
    for each in lists:
        for entry in covering(name):
            if entry in entries[each.source]:
                held[each] = entries[each.source][entry]
                break
    doubts = [each for each in held if each.kind is DOUBT]
    weights: dict[str, int] = {}
    for each in doubts:
        weights[each.name] = max(weights.get(each.name, 0), each.weight)
    weight = sum(weights.values())
    if any(each.kind is ALLOW for each in held):
        return Verdict(action=Action.NONE, weight=weight, own=frozenset())
    denials = [each for each in held if each.kind is DENY]
    if denials:
        action = severest([each.action or policy.denylist_action for each in denials])
        return Verdict(action=action, weight=weight, own=frozenset(each.action for each in denials if each.action))
    tags = 0
    for each in doubts:
        if each.name == "dns-tapir":
            tags |= held[each]
    fired = []
    if weight >= policy.numsources_limit:
        fired.append(policy.numsources_action)
    if tags.bit_count() >= policy.numtapirtags_limit:
        fired.append(policy.numtapirtags_action)
    if tags & policy.denytapir_mask:
        fired.append(policy.denytapir_action)
    own = [each.action for each in doubts if each.action]
    action = severest(own if fired and own else fired)
    if action is Action.PASSTHRU:
        action = Action.NONE
    return Verdict(action=action, weight=weight, own=frozenset(own))


configurable = st.sampled_from(sorted(CONFIGURABLE))
policies = st.builds(
    PolicySettings,
    denylist_action=configurable,
    numsources_limit=st.integers(1, 5),
    numsources_action=configurable,
    numtapirtags_limit=st.integers(1, 3),
    numtapirtags_action=configurable,
    denytapir_mask=st.integers(0, 7),
    denytapir_action=configurable,
)


@st.composite
def rosters(draw: Callable[..., Any]) -> list[ListDescription]:
    """Some sources, of which several may feed one doubtlist; now and then more than fit one word of bits."""
    count = draw(st.integers(0, 7))
    found = []
    if draw(st.booleans()):
        found = [ListDescription(source=f"idle{number}", name=f"idle{number}", kind=DOUBT) for number in range(62)]
    for number in range(count):
        kind = draw(st.sampled_from([ALLOW, DENY, DENY, DOUBT, DOUBT, DOUBT]))
        found.append(
            ListDescription(
                source=f"source{number}",
                name=draw(st.sampled_from(["dns-tapir", "feed", "other"])),
                kind=kind,
                action=None if kind is ALLOW else draw(st.none() | configurable),
                weight=draw(st.integers(0, 3)),
            )
        )
    return found


entry_sets = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 7), max_size=4)


def draw_entries(data: st.DataObject, lists: list[ListDescription]) -> Entries:
    return {each.source: {} if each.source.startswith("idle") else data.draw(entry_sets) for each in lists}


def contents(lists: list[ListDescription], entries: Entries) -> list[ListContent]:
    return [ListContent(description=each, content=ListBlock.of(sorted(entries[each.source].items()))) for each in lists]


@settings(deadline=None)
@given(rosters(), st.data())
def test_what_is_gathered_is_what_the_oracle_sees(lists: list[ListDescription], data: st.DataObject) -> None:
    entries = draw_entries(data, lists)
    table = NameTable()
    columns = Columns(lists, table)
    for each in lists:
        columns.put(each.source, ListBlock.of(sorted(entries[each.source].items())))
    columns.grow()
    slots = np.array([table.governing_slot(name) for name in NAMES], np.int32)
    seen = columns.gather(slots)
    for row, name in enumerate(NAMES):
        held = {each for each in lists if any(entry in entries[each.source] for entry in covering(name))}
        assert seen.allowed[row] == any(each.kind is ALLOW for each in held)
        assert seen.doubted[row] == any(each.kind is DOUBT for each in held)
        denials = [each for each in held if each.kind is DENY]
        assert seen.denied[row] == bool(denials)
        assert seen.denied_by_default[row] == any(each.action is None for each in denials)
        assert seen.denied_rank[row] == max((each.action.rank for each in denials if each.action), default=0)
        assert seen.doubted_rank[row] == max(
            (each.action.rank for each in held if each.kind is DOUBT and each.action), default=0
        )
        assert seen.doubts[row] == judge(lists, entries, PolicySettings(), name).weight


@settings(deadline=None)
@given(rosters(), policies, st.data())
def test_one_name_all_names_and_the_explanation_decide_as_the_oracle(
    lists: list[ListDescription], policy: PolicySettings, data: st.DataObject
) -> None:
    entries = draw_entries(data, lists)
    state = PolicyState(policy, zone=ZONE, redirect=parse_name("garden.example."))
    state.set_lists(contents(lists, entries))
    changed = draw_entries(data, lists)
    state.apply(
        ListChange(
            source=each.source,
            removed=NameBlock.of(sorted(entries[each.source].keys() - changed[each.source].keys())),
            upserted=ListBlock.of(sorted(changed[each.source].items())),
        )
        for each in lists
    )
    expected = {name: judge(lists, changed, policy, name) for name in NAMES}
    everything = dict(state.decide_all())
    for name, verdict in expected.items():
        explained = state.explain(name)
        assert state.decide(name) is explained.action is verdict.action
        if name in everything:
            assert everything[name] is verdict.action
        if explained.action_source:
            taken = next(each for each in lists if each.source == explained.action_source)
            assert taken.action is severest(list(verdict.own))
            assert verdict.action is (
                Action.NONE if taken.action is Action.PASSTHRU and taken.kind is DOUBT else taken.action
            )
        elif explained.winner and explained.stage == "doubtlist":
            assert not verdict.own
    records = dict(state.records())
    for name in NAMES:
        if not is_wildcard(name):
            found = resolve(records, name)
            assert (found or Action.PASSTHRU) is (expected[name].action or Action.PASSTHRU)
    listed = {entry for held in changed.values() for entry in held}
    assert set(everything) == {name for name in listed if expected[name].action}


@settings(deadline=None)
@given(rosters(), policies, st.data())
def test_other_actions_and_weights_of_the_same_lists_are_the_least_delta(
    lists: list[ListDescription], policy: PolicySettings, data: st.DataObject
) -> None:
    entries = draw_entries(data, lists)
    state = PolicyState(policy, zone=ZONE)
    state.set_lists(contents(lists, entries))
    before = dict(state.records())
    others = [
        attrs.evolve(each, weight=data.draw(st.integers(0, 3)), action=data.draw(st.none() | configurable))
        for each in lists
    ]
    delta = state.describe(others) if data.draw(st.booleans()) else state.set_lists(contents(others, entries))
    fresh = PolicyState(policy, zone=ZONE)
    fresh.set_lists(contents(others, entries))
    after = dict(fresh.records())
    assert dict(state.records()) == after
    assert set(delta.removed) == before.items() - after.items()
    assert set(delta.added) == after.items() - before.items()


@pytest.mark.parametrize("sources", [[], ["a"], ["a", "b", "c"], ["a", "c"]])
def test_other_lists_than_there_are_cannot_be_described(sources: list[str]) -> None:
    state = PolicyState(UPSTREAM, zone=ZONE)
    state.set_lists(ListContent(description=deny(source), content=ListBlock.of([(EVIL, 0)])) for source in "ab")
    with pytest.raises(UnknownListError):
        state.describe(deny(source, Action.DROP) for source in sources)
    assert dict(state.records()) == {EVIL: Action.NODATA}


def decide(*lists: ListDescription, policy: PolicySettings = UPSTREAM) -> tuple[Action, str]:
    state = PolicyState(policy, zone=ZONE, redirect=parse_name("garden.example."))
    state.set_lists(ListContent(description=each, content=ListBlock.of([(EVIL, 0)])) for each in lists)
    explained = state.explain(EVIL)
    assert state.decide(EVIL) is explained.action
    return explained.action, explained.action_source


def deny(source: str, action: Action | None = None) -> ListDescription:
    return ListDescription(source=source, name=source, kind=DENY, action=action)


def doubt(source: str, action: Action | None = None, *, weight: int = 1, name: str = "") -> ListDescription:
    return ListDescription(source=source, name=name or source, kind=DOUBT, action=action, weight=weight)


@pytest.mark.parametrize(
    ("lists", "decided"),
    [
        ([deny("a", Action.DROP)], (Action.DROP, "a")),
        ([deny("a", Action.DROP), deny("b", Action.NXDOMAIN)], (Action.DROP, "a")),
        ([deny("a", Action.DROP), deny("b", Action.DROP)], (Action.DROP, "a")),
        ([deny("a", Action.TCP_ONLY), deny("b", Action.REDIRECT)], (Action.REDIRECT, "b")),
        ([deny("a", Action.TCP_ONLY), deny("b", Action.PASSTHRU)], (Action.TCP_ONLY, "a")),
        ([deny("a", Action.PASSTHRU)], (Action.PASSTHRU, "a")),
        ([deny("a"), deny("b", Action.REDIRECT)], (Action.NODATA, "")),
        ([deny("a"), deny("b", Action.NODATA)], (Action.NODATA, "")),
        ([deny("a"), deny("b", Action.NXDOMAIN)], (Action.NXDOMAIN, "b")),
        ([deny("a", Action.TCP_ONLY), doubt("b", Action.DROP), doubt("c")], (Action.TCP_ONLY, "a")),
        ([doubt("a", Action.DROP)], (Action.NONE, "")),
        ([doubt("a", Action.DROP), doubt("b")], (Action.DROP, "a")),
        ([doubt("a", Action.TCP_ONLY), doubt("b")], (Action.TCP_ONLY, "a")),
        ([doubt("a", Action.TCP_ONLY), doubt("b", Action.NODATA), doubt("c")], (Action.NODATA, "b")),
        ([doubt("a", Action.PASSTHRU), doubt("b")], (Action.NONE, "a")),
        ([doubt("a", weight=2)], (Action.NXDOMAIN, "")),
        ([doubt("a", weight=0), doubt("b")], (Action.NONE, "")),
        ([doubt("a", weight=0), doubt("b", weight=0, name="a"), doubt("c")], (Action.NONE, "")),
        ([doubt("a"), doubt("b", name="a")], (Action.NONE, "")),
        ([doubt("a"), doubt("b", name="a", weight=2)], (Action.NXDOMAIN, "")),
        ([doubt("a", Action.DROP, weight=0), doubt("b", weight=2)], (Action.DROP, "a")),
    ],
)
def test_whose_action_is_taken(lists: list[ListDescription], decided: tuple[Action, str]) -> None:
    assert decide(*lists) == decide(*reversed(lists)) == decided


def test_a_rule_that_passes_fires_and_a_source_replaces_what_it_says() -> None:
    policy = PolicySettings(numsources_limit=1, numsources_action=Action.PASSTHRU)
    assert decide(doubt("a"), policy=policy) == (Action.NONE, "")
    assert decide(doubt("a", Action.NODATA), policy=policy) == (Action.NODATA, "a")


def test_a_list_without_weight_is_doubted_all_the_same() -> None:
    state = PolicyState(PolicySettings(), zone=ZONE)
    state.set_lists([ListContent(description=doubt("a", weight=0), content=ListBlock.of([(EVIL, 0)]))])
    explained = state.explain(EVIL)
    assert (explained.stage, explained.winner, explained.rules[0].found) == ("doubtlist", "", 0)


def test_only_the_sources_that_hold_the_name_weigh() -> None:
    state = PolicyState(PolicySettings(numsources_limit=3), zone=ZONE)
    light, heavy = doubt("a", name="feed"), doubt("b", name="feed", weight=3)
    state.set_lists(
        [
            ListContent(description=light, content=ListBlock.of([(EVIL, 0)])),
            ListContent(description=heavy, content=ListBlock.of([])),
        ]
    )
    assert state.decide(EVIL) is Action.NONE
    state.apply([ListChange(source="b", removed=EMPTY_NAMES, upserted=ListBlock.of([(EVIL, 0)]))])
    assert state.decide(EVIL) is Action.NXDOMAIN
