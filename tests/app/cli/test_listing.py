"""`tapir names`, `sources`, `refresh` and `events`, with a console that answers what a test says."""

import io
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from rich.console import Console
from typer.testing import CliRunner

from tapir.app.cli import commands
from tapir.app.cli.main import app
from tapir.app.cli.refresh import render_events
from tapir.app.cli.render import render_broker, render_urgent
from tapir.app.cli.sources import render_listing

NOW = 1_700_000_000
AT = (NOW - 90) * 1_000_000


def row(number: int, **more: Any) -> dict[str, Any]:
    return {
        "name": f"n{number}.example.",
        "source": "core",
        "list": "dns-tapir",
        "format": "tapir-msg-v1",
        "filter": "doubt",
        "tags": 1024,
        **more,
    }


class FakeClient:
    """Answers by op; keeps what was asked."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, dict[str, Any]]] = []

    async def request(self, op: str, **arguments: Any) -> Any:
        self.asked.append((op, arguments))
        answer = self.answers[op]
        return answer(arguments) if callable(answer) else answer


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    client = FakeClient({})

    def with_console(_: Path, use: Callable[[Any], Awaitable[int]]) -> int:
        return trio.run(use, client)

    monkeypatch.setattr(commands, "with_console", with_console)
    return client


def run(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [*words, "--state-dir", "/nonexistent"])
    return result.exit_code, result.stdout, result.stderr


def pages(total: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def page(arguments: dict[str, Any]) -> dict[str, Any]:
        first = int(arguments["cursor"] or 0)
        last = min(first + arguments["limit"], total)
        rows = [row(number) for number in range(first, last)]
        return {"rows": rows, "next": str(last) if last < total else "", "unlisted": []}

    return page


def test_the_table_of_names_is_the_seeds(fake: FakeClient):
    kinds = [row(1), row(2, filter="deny", tags=0, format="domains"), row(3, name="x" * 80 + ".")]
    fake.answers["names"] = {"rows": kinds, "next": "", "unlisted": ["big"]}
    code, out, err = run("names")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == f"{'Domain':<75}|{'Source':<20}|{'Src Fmt':<20}|{'Filter':<10}|Flags"
    assert lines[1] == "-" * 135
    assert lines[2] == f"{'n1.example.':<75}|{'dns-tapir':<20}|{'tapir-msg-v1':<20}|{'doubt':<10}|1024"
    assert lines[3].endswith(f"|{'deny':<10}|-")
    assert lines[4].startswith("x" * 80 + ".|dns-tapir")
    assert "big" in err


@pytest.mark.parametrize(("limit", "expected"), [("0", 2500), ("1700", 1700), ("3", 3), ("9999", 2500)])
def test_names_come_page_by_page(fake: FakeClient, limit: str, expected: int):
    fake.answers["names"] = pages(2500)
    words = ("names", "core", "--json", "--limit", limit, "--filter", "x", "--below", "example")
    code, out, _ = run(*words)
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [each["name"] for each in rows] == [f"n{number}.example." for number in range(expected)]
    op, asked = fake.asked[0]
    assert (op, asked["source"], asked["containing"], asked["suffix"]) == ("names", "core", "x", "example")
    assert all(arguments["limit"] <= 1000 for _, arguments in fake.asked)


SOURCE = {
    "id": "feed",
    "name": "partner",
    "kind": "denylist",
    "origin": "xfr 192.0.2.1",
    "state": "stale",
    "names": 3,
    "loaded_at": AT,
    "checked_at": AT,
    "error": "no primary answers",
    "internal": False,
    "format": "rpz",
}
FEED = {
    "zone": "deny.example.",
    "serial": 7,
    "state": "retrying",
    "checked_at": AT,
    "next_check_at": (NOW + 30) * 1_000_000,
    "expires_at": (NOW - 5) * 1_000_000,
    "primaries": [
        {"address": "192.0.2.1:53", "secured": "tsig", "failures": 3, "error": "timeout", "answered_at": None}
    ],
    "counters": [["axfr", 2], ["ixfr", 0]],
}
OBSERVED = {
    "topics": ["a/b"],
    "latest_at": AT,
    "next_expiry": NOW * 1_000_000,
    "held": True,
    "trouble": "the disk is full",
    "waiting": 4,
    "bootstrap": "failed",
    "keys": None,
    "counters": [["stale", 9]],
}


def shown(renderable: Any) -> str:
    console = Console(width=200, file=io.StringIO())
    console.print(renderable)
    written = console.file
    assert isinstance(written, io.StringIO)
    return written.getvalue()


def test_sources_with_all_that_they_say():
    core = {**SOURCE, "id": "core", "origin": "mqtt", "error": ""}
    quiet = {**SOURCE, "id": "file", "origin": "file /x", "state": "fresh", "error": ""}
    unknown = {**SOURCE, "id": "mute", "error": ""}
    local = {**SOURCE, "id": "tapir:allow", "internal": True, "names": 0, "error": ""}
    details = {"feed": FEED, "core": OBSERVED, "mute": {"error": "no answer"}}
    text = shown(render_listing({"sources": [SOURCE, core, quiet, unknown, local], "details": details}, now=NOW))
    for part in (
        "no primary answers",
        "zone deny.example.  retrying  serial 7, checked 1 min 30 s ago, next in 30 s, expires now",
        "primary 192.0.2.1:53 (tsig) answered never: timeout (3 in a row)",
        "counted: axfr 2\n",
        "topics a/b; last message 1 min 30 s ago; the next name leaves at 2023-11-14 22:13 UTC",
        "no name expires: the clock is in doubt; tapir accept clock",
        "the disk is full",
        "4 messages are not stored yet",
        "bootstrap: failed",
        "the keystore cannot be read",
        "counted: stale 9",
        "it does not say more: no answer",
    ):
        assert part in text
    assert "tapir:allow" not in text
    assert shown(render_listing({"sources": [], "details": {}}, now=NOW)) == "no sources are configured\n"


def test_a_feed_that_never_answered_and_an_observed_list_that_is_well():
    feed = {**FEED, "serial": None, "next_check_at": None, "expires_at": None, "primaries": [], "counters": []}
    well = {
        **OBSERVED,
        "held": False,
        "trouble": "",
        "waiting": 0,
        "bootstrap": "done",
        "keys": 2,
        "next_expiry": None,
        "counters": [],
    }
    answer = {
        "sources": [{**SOURCE, "error": ""}, {**SOURCE, "id": "core", "error": ""}],
        "details": {"feed": feed, "core": well},
    }
    text = shown(render_listing(answer, now=NOW))
    assert "no serial yet, checked 1 min 30 s ago\n" in text
    assert "2 keys may sign" in text


def test_sources_and_events_as_json(fake: FakeClient):
    fake.answers |= {"sources": {"sources": [SOURCE], "details": {}}, "exceptional-events": [EVENT]}
    assert json.loads(run("sources", "--json")[1])["sources"] == [SOURCE]
    assert json.loads(run("events", "--json")[1]) == [EVENT]
    assert "feed" in run("sources")[1]
    assert "zone-held" in run("events")[1]


def test_refresh_prints_a_sentence(fake: FakeClient):
    fake.answers["refresh"] = "source feed looks now"
    assert run("refresh", "feed")[:2] == (0, "source feed looks now\n")
    assert run("refresh", "feed", "--whole", "--json")[0] == 0
    assert [arguments["whole"] for _, arguments in fake.asked] == [False, True]


EVENT = {"id": "0190", "kind": "zone-held", "subject": "z.", "text": "it is held", "at": AT, "cleared_at": None}


def test_events_that_last_come_first():
    over = {**EVENT, "id": "0191", "cleared_at": NOW * 1_000_000}
    text = shown(render_events([over, EVENT], now=NOW))
    assert text.index("0190") < text.index("0191")
    assert "lasts" in text
    assert "2023-11-14 22:13 UTC" in text
    assert shown(render_events([], now=NOW)) == "no exceptional events\n"


def test_status_shows_what_lasts_and_a_clock_in_doubt():
    held = {"held": True, "stepped_by": 1, "stepped_at": 1, "released_at": NOW * 1_000_000}
    status = {"events": [EVENT, {**EVENT, "id": "0191", "cleared_at": 1}], "clock": held}
    text = "".join(shown(line) for line in render_urgent(status, now=NOW))
    assert "zone-held z., for 1 min: it is held (0190)" in text
    assert "0191" not in text
    assert "no name expires until 22:13:20 UTC: the wall clock is in doubt" in text
    assert render_urgent({"events": [], "clock": {**held, "held": False}}, now=NOW) == []
    assert render_urgent({}, now=NOW) == []
    assert "events: no answer" in shown(render_urgent({"events": {"error": "no answer"}}, now=NOW)[0])
    assert "no name expires: the" in shown(render_urgent({"clock": {**held, "released_at": None}}, now=NOW)[0])


def test_status_has_a_line_on_the_broker():
    topic = {"messages": 4}
    mqtt = {
        "broker": "mqtts://b:8883",
        "state": "connected",
        "since": AT,
        "topics": [topic, topic],
        "unacknowledged": 1,
        "trouble": "",
    }
    (line,) = render_broker({"mqtt": mqtt}, now=NOW)
    assert shown(line) == "\nmqtt mqtts://b:8883  connected 1 min; 2 topics, 8 messages, 1 not stored yet\n"
    (line,) = render_broker({"mqtt": {**mqtt, "since": None, "state": "waiting", "trouble": "refused"}}, now=NOW)
    assert "mqtt: refused" in shown(line)
    (line,) = render_broker({"mqtt": {"error": "no answer"}}, now=NOW)
    assert "mqtt: no answer" in shown(line)
    assert render_broker({}, now=NOW) == []
