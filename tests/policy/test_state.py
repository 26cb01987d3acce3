"""PolicyState against an oracle that decides one name at a time and looks records up as RFC 4592 says."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.model.actions import Action, ListKind
from tapir.model.blocks import ListBlock, NameBlock, RecordBlock, RecordDelta
from tapir.model.messages.lists import ListChange, ListContent, ListDescription
from tapir.model.names import ROOT, Name, format_name, is_wildcard, parent_of, parse_name, split_labels
from tapir.policy.columns import UnknownListError
from tapir.policy.settings import PolicySettings
from tapir.policy.state import PolicyState

ZONE = parse_name("dnstapir.")
LISTS = (
    ListDescription(source="allow", name="allow", kind=ListKind.ALLOW),
    ListDescription(source="deny", name="deny", kind=ListKind.DENY),
    ListDescription(source="core", name="dns-tapir", kind=ListKind.DOUBT),
    ListDescription(source="feed", name="feed", kind=ListKind.DOUBT),
    ListDescription(source="feed-mirror", name="feed", kind=ListKind.DOUBT),
)
SETTINGS = PolicySettings(
    denylist_action=Action.NODATA,
    denytapir_mask=16,
    denytapir_action=Action.DROP,
)

Entries = dict[str, dict[Name, int]]
"""Tags by name, by source."""


def star(name: Name) -> Name:
    return Name(b"\x01*" + name)


def ancestors(name: Name) -> list[Name]:
    """The names above `name`, nearest first; of a wildcard, with the name that it stands below."""
    found = []
    while name != ROOT:
        name = parent_of(name)
        found.append(name)
    return found


def oracle_decide(entries: Entries, settings: PolicySettings, name: Name) -> Action:
    """pop.md §5, with wildcards, for one name."""
    hits = {}
    for source, held in entries.items():
        for entry in (name, *map(star, ancestors(name))):
            if entry in held:
                hits[source] = held[entry]
                break
    if "allow" in hits:
        return Action.NONE
    if "deny" in hits:
        return settings.denylist_action
    fired = []
    lists = {each.name for each in LISTS if each.source in hits}
    if len(lists) >= settings.numsources_limit:
        fired.append(settings.numsources_action)
    tags = hits.get("core", 0)
    if "core" in hits and tags.bit_count() >= settings.numtapirtags_limit:
        fired.append(settings.numtapirtags_action)
    if tags & settings.denytapir_mask:
        fired.append(settings.denytapir_action)
    action = max(fired, default=Action.NONE)
    return Action.NONE if action is Action.PASSTHRU else action


def lookup(records: dict[Name, Action], name: Name, *, empty_exist: bool = True) -> Action:
    """RFC 4592: the owner, else the wildcard at the closest encloser.

    Some resolvers take names without a record of their own for absent (`empty_exist=False`).
    """
    if name in records:
        return records[name]
    existing = set(records)
    if empty_exist:
        for owner in records:
            existing.update(ancestors(owner))
        if name in existing:
            return Action.NONE
    else:
        existing.update(parent_of(owner) for owner in records if is_wildcard(owner))
    for encloser in ancestors(name):
        if encloser in existing:
            return records.get(star(encloser), Action.NONE)
    return Action.NONE


def as_dict(block: RecordBlock) -> dict[Name, Action]:
    records = dict(block)
    assert len(records) == len(block), "an owner comes twice"
    return records


def contents(entries: Entries) -> list[ListContent]:
    return [ListContent(description=each, content=ListBlock.of(entries.get(each.source, {}).items())) for each in LISTS]


def change(source: str, removed: list[Name], upserted: dict[Name, int]) -> ListChange:
    return ListChange(source=source, removed=NameBlock.of(removed), upserted=ListBlock.of(upserted.items()))


def apply_delta(records: dict[Name, Action], delta: RecordDelta) -> dict[Name, Action]:
    """`records` after `delta`, which must be possible and no longer than it has to be."""
    removed, added = as_dict(delta.removed), as_dict(delta.added)
    assert removed.items() <= records.items()
    assert not removed.items() & added.items(), "what stays the same is in the delta"
    left = {name: action for name, action in records.items() if name not in removed}
    assert not left.keys() & added.keys(), "an owner gets a second record"
    return left | added


names = st.lists(st.sampled_from([b"a", b"b", b"c"]), min_size=1, max_size=4).map(
    lambda labels: Name(b"".join(bytes((len(label),)) + label for label in labels) + ROOT)
)
owners = st.one_of(names, names.map(star))
tags = st.sampled_from([0, 1, 7, 16, 0x3800])
held = st.one_of(st.dictionaries(owners, tags, max_size=1), st.dictionaries(owners, tags, max_size=6))
entry_sets = st.fixed_dictionaries({each.source: held for each in LISTS})
changes = st.builds(change, st.sampled_from([each.source for each in LISTS]), st.lists(owners, max_size=4), held)
actions = st.sampled_from([Action.PASSTHRU, Action.REDIRECT, Action.NODATA, Action.NXDOMAIN, Action.DROP])
policies = st.builds(
    PolicySettings,
    allowlist_action=actions,
    denylist_action=actions,
    numsources_limit=st.integers(1, 3),
    numsources_action=actions,
    numtapirtags_limit=st.integers(1, 4),
    numtapirtags_action=actions,
    denytapir_mask=st.sampled_from([0, 1, 16]),
    denytapir_action=actions,
)
queries = st.lists(st.sampled_from([b"a", b"b", b"c", b"d"]), min_size=1, max_size=5).map(
    lambda labels: Name(b"".join(bytes((len(label),)) + label for label in labels) + ROOT)
)


def check_answers(state: PolicyState, entries: Entries, settings: PolicySettings, asked: set[Name]) -> None:
    records = as_dict(state.records())
    assert state.record_count == len(records)
    for name in asked:
        decided = state.decide(name)
        assert decided is oracle_decide(entries, settings, name)
        wanted = {decided} if decided is not Action.NONE else {Action.NONE, Action.PASSTHRU}
        assert lookup(records, name) in wanted, format_name(name)
        assert lookup(records, name, empty_exist=False) in wanted, format_name(name)
        explained = state.explain(name)
        assert explained.action is decided
        found = lookup(records, name)
        assert (explained.emitted == "") is (found is Action.NONE), explained


def everything(entries: Entries) -> set[Name]:
    """All that is worth asking for: entries, what lies above, beside and below them."""
    asked = set()
    for each in entries.values():
        for entry in each:
            for name in (entry, *ancestors(entry)):
                if name != ROOT:
                    asked |= {name, star(name)} if not is_wildcard(name) else {name}
                    if not is_wildcard(name):
                        asked |= {Name(b"\1d" + name), Name(b"\1d\1d" + name)}
    return asked


@given(entry_sets, policies, st.sets(queries, max_size=8))
def test_the_records_answer_as_decided(entries: Entries, settings: PolicySettings, asked: set[Name]) -> None:
    state = PolicyState(settings, zone=ZONE)
    delta = state.set_lists(contents(entries))
    assert len(delta.removed) == 0
    assert as_dict(delta.added) == as_dict(state.records())
    check_answers(state, entries, settings, asked | everything(entries))


@given(entry_sets, policies)
def test_without_wildcards_there_is_a_record_for_each_decision(entries: Entries, settings: PolicySettings) -> None:
    exact = {
        source: {name: mask for name, mask in each.items() if not is_wildcard(name)} for source, each in entries.items()
    }
    state = PolicyState(settings, zone=ZONE)
    state.set_lists(contents(exact))
    decided = {name: oracle_decide(exact, settings, name) for each in exact.values() for name in each}
    assert as_dict(state.records()) == {name: action for name, action in decided.items() if action is not Action.NONE}
    assert as_dict(state.decide_all()) == as_dict(state.records())


@given(entry_sets, policies)
def test_decide_and_decide_all_say_the_same(entries: Entries, settings: PolicySettings) -> None:
    state = PolicyState(settings, zone=ZONE)
    state.set_lists(contents(entries))
    on_a_list = {name for each in entries.values() for name in each}
    assert state.name_count == len(on_a_list)
    decided = {name: state.decide(name) for name in on_a_list}
    assert as_dict(state.decide_all()) == {
        name: action for name, action in decided.items() if action is not Action.NONE
    }


steps = st.one_of(
    st.lists(changes, min_size=1, max_size=3).map(tuple),
    st.frozensets(st.sampled_from([each.source for each in LISTS]), min_size=1),  # lists that become empty
    policies,
    entry_sets,
)


@given(entry_sets, st.lists(steps, min_size=1, max_size=6))
def test_changes_lead_where_a_fresh_start_leads(
    entries: Entries, changing: list[tuple[ListChange, ...] | frozenset[str] | PolicySettings | Entries]
) -> None:
    entries = {source: dict(each) for source, each in entries.items()}
    settings = SETTINGS
    state = PolicyState(settings, zone=ZONE)
    records = apply_delta({}, state.set_lists(contents(entries)))
    for step in changing:
        if isinstance(step, frozenset):
            step = tuple(change(source, list(entries[source]), {}) for source in sorted(step))
        if isinstance(step, tuple):
            delta = state.apply(step)
            for each in step:
                for name in each.removed:
                    entries[each.source].pop(name, None)
                entries[each.source].update(each.upserted)
        elif isinstance(step, PolicySettings):
            settings = step
            delta = state.set_policy(settings)
        else:
            entries = {source: dict(each) for source, each in step.items()}
            delta = state.set_lists(contents(entries))
        records = apply_delta(records, delta)
        fresh = PolicyState(settings, zone=ZONE)
        fresh.set_lists(contents(entries))
        assert records == as_dict(state.records()) == as_dict(fresh.records())
        check_answers(state, entries, settings, everything(entries))
        assert state.node_count == fresh.node_count, "names that nobody speaks of are kept"


def test_the_last_wildcard_takes_its_records_along() -> None:
    state = PolicyState(SETTINGS, zone=ZONE)
    wildcard = star(parse_name("x."))
    state.set_lists(contents({"deny": {wildcard: 0, parse_name("a.x."): 0}, "allow": {parse_name("b.x."): 0}}))
    state.apply([change("deny", [wildcard], {})])
    assert as_dict(state.records()) == {parse_name("a.x."): Action.NODATA}


def test_a_number_used_again_has_forgotten_the_wildcard_above_it() -> None:
    state = PolicyState(SETTINGS, zone=ZONE)
    wildcard, below = star(parse_name("x.")), parse_name("a.x.")
    state.set_lists(contents({"deny": {wildcard: 0, below: 0}}))
    state.apply([change("deny", [below], {})])
    state.apply([change("deny", [wildcard], {})])
    state.apply([change("deny", [], {parse_name("b.y."): 0})])
    assert as_dict(state.records()) == {parse_name("b.y."): Action.NODATA}


LONG_ZONE = Name(b"".join(bytes((60,)) + b"z" * 60 for _ in range(4)) + b"\x03zzz" + ROOT)


@given(entry_sets, policies, st.sets(queries, max_size=8))
def test_owners_fit_and_what_fits_is_answered(entries: Entries, settings: PolicySettings, asked: set[Name]) -> None:
    room = 255 - len(LONG_ZONE) + 1
    state = PolicyState(settings, zone=LONG_ZONE)
    admitted = {
        source: {name: mask for name, mask in each.items() if len(name) <= room} for source, each in entries.items()
    }
    state.set_lists(contents(admitted))
    assert all(len(owner) <= room for owner, _ in state.records())
    check_answers(state, admitted, settings, {name for name in asked | everything(admitted) if len(name) <= room})


def test_names_that_do_not_fit_are_never_emitted() -> None:
    state = PolicyState(SETTINGS, zone=LONG_ZONE)
    state.set_lists(contents({"deny": {parse_name("a.a.a.a.a.a"): 0, parse_name("a.a"): 0}}))
    assert as_dict(state.records()) == {parse_name("a.a"): Action.NODATA}


def test_the_root_and_the_bare_wildcard_are_no_entries() -> None:
    state = PolicyState(SETTINGS, zone=ZONE)
    state.set_lists(
        contents({"deny": {ROOT: 0, star(ROOT): 0, parse_name("a."): 0}, "core": {ROOT: 7, parse_name("b."): 16}})
    )
    assert as_dict(state.records()) == {parse_name("a."): Action.NODATA, parse_name("b."): Action.DROP}
    assert state.decide(ROOT) is Action.NONE
    assert state.decide(parse_name("c.")) is Action.NONE
    assert len(state.apply([change("deny", [ROOT, star(ROOT)], {})])) == 0


def test_an_unknown_list_changes_nothing() -> None:
    state = PolicyState(SETTINGS, zone=ZONE)
    state.set_lists(contents({"deny": {parse_name("a."): 0}}))
    with pytest.raises(UnknownListError, match="nowhere"):
        state.apply([change("deny", [parse_name("a.")], {}), change("nowhere", [], {})])
    assert state.record_count == 1


def test_no_change_is_no_delta() -> None:
    state = PolicyState(SETTINGS, zone=ZONE)
    state.set_lists(contents({"deny": {parse_name("a."): 0}}))
    assert len(state.apply([])) == 0
    assert len(state.apply([change("deny", [parse_name("b.")], {parse_name("a."): 0})])) == 0
    assert len(state.set_policy(SETTINGS)) == 0
    assert len(PolicyState(SETTINGS, zone=ZONE).records()) == 0
    assert repr(state) == "<PolicyState of 5 lists, 2 nodes, 1 records>"
    assert state.list_count == 5
    assert state.settings is SETTINGS


def test_a_change_of_action_is_removed_and_added() -> None:
    state = PolicyState(SETTINGS, zone=ZONE)
    state.set_lists(contents({"deny": {parse_name("a."): 0}}))
    delta = state.set_policy(attrs.evolve(SETTINGS, denylist_action=Action.DROP))
    assert as_dict(delta.removed) == {parse_name("a."): Action.NODATA}
    assert as_dict(delta.added) == {parse_name("a."): Action.DROP}


def test_an_allowed_name_shines_through_a_denied_wildcard_and_hides_it_from_nobody() -> None:
    state = PolicyState(SETTINGS, zone=ZONE)
    state.set_lists(contents({"deny": {star(parse_name("x.")): 0}, "allow": {parse_name("b.a.x."): 0}}))
    assert {format_name(owner): action for owner, action in state.records()} == {
        "*.x.": Action.NODATA,
        "a.x.": Action.NODATA,
        "*.a.x.": Action.NODATA,
        "b.a.x.": Action.PASSTHRU,
        "*.b.a.x.": Action.NODATA,
    }


def test_what_a_denied_wildcard_says_already_is_not_said_again() -> None:
    state = PolicyState(SETTINGS, zone=ZONE)
    state.set_lists(contents({"deny": {star(parse_name("x.")): 0, parse_name("x."): 0, parse_name("b.a.x."): 0}}))
    assert {format_name(owner) for owner, _ in state.records()} == {"x.", "*.x."}


def test_more_lists_than_a_word_has_bits() -> None:
    sources = [ListDescription(source=f"s{i}", name=f"s{i}", kind=ListKind.DOUBT) for i in range(150)]
    state = PolicyState(attrs.evolve(SETTINGS, numsources_limit=150), zone=ZONE)
    name, wildcard = parse_name("a.x."), star(parse_name("x."))
    state.set_lists(
        ListContent(description=each, content=ListBlock.of([(name if i % 2 else wildcard, 0)]))
        for i, each in enumerate(sources)
    )
    assert state.decide(name) is Action.NXDOMAIN
    assert state.decide(parse_name("b.x.")) is Action.NONE
    assert as_dict(state.records()) == {name: Action.NXDOMAIN}
    delta = state.apply([change("s149", [name], {})])
    assert as_dict(delta.removed) == {name: Action.NXDOMAIN}
    assert len(state.explain(name).hits) == 149


def test_a_list_fed_by_two_sources_counts_once() -> None:
    state = PolicyState(SETTINGS, zone=ZONE)
    name = parse_name("a.")
    state.set_lists(contents({"feed": {name: 0}, "feed-mirror": {name: 0}}))
    assert state.decide(name) is Action.NONE


def test_a_small_change_to_many_names_is_a_small_delta() -> None:
    state = PolicyState(SETTINGS, zone=ZONE)
    many = {parse_name(f"n{number}.example."): 0 for number in range(3000)}
    assert len(state.set_lists(contents({"deny": many})).added) == 3000
    gone, new = parse_name("n7.example."), parse_name("new.example.")
    delta = state.apply([change("deny", [gone], {new: 0, parse_name("n8.example."): 0})])
    assert as_dict(delta.removed) == {gone: Action.NODATA}
    assert as_dict(delta.added) == {new: Action.NODATA}


def test_numbers_are_used_again() -> None:
    state = PolicyState(SETTINGS, zone=ZONE)
    state.set_lists(contents({}))
    for round_ in range(50):
        name = parse_name(f"n{round_}.sub{round_}.x{round_}.")
        state.apply([change("deny", [], {name: 0})])
        delta = state.apply([change("deny", [name], {})])
        assert as_dict(delta.removed) == {name: Action.NODATA}
    assert state.node_count == 1
    assert split_labels(ROOT) == []
