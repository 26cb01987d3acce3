"""Every feature of the policy language at once, from the text of a list to what a resolver finds (RFC 4592).

Lists of names and of subtrees, one that is looked up, actions and weights of sources, two sources of one list, tags,
the operator's own lists and a canary; all of it edited, described and ruled anew. The oracle reads the entries as
docs/configuration.md tells them, and knows neither wildcards as records nor tables.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from tapir.codec.dawg import encode_dawg, parse_dawg
from tapir.codec.lists import parse_domains
from tapir.codec.suffixes import build_suffix_test
from tapir.model.actions import RESTRICTIVENESS, Action, ListKind
from tapir.model.blocks import EMPTY_NAMES, ListBlock, LookupList
from tapir.model.messages.lists import ListChange, ListContent, ListDescription
from tapir.model.names import ROOT, Name, format_name, is_wildcard, parent_of, parse_name
from tapir.policy.admission import admit
from tapir.policy.difference import difference
from tapir.policy.lookups import Lookup
from tapir.policy.settings import CONFIGURABLE, PolicySettings
from tapir.policy.state import PolicyState

ZONE: Final = parse_name("rpz.")
REDIRECT: Final = parse_name("garden.test")
SUFFIXES: Final = build_suffix_test("")
EMPTY: Final = ListBlock(names=EMPTY_NAMES)
ALLOW, DENY, DOUBT = ListKind.ALLOW, ListKind.DENY, ListKind.DOUBT

Lines = Mapping[str, int]
"""Entries as a file spells them, with their tags."""


@attrs.frozen(kw_only=True)
class Source:
    """One source: what the configuration says of it, and how its entries come."""

    description: ListDescription
    subtree: bool = False
    dawg: bool = False


@attrs.frozen(kw_only=True)
class World:
    """All that decides."""

    sources: tuple[Source, ...]
    lines: dict[str, dict[str, int]]
    policy: PolicySettings


# The oracle: entries as text, names as lists of labels.


def matches(line: str, name: str, *, subtree: bool) -> bool:
    """Whether an entry holds a name, as the table of docs/configuration.md says; both without the last dot."""
    for prefix in ("*.", "."):
        if line.startswith(prefix):
            return name.endswith("." + line.removeprefix(prefix))
    base = line.removeprefix("||").removesuffix("^")
    return name == base or ((subtree or base != line) and name.endswith("." + base))


def tags_of(source: Source, lines: Lines, name: str) -> int | None:
    """The tags of the nearest entry, None where the source does not hold the name."""
    held = [line for line in lines if matches(line, name, subtree=source.subtree)]
    if not held:
        return None
    exact = [line for line in held if line.strip("|^") == name]
    nearest = exact or [max(held, key=lambda line: len(line.strip("|^*.")))]
    # Of two lines that mean the same name the last one counts.
    longest = max(len(line.strip("|^*.")) for line in nearest)
    return next(lines[line] for line in reversed(list(lines)) if line in held and len(line.strip("|^*.")) == longest)


def judge(world: World, name: str) -> Action:
    hits = {
        source.description: tags
        for source in world.sources
        if (tags := tags_of(source, world.lines[source.description.source], name)) is not None
    }
    if any(each.kind is ALLOW for each in hits):
        return Action.NONE
    denials = [each.action or world.policy.denylist_action for each in hits if each.kind is DENY]
    if denials:
        return severest(denials)
    weights: dict[str, int] = {}
    tags = 0
    for each, mask in hits.items():
        weights[each.name] = max(weights.get(each.name, 0), each.weight)
        tags |= mask if each.name == "dns-tapir" else 0
    policy = world.policy
    fired = []
    if sum(weights.values()) >= policy.numsources_limit:
        fired.append(policy.numsources_action)
    if tags.bit_count() >= policy.numtapirtags_limit:
        fired.append(policy.numtapirtags_action)
    if tags & policy.denytapir_mask:
        fired.append(policy.denytapir_action)
    own = [each.action for each in hits if each.action]
    action = severest(own if fired and own else fired)
    return Action.NONE if action is Action.PASSTHRU else action


def severest(actions: list[Action]) -> Action:
    return max(actions, key=RESTRICTIVENESS.index, default=Action.NONE)


def look_up(records: Mapping[Name, Action], name: Name, *, empty_exist: bool) -> Action:
    """What a resolver finds: the record, else that of the wildcard at the closest encloser (RFC 4592 §3.3.1).

    To some resolvers a name exists only with a record of its own, or with a wildcard's below it.
    """
    existing = {ROOT}
    for owner in records:
        above = parent_of(owner)
        existing |= {owner, above}
        while empty_exist and above != ROOT:
            above = parent_of(above)
            existing.add(above)
    if name in records or name in existing:
        found = records.get(name, Action.NONE)
        if name in records or empty_exist:
            return found
    encloser = parent_of(name)
    while encloser not in existing:
        encloser = parent_of(encloser)
    return records.get(Name(b"\x01*" + encloser), Action.NONE)


# What is tried.

labels = st.sampled_from(["a", "b", "c"])
names = st.lists(labels, min_size=1, max_size=3).map(lambda parts: ".".join([*parts, "x", "test"]))
spellings = st.sampled_from(["{}", "{}", "*.{}", ".{}", "||{}^"])
entries = st.builds(lambda name, spelling: spelling.format(name), names | st.just("x.test"), spellings)
plain_words = st.builds(lambda name, dot: dot + name, names | st.just("x.test"), st.sampled_from(["", "."]))
tag_masks = st.sampled_from([0, 1, 4, 7, 16, 0x3800])
configurable = st.sampled_from(sorted(CONFIGURABLE))
own_actions = st.none() | configurable
weights = st.integers(0, 3)
policies = st.builds(
    PolicySettings,
    denylist_action=configurable,
    numsources_limit=st.integers(1, 4),
    numsources_action=configurable,
    numtapirtags_limit=st.integers(1, 4),
    numtapirtags_action=configurable,
    denytapir_mask=st.sampled_from([0, 1, 16]),
    denytapir_action=configurable,
)
ROSTER: Final = (
    ("allow", "allow", ALLOW, False),
    ("mapped", "mapped", ALLOW, True),
    ("tapir:allowlist", "tapir:allowlist", ALLOW, False),
    ("deny", "deny", DENY, False),
    ("deny2", "deny2", DENY, False),
    ("canary", "canary", DENY, False),
    ("core", "dns-tapir", DOUBT, False),
    ("feed", "feed", DOUBT, False),
    ("mirror", "feed", DOUBT, False),
)


@st.composite
def described(draw: Callable[..., Any], old: tuple[Source, ...] = ()) -> tuple[Source, ...]:
    """The roster, with actions, weights and `match`; where there was one, entries are still read as then."""
    found = []
    for position, (source, name, kind, dawg) in enumerate(ROSTER):
        own = source == "canary" or ":" in source
        description = ListDescription(
            source=source,
            name=name,
            kind=kind,
            action=None if kind is ALLOW or own else draw(own_actions),
            weight=draw(weights) if kind is DOUBT else 1,
        )
        subtree = old[position].subtree if old else not own and draw(st.booleans())
        found.append(Source(description=description, subtree=subtree, dawg=dawg))
    return tuple(found)


@st.composite
def lines_of(draw: Callable[..., Any], source: str) -> dict[str, int]:
    match source:
        case "canary":
            return dict.fromkeys([draw(names)], 0)
        case "mapped":
            return dict.fromkeys(draw(st.lists(plain_words, max_size=4, unique=True)), 0)
        case "core":
            tagged: dict[str, int] = draw(st.dictionaries(entries, tag_masks, max_size=4))
            return tagged
        case _:
            return dict.fromkeys(draw(st.lists(entries, max_size=4, unique=True)), 0)


@st.composite
def worlds(draw: Callable[..., Any]) -> World:
    return World(
        sources=draw(described()),
        lines={source: draw(lines_of(source)) for source, *_ in ROSTER},
        policy=draw(policies),
    )


# What is tested.


class Shelf:
    """The files that a list is looked up in, by their words."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def put(self, source: Source, lines: Lines) -> LookupList:
        data = encode_dawg(sorted(f"{line}." for line in lines))
        path = data.hex()
        self.files[path] = data
        return LookupList(path=path, digest=path, words=len(lines), size=len(data), subtree=source.subtree)

    def open(self, content: LookupList) -> Lookup:
        return parse_dawg(self.files[content.path])


def content_of(source: Source, lines: Lines) -> ListBlock:
    """What the product makes of the file; tags, which no file has, are laid on afterwards."""
    parsed = parse_domains("".join(f"{line}\n" for line in lines).encode(), subtree=source.subtree)
    kind = source.description.kind
    admitted = admit(parsed, kind=kind, zone=ZONE, is_public_suffix=SUFFIXES)
    assert not admitted.refusals
    if not any(lines.values()):
        return admitted.content
    tags = {}
    for line, mask in lines.items():
        alone = parse_domains(line.encode(), subtree=source.subtree)
        tags.update(dict.fromkeys(alone.names, mask))
    return ListBlock.of((name, tags[name]) for name, _ in admitted.content)


def contents(world: World, shelf: Shelf) -> list[ListContent]:
    return [
        ListContent(
            description=each.description,
            content=(shelf.put if each.dawg else content_of)(each, world.lines[each.description.source]),
        )
        for each in world.sources
    ]


def change_of(source: Source, before: Lines, after: Lines, shelf: Shelf) -> ListChange:
    id_ = source.description.source
    if source.dawg:
        return ListChange(source=id_, removed=EMPTY_NAMES, upserted=EMPTY, lookup=shelf.put(source, after))
    found = difference(content_of(source, before), content_of(source, after))
    return ListChange(source=id_, removed=found.removed, upserted=found.upserted)


def fresh(world: World, shelf: Shelf) -> PolicyState:
    state = PolicyState(world.policy, zone=ZONE, redirect=REDIRECT, open_lookup=shelf.open)
    state.set_lists(contents(world, shelf))
    return state


def below(base: str, depth: int) -> list[str]:
    return [base, *(name for label in "abd" if depth for name in below(f"{label}.{base}", depth - 1))]


UNIVERSE: Final = (*below("x.test", 4), "test", "y.test")


def check(world: World, state: PolicyState) -> None:
    records = dict(state.records())
    assert len(records) == len(state.records()) == state.record_count
    for text in UNIVERSE:
        name = parse_name(text)
        wanted = judge(world, text)
        assert state.decide(name) is wanted, text
        explained = state.explain(name)
        assert explained.action is wanted, text
        for empty_exist in (True, False):
            found = look_up(records, name, empty_exist=empty_exist)
            assert (found or Action.PASSTHRU) is (wanted or Action.PASSTHRU), (text, empty_exist, records)
    check_economy(world, records)


def check_economy(world: World, records: Mapping[Name, Action]) -> None:
    """No record says what nobody wants to know."""
    passing = {name for name, action in records.items() if action is Action.PASSTHRU}
    if world.policy.denylist_action is Action.PASSTHRU or any(
        source.description.action is Action.PASSTHRU for source in world.sources
    ):
        passing = set()
    for name in passing:
        assert above_of(records, name), f"{format_name(name)} lets through what nothing would stop"
    for name, action in records.items():
        node = parent_of(name) if is_wildcard(name) else name
        over = above_of(records, node)
        if over is None or over is not action:
            continue
        # What a wildcard above says already is said again only on the way to a name that it does not hold for.
        inside = {said for owner, said in records.items() if owner == node or is_at_or_below(owner, node)}
        assert inside != {action}, f"{format_name(name)} is covered"


def above_of(records: Mapping[Name, Action], name: Name) -> Action | None:
    """What the nearest wildcard above says."""
    node = parent_of(name)
    while node != ROOT:
        found = records.get(Name(b"\x01*" + node))
        if found is not None and Name(b"\x01*" + node) != name:
            return found
        node = parent_of(node)
    return None


def is_at_or_below(name: Name, node: Name) -> bool:
    return name == node or name.endswith(node)


steps = st.sampled_from(["edit", "edit", "edit", "describe", "rule", "restart"])


@settings(deadline=None, max_examples=40)
@given(worlds(), st.lists(steps, max_size=4), st.data())
def test_the_zone_says_what_is_decided(world: World, changing: list[str], data: st.DataObject) -> None:
    shelf = Shelf()
    state = fresh(world, shelf)
    check(world, state)
    for step in changing:
        before = dict(state.records())
        if step == "edit":
            edited = data.draw(st.lists(st.sampled_from(ROSTER), min_size=1, max_size=3, unique=True))
            lines = world.lines | {source: data.draw(lines_of(source)) for source, *_ in edited}
            sources = {each.description.source: each for each in world.sources}
            delta = state.apply(
                [change_of(sources[source], world.lines[source], lines[source], shelf) for source, *_ in edited]
            )
            world = attrs.evolve(world, lines=lines)
        elif step == "describe":
            world = attrs.evolve(world, sources=data.draw(described(world.sources)))
            delta = state.describe(each.description for each in world.sources)
        elif step == "rule":
            world = attrs.evolve(world, policy=data.draw(policies))
            delta = state.set_policy(world.policy)
        else:
            world = data.draw(worlds())
            state.set_policy(world.policy)
            before = dict(state.records())
            delta = state.set_lists(contents(world, shelf))
        after = dict(fresh(world, shelf).records())
        assert dict(state.records()) == after
        assert set(delta.removed) == before.items() - after.items()
        assert set(delta.added) == after.items() - before.items()
        check(world, state)
