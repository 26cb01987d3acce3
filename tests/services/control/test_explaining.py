"""What every part knows of a name, put together; and the word on what an order did."""

from typing import Any

import attrs
import pytest
from trio.testing import MockClock

from actors import ActorSystem, Strategy, SupervisorSpec
from actors.testing import Probe, run_system
from tapir.model.actions import Action, ListKind
from tapir.model.messages.lists import EntryFacts, GetEntry, GetSources, SourcesStatus, SourceStatus
from tapir.model.messages.local import SOURCES, Override, OverrideChange, OverridesStatus
from tapir.model.messages.policy import Explain, Explanation, ListHit
from tapir.model.messages.zone import RecordHistory, RecordStep, ZoneStatus
from tapir.model.names import format_name, parse_name
from tapir.services.control.explaining import answering_names, explain_name, put_together
from tapir.services.control.overriding import describe
from tapir.services.control.status import ControlRefs

DENY = SOURCES[ListKind.DENY]
ZONE = ZoneStatus(
    zone="dnstapir.",
    serial=9,
    records=1,
    published_at=1,
    journal_from=4,
    journal_deltas=5,
    journal_octets=100,
    state="serving",
    held_change=None,
    store_error="",
)
BY_HAND = Override(entry="a.x.example.", kind=ListKind.DENY, user="ops", at=5, until=99, reason="phishing")
EXPLANATION = Explanation(
    name="a.x.example.",
    action=Action.NXDOMAIN,
    stage="denylist",
    hits=(
        ListHit(list_name="feed", kind="denylist", entry="*.x.example.", tags=(), source="feed"),
        ListHit(list_name="local-deny", kind="denylist", entry="a.x.example.", tags=(), source=DENY),
    ),
    rules=(),
    winner="denylist",
    emitted="a.x.example.dnstapir. CNAME .",
)
FEED = SourceStatus(
    id="feed",
    name="feed",
    kind=ListKind.DENY,
    origin="file",
    active=True,
    required=False,
    state="fresh",
    names=1,
    pending_names=None,
    loaded_at=77,
    checked_at=78,
    refusals=(),
    error="",
)
SOURCES_STATUS = SourcesStatus(sources=(FEED,), publishing=True, waiting_for=())


def history(present: dict[str, Action], steps: dict[str, list[RecordStep]] | None = None) -> RecordHistory:
    return RecordHistory(
        serial=9,
        journal_from=4,
        journal_from_at=40,
        steps=tuple((parse_name(name), tuple(each)) for name, each in (steps or {}).items()),
        present=tuple((parse_name(name), action) for name, action in present.items()),
    )


def together(**parts: Any) -> dict[str, Any]:
    known: dict[str, Any] = {
        "overrides": OverridesStatus(overrides=(BY_HAND,), store_error=""),
        "sources": SOURCES_STATUS,
        "zone": ZONE,
        "history": history({"a.x.example.": Action.NXDOMAIN}),
    }
    explanation = parts.pop("explanation", EXPLANATION)
    return put_together(explanation, **{**known, **parts})


def test_a_name_is_answered_by_itself_or_by_the_nearest_wildcard() -> None:
    assert [format_name(name) for name in answering_names("a.x.example")] == [
        "a.x.example.",
        "*.x.example.",
        "*.example.",
    ]
    assert [format_name(name) for name in answering_names("*.x.example.")] == ["*.x.example.", "*.example."]
    assert answering_names("a..b") == ()
    longest = ".".join(["a" * 63] * 3 + ["b" * 61])
    assert all(len(name) <= 255 for name in answering_names(longest))


def test_hits_tell_who_said_so_or_how_old_the_list_is() -> None:
    feed, by_hand = together()["hits"]
    assert (feed["loaded_at"], feed["since"], feed["expires"], feed["override"]) == (77, None, None, None)
    assert (by_hand["since"], by_hand["expires"], by_hand["override"]["user"]) == (5, 99, "ops")


def test_a_list_of_a_file_that_has_the_same_entry_is_not_by_hand() -> None:
    hit = ListHit(list_name="local-deny", kind="denylist", entry="a.x.example.", tags=(), source="mine")
    (shown,) = together(explanation=attrs.evolve(EXPLANATION, hits=(hit,)))["hits"]
    assert shown["override"] is None


def test_what_expires_tells_since_when_and_until_when_or_that_nobody_says() -> None:
    facts = EntryFacts(source="feed", observed_at=11, expires_at=22, tags=1)
    feed, by_hand = together(entries={("feed", "*.x.example."): facts, (DENY, "a.x.example."): facts})["hits"]
    assert (feed["since"], feed["expires"], feed["note"]) == (11, 22, "")
    assert (by_hand["since"], by_hand["expires"]) == (5, 99)
    feed, _ = together(entries={("feed", "*.x.example."): "it does not say"})["hits"]
    assert (feed["since"], feed["expires"], feed["note"]) == (None, None, "it does not say")


async def explained(source: Probe, origin: str) -> dict[str, Any]:
    """What is said of a name on the list of a source of that origin, when only that source and two others answer."""
    system = ActorSystem()
    other = Probe(
        {
            Explain: EXPLANATION,
            GetSources: attrs.evolve(SOURCES_STATUS, sources=(attrs.evolve(FEED, origin=origin),)),
        }
    )
    one = system.ref("other")
    refs = ControlRefs(
        keeper=one,
        server=None,
        notifier=None,
        lists=one,
        policy=one,
        health=one,
        overrides=one,
        source=lambda source_id: system.ref(source_id),
    )
    tree = SupervisorSpec(
        name="test", strategy=Strategy.ONE_FOR_ONE, children=(other.spec("other"), source.spec("feed"))
    )
    async with run_system(tree, system=system):
        hits: list[dict[str, Any]] = (
            await explain_name(refs, lambda ref, question: ref.ask(question), "a.x.example.", patience=1)
        )["hits"]
        return hits[0]


async def test_only_sources_whose_entries_expire_are_asked_and_none_is_waited_for(autojump_clock: MockClock) -> None:
    knows = Probe({GetEntry: EntryFacts(source="feed", observed_at=1, expires_at=2)})
    hit = await explained(knows, "mqtt topic/x")
    assert (hit["since"], hit["expires"], hit["note"]) == (1, 2, "")
    assert knows.messages == [GetEntry(source="feed", name=parse_name("*.x.example."))]
    holds_none = Probe({GetEntry: None})
    assert (await explained(holds_none, "mqtt"))["note"] == ""
    mute = Probe()
    assert "does not say" in (await explained(mute, "mqtt"))["note"]
    file = Probe()
    assert (await explained(file, "file /lists/mqtt"))["note"] == ""
    assert file.messages == []


STEP = RecordStep(serial=7, at=70, before=Action.NODATA, after=Action.NXDOMAIN)
GONE = RecordStep(serial=8, at=80, before=Action.NXDOMAIN, after=Action.NONE)


def test_a_record_is_since_the_newest_step_or_since_before_the_journal() -> None:
    record = together(history=history({"a.x.example.": Action.NXDOMAIN}, {"a.x.example.": [STEP]}))["record"]
    assert record["since"] == {"serial": 7, "at": 70, "before": "NODATA", "after": "NXDOMAIN"}
    record = together()["record"]
    assert (record["owner"], record["since"]) == ("a.x.example.dnstapir.", None)
    assert record["since_before"] == {"serial": 4, "at": 40}
    empty = attrs.evolve(history({"a.x.example.": Action.NXDOMAIN}), journal_from=None, journal_from_at=None)
    assert together(history=empty)["record"]["since_before"] == {"serial": 9, "at": None}


def test_the_wildcard_that_answers_is_the_record() -> None:
    known = history({"*.x.example.": Action.DROP, "*.example.": Action.NODATA}, {"a.x.example.": [GONE]})
    record = together(history=known)["record"]
    assert (record["owner"], record["action"]) == ("*.x.example.dnstapir.", "DROP")
    assert [step["serial"] for step in record["steps"]] == [8]


def test_no_wildcard_answers_below_its_own_label() -> None:
    below = attrs.evolve(EXPLANATION, name=r"a.\*.x.example.", emitted="")
    document = together(explanation=below, history=history({"*.x.example.": Action.DROP}))
    assert document["record"]["owner"] is None
    assert not document["publication"]["pending"]


def test_a_record_that_is_gone_tells_which_serial_took_it() -> None:
    record = together(history=history({}, {"a.x.example.": [GONE, STEP]}))["record"]
    assert record["owner"] is None
    assert record["withdrawn"] == {
        "serial": 8,
        "at": 80,
        "before": "NXDOMAIN",
        "after": "NONE",
        "owner": "a.x.example.dnstapir.",
    }
    assert together(history=history({}))["record"]["withdrawn"] is None


@pytest.mark.parametrize(
    ("zone", "sources", "why"),
    [
        ({"state": "held"}, {}, "the zone is held by the operator: tapir zone resume"),
        ({"state": "paused", "reason": "paused until noon"}, {}, "the zone is paused until noon: tapir resume"),
        ({"state": "braked"}, {}, "the brake holds the change: tapir accept zone"),
        ({}, {"publishing": False, "waiting_for": ("own",)}, "nothing new is published until these deliver: own"),
        ({}, {}, "it is on its way"),
    ],
)
def test_what_is_not_published_yet_tells_why(zone: dict[str, Any], sources: dict[str, Any], why: str) -> None:
    publication = together(
        history=history({}), zone=attrs.evolve(ZONE, **zone), sources=attrs.evolve(SOURCES_STATUS, **sources)
    )["publication"]
    assert (publication["pending"], publication["why"]) == (True, why)


def test_another_action_than_the_published_one_is_pending_and_a_pass_is_its_own() -> None:
    assert together(history=history({"a.x.example.": Action.DROP}))["publication"]["pending"]
    assert not together()["publication"]["pending"]
    passing = attrs.evolve(
        EXPLANATION, action=Action.NONE, stage="allowlist", emitted="a.x.example.dnstapir. CNAME rpz-passthru."
    )
    known = history({"a.x.example.": Action.PASSTHRU, "*.example.": Action.DROP})
    assert not together(explanation=passing, history=known)["publication"]["pending"]


def test_who_does_not_answer_is_left_out() -> None:
    alone = together(overrides=None, sources=None, zone=None, history=None)
    assert (alone["record"], alone["publication"]) == (None, None)
    assert [hit["loaded_at"] for hit in alone["hits"]] == [None, None]


def change(now: ListKind | None, before: ListKind | None, until: int | None = None) -> OverrideChange:
    made = [attrs.evolve(BY_HAND, kind=kind, until=until) if kind else None for kind in (now, before)]
    return OverrideChange(now=(made[0],) if made[0] else (), before=(made[1],) if made[1] else ())


ALLOWED = attrs.evolve(
    EXPLANATION,
    action=Action.NONE,
    stage="allowlist",
    emitted="",
    hits=(ListHit(list_name="ours", kind="allowlist", entry="a.x.example.", tags=(), source="ours"), *EXPLANATION.hits),
)
NOTHING = attrs.evolve(EXPLANATION, action=Action.NONE, stage="none", emitted="", hits=())
DOUBTED = attrs.evolve(
    EXPLANATION,
    stage="doubtlist",
    winner="numsources",
    hits=(ListHit(list_name="north", kind="doubtlist", entry="a.x.example.", tags=(), source="north"),),
)


@pytest.mark.parametrize(
    ("made", "explanation", "was", "text"),
    [
        (
            change(ListKind.DENY, None, 7_200_000_000),
            EXPLANATION,
            Action.NONE,
            "is denied until 1970-01-01 02:00:00 UTC; it is NXDOMAIN by denylist feed, local-deny, and was not",
        ),
        (
            change(ListKind.DENY, None),
            ALLOWED,
            Action.NONE,
            "is denied until it is removed; without effect: it is on allowlist ours, and what is allowed is never in "
            "the zone",
        ),
        (
            change(ListKind.ALLOW, ListKind.DENY),
            ALLOWED,
            Action.NXDOMAIN,
            "is allowed until it is removed, and no longer denied; it is not in the zone, although it is on denylist "
            "feed, local-deny, and was NXDOMAIN",
        ),
        (
            change(None, ListKind.DENY),
            NOTHING,
            Action.NXDOMAIN,
            "is no longer denied; it is not in the zone, and was NXDOMAIN",
        ),
        (
            change(ListKind.DOUBT, None),
            DOUBTED,
            Action.NXDOMAIN,
            "is doubted until it is removed; it is NXDOMAIN by rule numsources (doubtlists north)",
        ),
        (
            change(ListKind.DOUBT, None),
            attrs.evolve(DOUBTED, action=Action.NONE, winner="", emitted=""),
            None,
            "is doubted until it is removed; it is not in the zone: it is on doubtlist north, and no rule fires",
        ),
        (
            change(ListKind.DOUBT, None),
            None,
            None,
            "is doubted until it is removed; what follows from that is not decided yet",
        ),
    ],
)
def test_an_order_is_answered_with_what_it_does(
    made: OverrideChange, explanation: Explanation | None, was: Action | None, text: str
) -> None:
    present = {} if explanation is None or not explanation.emitted else {"a.x.example.": explanation.action}
    document = together(explanation=explanation, history=history(present)) if explanation is not None else None
    assert describe("a.x.example.", made, document, was=was) == f"a.x.example. {text}"


def test_an_order_that_is_held_back_says_so() -> None:
    document = together(history=history({}), zone=attrs.evolve(ZONE, state="held"))
    text = describe("a.x.example.", change(ListKind.DENY, None), document)
    assert text.endswith("; the published zone still has nothing: the zone is held by the operator: tapir zone resume")
