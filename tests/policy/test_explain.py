"""What an explanation says of sources, of how an entry matched, and of who decided."""

import pytest

from tapir.model.actions import Action, ListKind
from tapir.model.blocks import ListBlock
from tapir.model.messages.lists import ListContent, ListDescription
from tapir.model.messages.policy import Explanation, ListHit
from tapir.model.names import parse_name
from tapir.model.tags import parse_tags
from tapir.policy.settings import PolicySettings
from tapir.policy.state import PolicyState

ALLOW, DENY, DOUBT = ListKind.ALLOW, ListKind.DENY, ListKind.DOUBT


def explain(name: str, *lists: tuple[ListDescription, dict[str, int]]) -> Explanation:
    policy = PolicySettings(denytapir_mask=parse_tags(["newly_registered"]))
    state = PolicyState(policy, zone=parse_name("rpz.example."), redirect=parse_name("garden.example."))
    state.set_lists(
        ListContent(
            description=description,
            content=ListBlock.of((parse_name(entry), tags) for entry, tags in entries.items()),
        )
        for description, entries in lists
    )
    return state.explain(parse_name(name))


def listed(
    source: str, kind: ListKind, action: Action | None = None, *, weight: int = 1, name: str = ""
) -> ListDescription:
    return ListDescription(source=source, name=name or source, kind=kind, action=action, weight=weight)


def test_a_hit_says_all_of_its_list() -> None:
    core = listed("core", DOUBT, Action.TCP_ONLY, weight=3, name="dns-tapir")
    explained = explain("evil.example", (core, {"evil.example": parse_tags(["newly_registered", "looptest"])}))
    assert explained.hits == (
        ListHit(
            list_name="dns-tapir",
            kind="doubtlist",
            entry="evil.example.",
            tags=("badip", "frotz"),
            source="core",
            match="exact",
            weight=3,
            action="TCP-ONLY",
        ),
    )


@pytest.mark.parametrize(
    ("entries", "name", "entry", "match"),
    [
        (["a.example"], "a.example", "a.example.", "exact"),
        (["*.example"], "a.example", "*.example.", "wildcard"),
        (["*.example"], "x.y.a.example", "*.example.", "wildcard"),
        (["*.example", "example"], "a.example", "*.example.", "subtree"),
        (["*.example", "example"], "example", "example.", "exact"),
        (["*.example", "a.example"], "a.example", "a.example.", "exact"),
        (["*.example", "example", "*.a.example"], "x.a.example", "*.a.example.", "wildcard"),
        (["*.example"], "*.example", "*.example.", "exact"),
        (["*.example"], "*.a.example", "*.example.", "wildcard"),
    ],
)
def test_how_an_entry_matched(entries: list[str], name: str, entry: str, match: str) -> None:
    # The other list's entry makes a node of its own; what matched is told for each list by itself.
    other = (listed("other", DENY), {"example": 0})
    explained = explain(name, (listed("feed", DENY), dict.fromkeys(entries, 0)), other)
    hit = next(hit for hit in explained.hits if hit.source == "feed")
    assert (hit.entry, hit.match) == (entry, match)


def test_rules_with_their_figures() -> None:
    core = listed("core", DOUBT, weight=4, name="dns-tapir")
    mirror = listed("mirror", DOUBT, name="dns-tapir")
    explained = explain("evil.example", (core, {"evil.example": 5}), (mirror, {"*.example": 8}))
    assert [(rule.rule, rule.found, rule.limit, rule.fired) for rule in explained.rules] == [
        ("numsources", 4, 2, True),
        ("numtapirtags", 3, 3, True),
        ("denytapir", 1, 1, True),
    ]
    assert explained.rules[0].detail == "1 doubtlist of weight 4 together, limit 2"
    assert explained.rules[2].detail == "tags newname,badip,cdntracker from dns-tapir, denied badip"


@pytest.mark.parametrize(
    ("lists", "why", "source"),
    [
        ([], "no list holds it", ""),
        (
            [listed("ours", ALLOW), listed("feed", DENY, Action.DROP)],
            "an allowlist holds it, and what is allowed is left alone",
            "",
        ),
        ([listed("feed", DENY)], "a denylist holds it, and policy.denylist.action is NODATA", ""),
        ([listed("feed", DENY, Action.DROP)], "a denylist holds it, and source feed says DROP", "feed"),
        (
            [listed("feed", DENY, Action.TCP_ONLY), listed("plain", DENY)],
            "a denylist holds it, and policy.denylist.action is NODATA, the most restrictive of what its denylists say",
            "",
        ),
        (
            [listed("feed", DENY, Action.DROP), listed("plain", DENY)],
            "a denylist holds it, and source feed says DROP, the most restrictive of what its denylists say",
            "feed",
        ),
        ([listed("p", DOUBT, Action.DROP)], "doubtlists hold it, but no rule fires", ""),
        ([listed("p", DOUBT), listed("q", DOUBT)], "doubtlists hold it, and numsources fires", ""),
        (
            [listed("p", DOUBT), listed("q", DOUBT, Action.REDIRECT)],
            "doubtlists hold it, and numsources fires; source q says REDIRECT in its place",
            "q",
        ),
    ],
)
def test_the_decision_in_a_sentence(lists: list[ListDescription], why: str, source: str) -> None:
    explained = explain("evil.example", *((each, {"evil.example": 0}) for each in lists))
    assert (explained.why, explained.action_source) == (why, source)


@pytest.mark.parametrize(
    ("action", "target"),
    [(Action.TCP_ONLY, "rpz-tcp-only."), (Action.REDIRECT, "garden.example."), (Action.PASSTHRU, "rpz-passthru.")],
)
def test_the_record_of_an_action_of_a_source(action: Action, target: str) -> None:
    explained = explain("evil.example", (listed("feed", DENY, action), {"evil.example": 0}))
    assert explained.emitted == f"evil.example.rpz.example. CNAME {target}"


@pytest.mark.parametrize(
    ("name", "emitted"),
    [
        (r"\*.bad.example", "*.bad.example.rpz.example. CNAME *."),
        ("a.b.bad.example", "*.bad.example.rpz.example. CNAME *."),
        (r"a.\*.bad.example", ""),
        (r"a.\*.b.bad.example", "*.bad.example.rpz.example. CNAME *."),
    ],
)
def test_no_wildcard_answers_below_its_own_label(name: str, emitted: str) -> None:
    explained = explain(name, (listed("feed", DENY), {"bad.example": 0, "*.bad.example": 0}))
    assert (explained.action, explained.emitted) == (Action.NODATA, emitted)
    assert explained.why.endswith("does not answer") is (not emitted)
