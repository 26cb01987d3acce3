"""The rules on the vectors of pop.md §5.1 and those derived from the code; the explanations of the same."""

import random
from typing import Any

import attrs
import pytest

from tapir.model.actions import Action, ListKind
from tapir.model.blocks import ListBlock
from tapir.model.messages.lists import ListContent, ListDescription
from tapir.model.messages.policy import Explanation
from tapir.model.names import Name, parse_name
from tapir.model.tags import parse_tags
from tapir.policy.settings import PolicySettings
from tapir.policy.state import PolicyState

ZONE = parse_name("rpz.example.")
EVIL = parse_name("evil.example.")
UPSTREAM = PolicySettings(
    allowlist_action=Action.PASSTHRU,
    denylist_action=Action.NODATA,
    numsources_limit=2,
    numsources_action=Action.NXDOMAIN,
    numtapirtags_limit=3,
    numtapirtags_action=Action.NXDOMAIN,
    denytapir_mask=parse_tags(["likelymalware"]),
    denytapir_action=Action.REDIRECT,
)
ALLOW, DENY, DOUBT = ListKind.ALLOW, ListKind.DENY, ListKind.DOUBT
THREE = parse_tags(["badip", "cdntracker", "highvolume"])
MALWARE = parse_tags(["likelymalware"])

Hold = tuple[ListKind, str, int]


def state_of(*held: Hold, settings: PolicySettings = UPSTREAM, entry: Name = EVIL) -> PolicyState:
    state = PolicyState(settings, zone=ZONE, redirect=parse_name("stop.example."))
    state.set_lists(
        ListContent(
            description=ListDescription(source=f"{kind.value}-{name}", name=name, kind=kind),
            content=ListBlock.of([(entry, tags)]),
        )
        for kind, name, tags in held
    )
    return state


VECTORS: list[tuple[str, list[Hold], Action, str]] = [
    ("1", [(ALLOW, "corp-allow", 0), (DENY, "blocky", 0), (DOUBT, "a", 0), (DOUBT, "b", 0)], Action.NONE, "allowlist"),
    ("2", [(DENY, "blocky", 0)], Action.NODATA, "denylist"),
    ("3", [(DOUBT, "a", 0)], Action.NONE, "doubtlist"),
    ("4", [(DOUBT, "a", 0), (DOUBT, "b", 0)], Action.NXDOMAIN, "doubtlist"),
    ("5", [(DOUBT, "dns-tapir", THREE)], Action.NXDOMAIN, "doubtlist"),
    ("6", [(DOUBT, "somefeed", THREE)], Action.NONE, "doubtlist"),
    ("7", [(DOUBT, "dns-tapir", MALWARE)], Action.REDIRECT, "doubtlist"),
    ("8", [(DOUBT, "dns-tapir", MALWARE), (DOUBT, "other", 0)], Action.NXDOMAIN, "doubtlist"),
    ("9", [], Action.NONE, "none"),
    ("unnamed tags count", [(DOUBT, "dns-tapir", 0x8000_1800)], Action.NXDOMAIN, "doubtlist"),
    ("catch-all counts", [(DOUBT, "doubt_catchall", 0), (DOUBT, "feed", 0)], Action.NXDOMAIN, "doubtlist"),
    ("denylist called dns-tapir", [(DENY, "dns-tapir", THREE)], Action.NODATA, "denylist"),
    ("two tags of other lists", [(DOUBT, "dns-tapir", 1), (ALLOW, "x", 0)], Action.NONE, "allowlist"),
]


@pytest.mark.parametrize(("held", "action", "stage"), [pytest.param(*v[1:], id=v[0]) for v in VECTORS])
def test_vectors(held: list[Hold], action: Action, stage: str) -> None:
    state = state_of(*held)
    explained = state.explain(EVIL)
    assert state.decide(EVIL) is explained.action is action
    assert explained.stage == stage
    assert dict(state.records()) == ({EVIL: action} if action else {})


def test_drop_beats_nxdomain() -> None:
    settings = attrs.evolve(UPSTREAM, denytapir_action=Action.DROP)
    assert state_of((DOUBT, "dns-tapir", MALWARE), (DOUBT, "b", 0), settings=settings).decide(EVIL) is Action.DROP


@pytest.mark.parametrize(
    "order",
    [
        [Action.PASSTHRU, Action.REDIRECT],
        [Action.REDIRECT, Action.NODATA],
        [Action.NODATA, Action.NXDOMAIN],
        [Action.NXDOMAIN, Action.DROP],
    ],
)
def test_the_more_restrictive_action_wins_from_either_side(order: list[Action]) -> None:
    weak, strong = order
    for first, second in ((weak, strong), (strong, weak)):
        settings = attrs.evolve(UPSTREAM, numsources_action=first, denytapir_action=second)
        explained = state_of((DOUBT, "dns-tapir", MALWARE), (DOUBT, "b", 0), settings=settings).explain(EVIL)
        assert explained.action is strong
        assert explained.winner == ("numsources" if first is strong else "denytapir")


def test_of_equals_the_earlier_rule_wins() -> None:
    settings = attrs.evolve(UPSTREAM, denytapir_action=Action.NXDOMAIN)
    explained = state_of((DOUBT, "dns-tapir", THREE | MALWARE), (DOUBT, "b", 0), settings=settings).explain(EVIL)
    assert [rule.fired for rule in explained.rules] == [True, True, True]
    assert explained.winner == "numsources"


def test_the_order_of_lists_means_nothing() -> None:
    shuffled = random.Random(1)
    held: list[Hold] = [(DOUBT, "alpha", 0), (DOUBT, "zeta", 0), (DOUBT, "dns-tapir", MALWARE)]
    explained = set()
    for _ in range(20):
        shuffled.shuffle(held)
        explained.add(state_of(*held).explain(EVIL))
    assert len(explained) == 1
    assert [hit.list_name for hit in explained.pop().hits] == ["alpha", "dns-tapir", "zeta"]


def test_allow_wins_over_everything_and_emits_nothing_whatever_its_action() -> None:
    for action in (Action.PASSTHRU, Action.DROP, Action.NXDOMAIN):
        settings = attrs.evolve(UPSTREAM, allowlist_action=action)
        state = state_of((ALLOW, "ours", 0), (DENY, "blocky", 0), (DOUBT, "a", 0), (DOUBT, "b", 0), settings=settings)
        assert state.decide(EVIL) is Action.NONE
        assert len(state.records()) == 0


def test_passthru_is_emitted_for_the_denylist_only() -> None:
    settings = attrs.evolve(UPSTREAM, denylist_action=Action.PASSTHRU, numsources_action=Action.PASSTHRU)
    assert dict(state_of((DENY, "a", 0), settings=settings).records()) == {EVIL: Action.PASSTHRU}
    assert len(state_of((DOUBT, "a", 0), (DOUBT, "b", 0), settings=settings).records()) == 0


def test_no_tag_is_denied_by_an_empty_mask() -> None:
    settings = attrs.evolve(UPSTREAM, denytapir_mask=0)
    assert state_of((DOUBT, "dns-tapir", MALWARE), settings=settings).decide(EVIL) is Action.NONE


def test_an_own_entry_says_its_own_tags_and_a_wildcard_speaks_for_the_rest() -> None:
    state = PolicyState(UPSTREAM, zone=ZONE)
    core = ListDescription(source="core", name="dns-tapir", kind=DOUBT)
    entries = {"*.example": MALWARE, "*.a.example": THREE, "b.example": 0, "a.example": 1}
    content = ListBlock.of((parse_name(name), tags) for name, tags in entries.items())
    state.set_lists([ListContent(description=core, content=content)])
    decided = {
        name: state.decide(parse_name(name))
        for name in ("example", "x.example", "a.example", "b.example", "x.a.example", "x.b.example")
    }
    assert decided == {
        "example": Action.NONE,
        "x.example": Action.REDIRECT,
        "a.example": Action.NONE,
        "b.example": Action.NONE,
        "x.a.example": Action.NXDOMAIN,
        "x.b.example": Action.REDIRECT,
    }


def test_an_explanation_of_a_doubted_name() -> None:
    explained = state_of((DOUBT, "dns-tapir", MALWARE), (DOUBT, "other", 0)).explain(EVIL)
    assert explained.name == "evil.example."
    assert [(hit.list_name, hit.kind, hit.entry, hit.tags) for hit in explained.hits] == [
        ("dns-tapir", "doubtlist", "evil.example.", ("likelymalware",)),
        ("other", "doubtlist", "evil.example.", ()),
    ]
    assert [(rule.rule, rule.fired, rule.detail, rule.action) for rule in explained.rules] == [
        ("numsources", True, "2 doubtlists, limit 2", "NXDOMAIN"),
        ("numtapirtags", False, "1 tags from dns-tapir, limit 3", "NXDOMAIN"),
        ("denytapir", True, "tags likelymalware from dns-tapir, denied likelymalware", "REDIRECT"),
    ]
    assert explained.winner == "numsources"
    assert explained.emitted == "evil.example.rpz.example. CNAME ."


def test_an_explanation_of_a_name_that_is_denied_and_allowed() -> None:
    explained = state_of((DENY, "blocky", 0), (ALLOW, "ours", 0)).explain(EVIL)
    assert [hit.kind for hit in explained.hits] == ["allowlist", "denylist"]
    assert (explained.rules, explained.winner, explained.emitted) == ((), "allowlist", "")


def test_an_explanation_by_a_wildcard() -> None:
    explained = state_of((DENY, "blocky", 0), entry=parse_name("*.example.")).explain(EVIL)
    assert [hit.entry for hit in explained.hits] == ["*.example."]
    assert explained.winner == "denylist"
    assert explained.emitted == "*.example.rpz.example. CNAME *."


def test_an_explanation_of_an_unknown_name() -> None:
    assert state_of().explain(EVIL) == Explanation(
        name="evil.example.",
        action=Action.NONE,
        stage="none",
        hits=(),
        rules=(),
        winner="",
        emitted="",
        why="no list holds it",
    )


def test_a_doubt_that_no_rule_takes_up_has_no_winner() -> None:
    explained = state_of((DOUBT, "a", 0)).explain(EVIL)
    assert (explained.stage, explained.winner, len(explained.rules)) == ("doubtlist", "", 3)


def test_the_record_of_a_redirect() -> None:
    held: Hold = (DOUBT, "dns-tapir", MALWARE)
    assert state_of(held).explain(EVIL).emitted == "evil.example.rpz.example. CNAME stop.example."
    blind = PolicyState(UPSTREAM, zone=ZONE)
    core = ListDescription(source="core", name="dns-tapir", kind=DOUBT)
    blind.set_lists([ListContent(description=core, content=ListBlock.of([(EVIL, MALWARE)]))])
    assert blind.explain(EVIL).emitted == "evil.example.rpz.example. CNAME (the redirect target)"


def test_the_defaults_are_those_of_the_enrolment() -> None:
    assert PolicySettings() == PolicySettings(
        allowlist_action=Action.PASSTHRU,
        denylist_action=Action.NODATA,
        numsources_limit=2,
        numsources_action=Action.NXDOMAIN,
        numtapirtags_limit=3,
        numtapirtags_action=Action.NXDOMAIN,
        denytapir_mask=0,
        denytapir_action=Action.REDIRECT,
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"denylist_action": Action.NONE},
        {"numsources_action": Action.NONE},
        {"numsources_limit": 0},
        {"numtapirtags_limit": -1},
        {"denytapir_mask": -1},
        {"denytapir_mask": 1 << 32},
    ],
)
def test_settings_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        attrs.evolve(UPSTREAM, **wrong)
