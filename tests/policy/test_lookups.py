"""An allowlist that is looked up does to the zone what the same list does that is held."""

import hashlib
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapir.codec.dawg import encode_dawg, parse_dawg
from tapir.model.actions import Action, ListKind
from tapir.model.blocks import EMPTY_NAMES, ListBlock, LookupList, NameBlock
from tapir.model.messages.lists import ListChange, ListContent, ListDescription
from tapir.model.names import Name, format_name, is_wildcard, parent_of, parse_name
from tapir.policy.lookups import Lookup, LookupGoneError
from tapir.policy.settings import PolicySettings
from tapir.policy.state import PolicyState

ZONE = parse_name("rpz.")
EMPTY = ListBlock(names=EMPTY_NAMES)
SETTINGS = PolicySettings()


class Shelf:
    """DAWGs by digest, as the files of a folder would be."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.opened = 0

    def put(self, names: Iterable[Name], *, subtree: bool = False) -> LookupList:
        words = sorted({word_of(name) for name in names})
        data = encode_dawg(words)
        digest = hashlib.sha256(data).hexdigest()
        self.files[digest] = data
        return LookupList(path=digest, digest=digest, words=len(words), size=len(data), subtree=subtree)

    def open(self, content: LookupList) -> Lookup:
        self.opened += 1
        if content.path not in self.files:
            raise LookupGoneError(path=content.path, reason="gone")
        return parse_dawg(self.files[content.path])


def word_of(name: Name) -> str:
    return f".{format_name(parent_of(name))}" if is_wildcard(name) else format_name(name)


def held(names: Iterable[Name], *, subtree: bool = False) -> ListBlock:
    entries = set(names)
    if subtree:
        entries |= {Name(b"\x01*" + name) for name in entries if not is_wildcard(name)}
    return ListBlock.of((name, 0) for name in sorted(entries))


labels = st.sampled_from([b"a", b"b", b"c"])
bases = st.lists(labels, min_size=1, max_size=4).map(
    lambda parts: Name(b"".join(bytes((len(part),)) + part for part in parts) + b"\0")
)
entries = bases | bases.map(lambda name: Name(b"\x01*" + name))
lists = st.frozensets(entries, max_size=8)
steps = st.lists(st.tuples(st.sampled_from(["good", "fine", "bad", "grey"]), lists), min_size=1, max_size=6)

GOOD = ListDescription(source="good", name="good", kind=ListKind.ALLOW)
FINE = ListDescription(source="fine", name="fine", kind=ListKind.ALLOW)
BAD = ListDescription(source="bad", name="bad", kind=ListKind.DENY)
GREY = ListDescription(source="grey", name="grey", kind=ListKind.DOUBT)


def records(state: PolicyState) -> dict[Name, Action]:
    return dict(state.records())


def change_of(source: str, before: frozenset[Name], after: frozenset[Name], *, subtree: bool = False) -> ListChange:
    old, new = dict(held(before, subtree=subtree)), dict(held(after, subtree=subtree))
    return ListChange(
        source=source,
        removed=NameBlock.of(sorted(old.keys() - new.keys())),
        upserted=ListBlock.of((name, 0) for name in sorted(new.keys() - old.keys())),
    )


@settings(deadline=None, max_examples=60)
@given(lists, lists, lists, lists, steps, st.booleans())
def test_looked_up_is_held(
    good: frozenset[Name],
    fine: frozenset[Name],
    bad: frozenset[Name],
    grey: frozenset[Name],
    changes: list[tuple[str, frozenset[Name]]],
    subtree: bool,
) -> None:
    shelf = Shelf()
    policy = PolicySettings(numsources_limit=1)
    asking = PolicyState(policy, zone=ZONE, open_lookup=shelf.open)
    holding = PolicyState(policy, zone=ZONE)
    now = {"good": good, "fine": fine, "bad": bad, "grey": grey}

    def contents(*, look_up: bool) -> list[ListContent]:
        return [
            ListContent(
                description=each,
                content=(
                    shelf.put(now[each.source], subtree=subtree and each is GOOD)
                    if look_up and each.kind is ListKind.ALLOW
                    else held(now[each.source], subtree=subtree and each is GOOD)
                ),
            )
            for each in (GOOD, FINE, BAD, GREY)
        ]

    def check() -> None:
        assert records(asking) == records(holding)
        for name in {*good, *bad, *grey, *now["good"], *now["bad"], *(records(holding))}:
            if len(name) < 40:
                assert asking.decide(name) == holding.decide(name)
                one, other = asking.explain(name), holding.explain(name)
                assert (one.stage, one.action, one.winner, one.emitted) == (
                    other.stage,
                    other.action,
                    other.winner,
                    other.emitted,
                )
                assert one.hits == other.hits

    told = dict(asking.set_lists(contents(look_up=True)).added)
    holding.set_lists(contents(look_up=False))
    assert told == records(asking)
    check()
    for source, after in changes:
        before, now[source] = now[source], after
        deep = subtree and source == "good"
        plain = change_of(source, before, after, subtree=deep)
        holding.apply([plain])
        known = records(asking)
        if source in ("good", "fine"):
            lookup = shelf.put(after, subtree=deep)
            delta = asking.apply([ListChange(source=source, removed=EMPTY_NAMES, upserted=EMPTY, lookup=lookup)])
        else:
            delta = asking.apply([plain])
        for name, _ in delta.removed:
            del known[name]
        known |= dict(delta.added)
        assert known == records(asking)
        check()
        wanted = {name for source in ("bad", "grey") for name in now[source]}
        if not any(map(is_wildcard, wanted)):
            above = {b"\0"}
            for name in wanted:
                while name[0]:
                    above.add(name)
                    name = parent_of(name)
            assert asking.node_count == len(above), "nothing is kept of a list that is looked up"
    asking.set_lists(contents(look_up=False))
    check()
    asking.set_lists([ListContent(description=BAD, content=EMPTY)])
    assert (asking.node_count, asking.record_count) == (1, 0)


def test_a_list_may_become_one_that_is_looked_up_and_back() -> None:
    shelf = Shelf()
    state = PolicyState(SETTINGS, zone=ZONE, open_lookup=shelf.open)
    name = parse_name("x.example")
    state.set_lists([ListContent(description=GOOD, content=EMPTY), ListContent(description=BAD, content=held([name]))])
    assert state.record_count == 1
    state.apply([ListChange(source="good", removed=EMPTY_NAMES, upserted=EMPTY, lookup=shelf.put([name]))])
    assert state.record_count == 0
    state.apply([ListChange(source="good", removed=EMPTY_NAMES, upserted=held([name]))])
    assert state.record_count == 0
    state.apply([ListChange(source="good", removed=NameBlock.of([name]), upserted=EMPTY)])
    assert state.record_count == 1


def test_what_cannot_be_opened_changes_nothing() -> None:
    shelf = Shelf()
    state = PolicyState(SETTINGS, zone=ZONE, open_lookup=shelf.open)
    name = parse_name("x.example")
    state.set_lists([ListContent(description=GOOD, content=EMPTY), ListContent(description=BAD, content=held([name]))])
    gone = LookupList(path="gone", digest="gone", words=1, size=1)
    with pytest.raises(LookupGoneError, match="gone: gone"):
        state.apply(
            [
                ListChange(source="bad", removed=NameBlock.of([name]), upserted=EMPTY),
                ListChange(source="good", removed=EMPTY_NAMES, upserted=EMPTY, lookup=gone),
            ]
        )
    with pytest.raises(LookupGoneError):
        state.set_lists([ListContent(description=GOOD, content=gone)])
    assert state.record_count == 1
    with pytest.raises(LookupGoneError):
        PolicyState(SETTINGS, zone=ZONE).set_lists([ListContent(description=GOOD, content=shelf.put([name]))])


def test_it_is_said_which_entry_lets_a_name_through() -> None:
    shelf = Shelf()
    state = PolicyState(SETTINGS, zone=ZONE, open_lookup=shelf.open)
    content = shelf.put(
        [parse_name("a.example"), parse_name("*.b.example"), parse_name("c.example"), parse_name("*.c.example")]
    )
    state.set_lists([ListContent(description=GOOD, content=content)])
    found = {
        name: [(hit.entry, hit.match) for hit in state.explain(parse_name(name)).hits]
        for name in ("a.example", "x.a.example", "b.example", "x.y.b.example", "c.example", "x.c.example")
    }
    assert found == {
        "a.example": [("a.example.", "exact")],
        "x.a.example": [],
        "b.example": [],
        "x.y.b.example": [("*.b.example.", "wildcard")],
        "c.example": [("c.example.", "exact")],
        "x.c.example": [("*.c.example.", "subtree")],
    }
    assert state.node_count == 1
