"""What a person reads, at the width of a plain terminal."""

import io
from typing import Any

import pytest
from rich.console import Console

from tapir.app.cli.explanation import render_explanation
from tapir.app.cli.render import age, ago, duration, minute, node_line, render_status, render_top

NOW = 1_000_000_000.0
AT = int((NOW - 90) * 1_000_000)

LONG = "suspects-of-the-northern-observer"


def source(source_id: str, **changes: Any) -> dict[str, Any]:
    return {
        "id": source_id,
        "name": f"{source_id}-as-the-policy-calls-it",
        "kind": "doubtlist",
        "state": "fresh",
        "names": 1234567,
        "pending_names": None,
        "loaded_at": AT,
        "checked_at": AT,
        "refusals": [],
        "error": "",
        **changes,
    }


def node(name: str, children: tuple[dict[str, Any], ...] = (), **changes: Any) -> dict[str, Any]:
    return {"name": name, "status": "running", "children": children, **changes}


def status(*sources: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "process": {"version": "1.2.3", "commit": "abc", "pid": 7, "started_at": AT, "state_dir": "/var/lib/x"},
        "health": {"ready": True, "reasons": [], "warnings": []},
        "zone": {
            "zone": "dnstapir.",
            "state": "serving",
            "serial": 5,
            "records": 8,
            "published_at": AT,
            "journal_from": None,
            "held_change": None,
            "store_error": "",
        },
        "sources": {"sources": list(sources)},
        "secondaries": [],
        "server": {"listening": ["127.0.0.1:53"], "connections": 0, "counters": [], "refusals": []},
        "runtime": {
            "root": node("tapir", tuple(node(f"actor{number}") for number in range(12))),
            "lag": {"p50": 0.0, "p99": 0.0, "maximum": 0.0},
            "dead_letters": 0,
        },
        **changes,
    }


def printed(what: Any, *, width: int = 80) -> str:
    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(what)
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_an_id_is_never_cut_since_accept_wants_it_whole(width: int):
    text = printed(render_status(status(source(LONG), source("b")), now=NOW), width=width)
    assert f"\n{LONG} " in text
    assert "1234567" in text
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width


def test_what_a_source_refused_has_a_line_of_its_own():
    refusals = [{"reason": "malformed", "count": 7, "lines": [1, 2, 3, 4, 5, 6]}]
    text = printed(render_status(status(source("b", refusals=refusals)), now=NOW))
    assert "\nb refused 7 malformed (line 1,2,3,4,5,…)\n" in text


def test_what_health_says_is_not_said_again_and_what_it_does_not_say_is_shown():
    failing = source("b", state="stale", error="no such file")
    health = {"ready": True, "reasons": [], "warnings": ["source b: no such file"]}
    assert printed(render_status(status(failing, health=health), now=NOW)).count("no such file") == 1
    lost = {"error": "no answer within 1 s"}
    assert "\nb fails: no such file\n" in printed(render_status(status(failing, health=lost), now=NOW))


def test_top_shows_the_tree_in_a_small_terminal():
    screen = printed(render_top(status(source("b")), now=NOW)).splitlines()[:24]
    assert any("actor11" in line for line in screen)


def test_a_zone_without_a_version_says_what_queries_get():
    zone = status()["zone"] | {"state": "empty", "serial": None, "published_at": None}
    text = printed(render_status(status(zone=zone), now=NOW))
    assert "no version yet: queries are answered SERVFAIL" in " ".join(text.split())
    assert "never" not in text


@pytest.mark.parametrize("part", ["health", "zone", "sources", "secondaries", "server"])
def test_a_part_that_does_not_answer_takes_nothing_else_along(part: str):
    text = printed(render_status(status(**{part: {"error": "no answer"}}), now=NOW))
    assert "no answer" in text
    assert "actor11" in text


def test_what_was_coalesced_was_not_dropped():
    mailbox = {"depth": 0, "capacity": 8, "high_water": 1, "drops": {"coalesced": 3, "full": 2}}
    assert node_line(node("notifier", mailbox=mailbox)).plain.endswith("coalesced 3  dropped full 2")


@pytest.mark.parametrize(
    ("explanation", "lines"),
    [
        ({"stage": "none", "winner": ""}, ["a.example. is not in the zone", "on no list"]),
        (
            {"stage": "allowlist", "winner": "allowlist"},
            ["a.example. is allowed, and not in the zone", "decided by: allowlist", "on no list"],
        ),
        (
            {"stage": "allowlist", "winner": "allowlist", "emitted": "a.example.rpz. CNAME rpz-passthru."},
            [
                "a.example. is allowed, and let through by the zone",
                "decided by: allowlist",
                "record: a.example.rpz. CNAME rpz-passthru.",
                "on no list",
            ],
        ),
        (
            {"stage": "doubtlist", "winner": "numsources", "action": "NODATA"},
            ["a.example.: NODATA", "decided by: doubtlist, rule numsources", "on no list"],
        ),
        (
            {"stage": "doubtlist", "winner": ""},
            ["a.example. is not in the zone", "decided by: doubtlist, and none of its rules fires", "on no list"],
        ),
    ],
)
def test_an_explanation_says_what_decided(explanation: dict[str, Any], lines: list[str]):
    bare = {"name": "a.example.", "action": "NONE", "emitted": "", "hits": [], "rules": []}
    assert printed(render_explanation(bare | explanation, now=NOW)).splitlines() == lines


def test_an_explanation_says_whose_action_and_which_entry():
    hit = {"list_name": "feed", "kind": "denylist", "entry": "*.example.", "tags": [], "source": "feed"}
    explanation = {
        "name": "a.example.",
        "action": "DROP",
        "stage": "denylist",
        "winner": "denylist",
        "why": "a denylist holds it, and source feed says DROP",
        "emitted": "",
        "hits": [
            hit | {"match": "wildcard", "weight": 1, "action": "DROP"},
            hit | {"match": "subtree", "source": "mirror", "weight": 3, "action": ""},
        ],
        "rules": [],
    }
    assert printed(render_explanation(explanation, now=NOW)).splitlines() == [
        "a.example.: DROP",
        "decided by: denylist",
        "why: a denylist holds it, and source feed says DROP",
        "on denylist feed, as *.example., action DROP",
        "on denylist feed (source mirror), as example. and all below, weight 3",
    ]


STEP = {"serial": 7, "at": int((NOW - 120) * 1e6), "before": "NONE", "after": "DROP", "owner": "a.example.dnstapir."}
IN_ZONE = {"owner": "a.example.dnstapir.", "action": "DROP", "since": None, "since_before": None, "withdrawn": None}


@pytest.mark.parametrize(
    ("record", "line"),
    [
        ({"since": STEP}, "in the zone as a.example.dnstapir. DROP since serial 7, 2 min 0 s ago"),
        (
            {"since": STEP | {"before": "NODATA"}},
            "in the zone as a.example.dnstapir. DROP since serial 7, 2 min 0 s ago, before that NODATA",
        ),
        (
            {"since_before": {"serial": 3, "at": None}},
            "in the zone as a.example.dnstapir. DROP since serial 3 or earlier: there the journal begins",
        ),
        (
            {"owner": None, "action": None, "withdrawn": STEP | {"before": "DROP", "after": "NONE"}},
            "was in the zone as a.example.dnstapir. DROP until serial 7 withdrew it, 2 min 0 s ago",
        ),
    ],
)
def test_an_explanation_says_since_which_serial(record: dict[str, Any], line: str):
    explanation = {"name": "a.example.", "action": "DROP", "stage": "none", "winner": "", "emitted": "", "rules": []}
    publication = {"serial": 8, "state": "held", "pending": True, "why": "the zone is held by the operator"}
    document = explanation | {"hits": [], "record": IN_ZONE | record, "publication": publication}
    text = " ".join(printed(render_explanation(document, now=NOW)).split())
    assert f" DROP {line} not published yet: the zone is held by the operator on no list" in text


def test_an_explanation_says_who_said_so_by_hand_and_how_old_a_list_is():
    hit = {"list_name": "feed", "kind": "denylist", "entry": "a.example.", "tags": [], "source": "feed"}
    override = {"user": "ops", "at": 0, "until": 7_200_000_000, "reason": "phishing", "kind": "denylist"}
    explanation = {
        "name": "a.example.",
        "action": "DROP",
        "stage": "denylist",
        "winner": "denylist",
        "emitted": "",
        "hits": [
            hit | {"loaded_at": int((NOW - 30) * 1e6), "override": None},
            hit | {"list_name": "core", "since": int((NOW - 60) * 1e6), "expires": 7_200_000_000, "override": None},
            hit | {"list_name": "old", "since": 0, "expires": None, "note": "", "override": None},
            hit | {"list_name": "mute", "since": None, "expires": None, "note": "its source does not say"},
            hit | {"list_name": "local-deny", "source": "local-deny", "override": override},
            hit | {"list_name": "mine", "source": "mine", "override": override | {"until": None, "reason": ""}},
        ],
        "rules": [],
    }
    assert " ".join(printed(render_explanation(explanation, now=NOW)).split()).endswith(
        "on denylist feed, as a.example.; loaded 30 s ago "
        "on denylist core (source feed), as a.example.; observed 1 min 0 s ago, expires 1970-01-01 02:00 UTC "
        f"on denylist old (source feed), as a.example.; observed {ago(0, NOW)} "
        "on denylist mute (source feed), as a.example.; its source does not say "
        "on denylist local-deny, as a.example.; by ops, 1970-01-01 00:00 UTC, until 1970-01-01 02:00 UTC: phishing "
        "on denylist mine, as a.example.; by ops, 1970-01-01 00:00 UTC, until it is removed"
    )


def test_own_lists_are_shown_when_they_say_something():
    empty = source("tapir:deny") | {"internal": True, "names": 0}
    assert "tapir:deny" not in printed(render_status(status(empty), now=NOW))
    assert "sources: none configured" in printed(render_status(status(empty), now=NOW))
    assert "tapir:deny" in printed(render_status(status(empty | {"names": 1}), now=NOW))


def test_lengths_of_time_fit_their_column():
    seconds = [0.2, 59, 3599, 47 * 3600, 400 * 86400]
    assert [age(int((NOW - length) * 1e6), NOW) for length in seconds] == ["0 s", "59 s", "59 min", "47 h", "400 days"]
    assert age(None, NOW) == "never"
    assert [duration(length) for length in (0.25, 59, 61, 3700)] == ["250 ms", "59 s", "1 min 1 s", "1 h 1 min"]


def test_a_name_that_holds_longer_than_calendars_do_is_explained() -> None:
    assert minute(1_700_000_000_000_000) == "2023-11-14 22:13 UTC"
    assert minute((1 << 63) - 1) == "no time of this calendar"
    assert minute(-(1 << 62)) == "no time of this calendar"
