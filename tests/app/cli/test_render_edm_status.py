"""EDM in `tapir status`: short, and nothing of what is wrong left out."""

import io
from typing import Any

import pytest
from rich.console import Console, Group

from tapir.app.cli.render_edm_status import account_line, render_edm_status

NOW = 1_700_000_000.0
AT = 1_700_000_000_000_000
ACCOUNT: dict[str, Any] = {
    "received": 1234,
    "in_flight": 4,
    "settled": [
        ["minimised", "histogram", 1000],
        ["minimised", "other", 200],
        ["ignored", "query", 25],
        ["ignored", "client", 2],
        ["malformed", "dns", 0],
        ["dropped", "failed", 3],
    ],
}
FILE: dict[str, Any] = {"path": "/etc/known.dawg", "entries": 99999, "loaded_at": AT - 180_000_000, "trouble": ""}
NO_FILE: dict[str, Any] = {"path": "", "entries": 0, "loaded_at": None, "trouble": ""}
EDM: dict[str, Any] = {
    "input": {
        "addresses": ["unix:/run/edm.sock"],
        "open": 2,
        "accepted": 12,
        "refused": 0,
        "failed": [],
        "frames": 1234,
        "trouble": "",
    },
    "minimiser": {
        "account": ACCOUNT,
        "interval_started_at": AT,
        "interval_names": 7,
        "interval_responses": 800,
        "session_rows": 20,
        "histograms_written": 3,
        "session_files_written": 2,
        "rows_lost": 0,
        "well_known": FILE,
        "ignored_clients": NO_FILE,
        "ignored_names": NO_FILE,
        "trouble": "",
    },
    "novelty": {"new": 5, "asked": 60, "put_off": 0, "trouble": ""},
    "new_names": {
        "topic": "events/up/k/new_qname",
        "sent": 9,
        "waiting": 2,
        "oldest_at": AT - 30_000_000,
        "dropped": 0,
        "names": 77,
        "trouble": "",
    },
    "aggregates": {
        "enabled": True,
        "url": "https://core.example/",
        "sent": 3,
        "waiting": 1,
        "oldest_at": AT - 7_200_000_000,
        "kept": 3,
        "failures": [["rejected", 4]],
        "trouble": "",
    },
    "mqtt": {"broker": "mqtts://core.example:8883", "state": "connected", "since": AT - 60_000_000, "trouble": ""},
}


def shown(edm: Any) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=300, highlight=False).print(Group(*render_edm_status(edm, now=NOW)))
    return [line.rstrip() for line in out.getvalue().splitlines() if line.strip()]


def test_nothing_where_none_is_run() -> None:
    assert render_edm_status(None, now=NOW) == []


def test_the_account_is_an_equation() -> None:
    assert account_line(ACCOUNT) == (
        "1,234 received = 1,200 minimised + 27 ignored (query 25, client 2) + 0 malformed + 3 dropped (failed 3) "
        "+ 4 in flight"
    )


def test_a_line_a_part() -> None:
    assert shown(EDM) == [
        "EDM",
        "  input on unix:/run/edm.sock: 2 connections of 12, 1,234 frames",
        "  1,234 received = 1,200 minimised + 27 ignored (query 25, client 2) + 0 malformed + 3 dropped (failed 3)"
        " + 4 in flight",
        "  since 22:13:20 UTC: 800 responses for 7 well-known names, 20 session rows;"
        " written: 3 histograms, 2 session files",
        "  well-known names: 99,999 of /etc/known.dawg, read 3 min ago",
        "  new names: 5 of 60 asked for",
        "  events to events/up/k/new_qname: 9 sent, 2 waiting, the oldest for 30 s; 77 names were seen",
        "  histograms to https://core.example/: 3 sent, 1 waiting, the oldest for 2 h, 3 kept; failed: rejected 4",
        "  broker mqtts://core.example:8883  connected 60 s",
    ]


@pytest.mark.parametrize(
    ("part", "change", "text"),
    [
        ("input", {"addresses": [], "trouble": "in use"}, ["  input is not open", "    in use"]),
        ("minimiser", {"rows_lost": 9}, ["    9 rows were lost: no disk took them"]),
        ("minimiser", {"well_known": {**FILE, "trouble": "torn"}}, ["    torn"]),
        ("aggregates", {"enabled": False, "waiting": 0, "oldest_at": None}, ["(disable-histogram-sender), 0 waiting"]),
        ("mqtt", {"state": "waiting", "since": None, "trouble": "refused"}, ["  waiting", "    refused"]),
        ("new_names", {"dropped": 4}, ["4 dropped"]),
        ("novelty", {"put_off": 4}, ["4 put off"]),
        ("input", {"failed": [["idle", 3]], "refused": 2}, ["given up: idle 3; refused 2"]),
    ],
)
def test_what_is_wrong_is_said(part: str, change: dict[str, Any], text: list[str]) -> None:
    lines = "\n".join(shown({**EDM, part: {**EDM[part], **change}}))
    for each in text:
        assert each in lines


@pytest.mark.parametrize(
    ("part", "change", "lines"),
    [
        ("metrics", {}, ["  metrics at 127.0.0.1:2112"]),
        (
            "metrics",
            {"listening": False, "trouble": "in use"},
            ["  metrics cannot be asked for at 127.0.0.1:2112", "    in use"],
        ),
        ("metrics", {"address": ""}, []),
        ("telemetry", {}, ["  status to status/up/k/edm: published 3 times, last 60 s ago, 1 events pending"]),
        (
            "telemetry",
            {"published": 0, "published_at": None},
            ["  status to status/up/k/edm: published 0 times, 1 events pending"],
        ),
        ("telemetry", {"topic": ""}, []),
    ],
)
def test_who_tells_of_it(part: str, change: dict[str, Any], lines: list[str]) -> None:
    parts: dict[str, dict[str, Any]] = {
        "metrics": {"address": "127.0.0.1:2112", "listening": True, "pages": 1, "trouble": ""},
        "telemetry": {
            "topic": "status/up/k/edm",
            "published": 3,
            "published_at": AT - 60_000_000,
            "pending_events": 1,
            "trouble": "",
        },
    }
    assert shown({part: {**parts[part], **change}})[1:] == lines


def test_a_part_that_does_not_answer_is_named() -> None:
    assert "  new names: no answer" in shown({**EDM, "new_names": {"error": "no answer"}})


def test_what_has_not_begun_has_no_time_and_each_trouble_is_told_once() -> None:
    trouble = "/etc/known.dawg: is no DAWG"
    file = {**FILE, "entries": 0, "loaded_at": None, "trouble": trouble}
    lines = shown({"minimiser": {**EDM["minimiser"], "interval_started_at": 0, "well_known": file, "trouble": trouble}})
    assert lines == [
        "EDM",
        f"  {account_line(ACCOUNT)}",
        "  nothing is minimised yet: frames wait until all lists can be read",
        "  well-known names: 0 of /etc/known.dawg, not loaded",
        f"    {trouble}",
    ]
