"""What feeds want passed through, beside what the policy says: against an oracle, and by what resolvers would find."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.passed import make, owner_of
from tapir.model.actions import Action, ListKind
from tapir.model.blocks import ListBlock, NameBlock, RecordDelta
from tapir.model.messages.lists import ListChange, ListContent, ListDescription
from tapir.model.names import ROOT, Name, is_wildcard, parent_of, parse_name
from tapir.policy.passing import Judge, Passing
from tapir.policy.settings import PolicySettings
from tapir.policy.state import PolicyState

ZONE = parse_name("dnstapir.")
LISTS = (
    ListDescription(source="allow", name="allow", kind=ListKind.ALLOW),
    ListDescription(source="deny", name="deny", kind=ListKind.DENY),
    ListDescription(source="feed", name="feed", kind=ListKind.DOUBT),
)
SETTINGS = PolicySettings(denylist_action=Action.NODATA, numsources_limit=2)
TRIGGER = parse_name("32.1.2.0.192.rpz-ip")


def star(name: Name) -> Name:
    return Name(b"\x01*" + name)


def ancestors(name: Name) -> list[Name]:
    found = []
    while name != ROOT:
        name = parent_of(name)
        found.append(name)
    return found


def contents(entries: dict[str, set[Name]]) -> list[ListContent]:
    return [
        ListContent(description=each, content=ListBlock.of((name, 0) for name in sorted(entries.get(each.source, ()))))
        for each in LISTS
    ]


def change(source: str, removed: list[Name], added: list[Name]) -> ListChange:
    return ListChange(source=source, removed=NameBlock.of(removed), upserted=ListBlock.of((name, 0) for name in added))


def local(owner: Name, last: int = 1) -> bytes:
    return make(owner, 1, 60, bytes((192, 0, 2, last)))


def is_allowed(entries: dict[str, set[Name]], name: Name) -> bool:
    allow = entries["allow"]
    return name in allow or any(star(above) in allow for above in ancestors(name))


def oracle(state: PolicyState, entries: dict[str, set[Name]], owner: Name) -> bool:
    """Whether local data may stand at `owner`."""
    if (
        is_allowed(entries, owner)
        or state.decide(owner) is not Action.NONE
        or find(dict(state.records()), owner) is not None
    ):
        return False
    return not (is_wildcard(owner) and any(parent_of(owner) in ancestors(entry)[1 if is_wildcard(entry) else 0 :]
                                           for entry in entries["allow"]))  # fmt: skip


def find(existing: dict[Name, object], name: Name) -> object:
    """What a resolver finds for `name` (RFC 4592): its owner's, else that of the wildcard at the closest encloser."""
    if name in existing:
        return existing[name]
    known = set(existing)
    for owner in existing:
        known.update(ancestors(owner))
    if name in known:
        return None
    for encloser in ancestors(name):
        if encloser in known:
            return existing.get(star(encloser))
    return None


names = st.lists(st.sampled_from([b"a", b"b", b"c"]), min_size=1, max_size=4).map(
    lambda labels: Name(b"".join(bytes((len(label),)) + label for label in labels) + ROOT)
)
owners = st.one_of(names, names.map(star))
entry_sets = st.fixed_dictionaries({each.source: st.sets(owners, max_size=4) for each in LISTS})
offers = st.sets(owners, max_size=6)
steps = st.one_of(
    st.builds(
        change,
        st.sampled_from([each.source for each in LISTS]),
        st.lists(owners, max_size=3, unique=True),
        st.lists(owners, max_size=3, unique=True),
    ),
    offers,
    st.builds(PolicySettings, numsources_limit=st.integers(1, 2), denylist_action=st.sampled_from(list(Action)[2:])),
    entry_sets,
)


def follow(passed: set[bytes], delta: RecordDelta) -> set[bytes]:
    removed, added = set(delta.passed.removed), set(delta.passed.added)
    assert len(removed) == len(delta.passed.removed)
    assert len(added) == len(delta.passed.added)
    assert removed <= passed
    assert not added & (passed - removed)
    return (passed - removed) | added


@given(entry_sets, offers, st.lists(steps, max_size=5), st.booleans())
def test_local_data_stands_where_the_policy_says_nothing_and_hides_nothing(
    entries: dict[str, set[Name]], offered: set[Name], stepping: list[object], lists_first: bool
) -> None:
    entries = {source: set(each) for source, each in entries.items()}
    state = PolicyState(SETTINGS, zone=ZONE)
    first = [lambda: state.set_lists(contents(entries)), lambda: state.set_passed("f", map(local, sorted(offered)))]
    passed: set[bytes] = set()
    for act in first if lists_first else first[::-1]:
        passed = follow(passed, act())
    for step in (None, *stepping):
        match step:
            case ListChange():
                passed = follow(passed, state.apply([step]))
                entries[step.source] -= set(step.removed)
                entries[step.source] |= {name for name, _ in step.upserted}
            case PolicySettings():
                passed = follow(passed, state.set_policy(step))
            case dict():
                entries = {source: set(each) for source, each in step.items()}
                passed = follow(passed, state.set_lists(contents(entries)))
            case set():
                offered = step
                passed = follow(passed, state.set_passed("f", map(local, sorted(offered))))
            case _:
                pass
        assert set(state.passed()) == passed
        let = {owner_of(record) for record in passed}
        assert let == {owner for owner in offered if oracle(state, entries, owner)}
        records: dict[Name, object] = dict(state.records())
        both = {**records, **dict.fromkeys(let, "local")}
        assert len(both) == len(records) + len(let), "an owner has a rule and local data"
        asked = {name for each in (*entries.values(), offered) for entry in each for name in (entry, *ancestors(entry))}
        asked |= {Name(b"\1d" + name) for name in asked} | {Name(b"\1d\1d" + name) for name in asked}
        for name in asked - {ROOT}:
            if is_wildcard(name):
                continue
            found, before = find(both, name), find(records, name)
            if found == "local":
                assert state.decide(name) is Action.NONE
                assert not is_allowed(entries, name)
            else:
                harmless = {None, Action.PASSTHRU}
                assert found == before or {found, before} <= harmless


def test_of_two_feeds_the_first_has_an_owner_and_the_other_may_say_the_same() -> None:
    passing = Passing()
    state = PolicyState(SETTINGS, zone=ZONE)
    judge: Judge = state._judge()
    a, b = parse_name("a.example"), parse_name("b.example")
    passing.judge(passing.take("two", [local(a, 2), local(b, 1)]), judge)
    assert set(passing.records()) == {local(a, 2), local(b, 1)}
    delta = passing.judge(passing.take("one", [local(a, 1), local(b, 1)]), judge)
    assert (delta.removed, delta.added) == ((local(a, 2),), (local(a, 1),))
    assert passing.counts("one") == {"": 2}
    assert passing.counts("two") == {"conflict": 1, "": 1}
    assert [(fact.source, fact.refused, fact.types) for fact in passing.facts(a)] == [
        ("one", "", (1,)),
        ("two", "conflict", (1,)),
    ]
    delta = passing.judge(passing.take("one", []), judge)
    assert (delta.removed, delta.added) == ((local(a, 1),), (local(a, 2),))
    assert passing.facts(parse_name("c.example")) == ()
    assert passing.sources() == ("two",)


@pytest.mark.parametrize("limits", [{"most_records": 2}, {"most_octets": 60}])
def test_what_is_too_much_waits_for_room(limits: dict[str, int]) -> None:
    passing = Passing(**limits)
    judge: Judge = PolicyState(SETTINGS, zone=ZONE)._judge()
    owners = [parse_name(f"{letter}.example") for letter in "abc"]
    passing.judge(passing.take("one", map(local, owners[:2])), judge)
    passing.judge(passing.take("two", [local(owners[2])]), judge)
    assert passing.counts("two") == {"surplus": 1}
    assert len(passing.records()) == 2
    passing.judge(passing.take("one", [local(owners[0])]), judge)
    assert passing.counts("two") == {"": 1}
    assert set(passing.records()) == {local(owners[0]), local(owners[2])}


def test_what_is_no_name_is_passed_on_unjudged() -> None:
    state = PolicyState(SETTINGS, zone=ZONE)
    state.set_lists(contents({"allow": {parse_name("ns.example")}, "deny": set(), "feed": set()}))
    delta = state.set_passed("f", [make(TRIGGER, 5, 60, b"\0"), local(parse_name("ns.example.rpz-nsdname"))])
    assert len(delta.passed.added) == 2
    assert state.explain(parse_name("ns.example")).passed == ()


def test_an_explanation_says_what_a_feed_says_and_why_it_does_not_count() -> None:
    state = PolicyState(SETTINGS, zone=ZONE)
    state.set_lists(contents({"allow": {parse_name("a.example")}, "deny": {parse_name("b.example")}, "feed": set()}))
    assert state.explain(parse_name("a.example")).passed == ()
    state.set_passed("f", [local(parse_name(name)) for name in ("a.example", "b.example", "*.c.example")])
    for name, owner, refused in (
        ("a.example", "a.example.", "allowlisted"),
        ("b.example", "b.example.", "ruled"),
        ("x.c.example", "*.c.example.", ""),
    ):
        (fact,) = state.explain(parse_name(name)).passed
        assert (fact.owner, fact.source, fact.refused) == (owner, "f", refused)


def test_many_changes_at_once_are_judged_too() -> None:
    state = PolicyState(SETTINGS, zone=ZONE)
    state.set_lists(contents({}))
    state.set_passed("f", [local(parse_name("n7.example")), local(star(ROOT))])
    assert state.passed() == (local(parse_name("n7.example")),)
    many = [parse_name(f"n{number}.example") for number in range(2000)]
    delta = state.apply([change("allow", [], many)])
    assert delta.passed.removed == (local(parse_name("n7.example")),)
