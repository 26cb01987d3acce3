"""`tapir edm` as an operator reads it."""

import io
import json
from typing import Any

import attrs
import pytest
from rich.console import Console
from typer.testing import CliRunner

from tapir.app.cli.main import app
from tapir.app.cli.render_edm import Pace, pace_of, render_rotated, render_watch
from tapir.model.messages.edm import (
    AccountStatus,
    AggregatesStatus,
    BusyName,
    FreshName,
    InputStatus,
    ListFile,
    MinimiserStatus,
    NoveltyStatus,
    Rotated,
)
from tapir.model.messages.mqtt import MqttStatus
from tapir.model.messages.newnames import NewNamesStatus
from tapir.services.control.protocol import to_plain

NOW = 1_779_970_400.0
SECOND = 1_000_000
AT = int(NOW * SECOND)

INPUT = InputStatus(
    addresses=("/run/dnstap.sock",), open=3, accepted=5, refused=0, ended=(), failed=(), frames=1_000_000,
    octets=150_000_000, abandoned=0,
)  # fmt: skip
LISTED = ListFile(path="/etc/dnstapir/edm/well-known-domains.dawg", entries=99_999, loaded_at=AT - 60 * SECOND)
MINIMISER = MinimiserStatus(
    account=AccountStatus(
        received=1_000_000,
        in_flight=2000,
        settled=(("minimised", "histogram", 950_000), ("minimised", "other", 47_000), ("ignored", "client", 1000)),
    ),
    interval_started_at=AT - 40 * SECOND, interval_names=9000, interval_responses=400_000, session_rows=1234,
    histograms_written=12, session_files_written=1, rows_lost=0, well_known=LISTED, ignored_clients=ListFile(path=""),
    ignored_names=ListFile(path=""), pseudonyms=0, pseudonym_generation=1, spooling=False, replayed=0,
)  # fmt: skip
NOVELTY = NoveltyStatus(
    gathered=0, asked=5000, new=70, put_off=0, recent_octets=80_000_000,
    newest=tuple(
        FreshName(name=name, at=AT - ago * SECOND) for name, ago in (("new.example.", 2), ("[red]\\027.example.", 5))
    ),
)  # fmt: skip
EVENTS = NewNamesStatus(
    topic="events/up/edge/new_qname", sent=60, waiting=10, oldest_at=AT - 3 * SECOND, dropped=0, names=12_345_678,
    forgotten=0, trouble="",
)  # fmt: skip
AGGREGATES = AggregatesStatus(
    enabled=True, url="https://core.example", waiting=2, waiting_octets=123_456, oldest_at=AT - 120 * SECOND, sent=11,
    failures=(), last_sent_at=AT - 60 * SECOND, kept=11,
)  # fmt: skip
MQTT = MqttStatus(
    broker="mqtts://broker.example:8883", client_id="edge-edm-1", state="connected", version="5",
    since=AT - 600 * SECOND, trouble="", retry_at=None, connections=1, topics=(), published=60, unacknowledged=0,
    counters=(),
)  # fmt: skip


def edm_of(**changes: Any) -> dict[str, Any]:
    """What the console says, with `changes` of fields, by part; a part of None is not run."""
    parts: dict[str, Any] = {
        "input": INPUT, "minimiser": MINIMISER, "novelty": NOVELTY, "new_names": EVENTS, "aggregates": AGGREGATES,
        "mqtt": MQTT,
    }  # fmt: skip
    for name, change in changes.items():
        parts[name] = (
            attrs.evolve(parts[name], **change) if isinstance(change, dict) and "error" not in change else change
        )
    plain: dict[str, Any] = to_plain({name: part for name, part in parts.items() if part is not None})
    return plain


def document_of(at: int, **changes: Any) -> dict[str, Any]:
    busy = (BusyName(name="a.example.", responses=300_000), BusyName(name="b.example.", responses=7))
    return {
        "at": at,
        "process": {"version": "1.2.3", "pid": 7},
        "edm": {**edm_of(**changes), "busy": to_plain(busy)},
        "lag": {"p99": 0.0012},
    }


def printed(what: Any, *, width: int = 100) -> str:
    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(what)
    return out.getvalue()


def test_watching_shows_how_fast_it_goes() -> None:
    account = attrs.evolve(
        MINIMISER.account,
        received=2_000_000,
        settled=(("minimised", "histogram", 1_900_000), ("malformed", "dns", 1)),
    )
    before = document_of(AT - 2 * SECOND)
    document = document_of(
        AT,
        input={"frames": 2_000_000, "octets": 300_000_000},
        minimiser={"account": account},
        novelty={"new": 71, "asked": 5100},
        new_names={"sent": 80},
    )
    text = printed(render_watch(document, pace_of(document, before), rows=5))
    assert [line.rstrip() for line in text.splitlines()] == [
        "tapir 1.2.3, pid 7, 12:13:20 UTC, event loop lag p99 1.2 ms",
        "input       500 k frames/s, 75.0 MB/s from 3 connections",
        "interval    40 s: 400 k responses for 9,000 well-known names, 1,234 session rows",
        "new names   0.5/s of 50/s looked for; 71 since the start",
        "events      10/s sent, 10 waiting, the oldest for 3 s; 12.3 M names seen",
        "broker      connected for 10 min",
        "histograms  2 waiting, the oldest for 2 min; 11 sent, the last 1 min ago",
        "",
        "frames                a second  since the start",
        "received                 500 k           2.00 M",
        "minimised  histogram     475 k           1.90 M",
        "malformed  dns             0.5                1",
        "in flight                                 2,000",
        "",
        "busy well-known names  a second  responses    newest names        ago",
        "a.example.               7.50 k      300 k    new.example.        2 s",
        # A name is no markup, and cannot move the cursor.
        "b.example.                  0.2          7    [red]\\027.example.  5 s",
    ]


def test_what_is_not_run_is_not_shown() -> None:
    text = printed(render_watch(document_of(AT, new_names=None, mqtt=None), Pace(), rows=5))
    assert "events" not in text
    assert "broker" not in text


def test_what_is_wrong_stands_out() -> None:
    document = document_of(
        AT,
        input={"failed": (("idle", 2),), "refused": 1, "abandoned": 3, "open": 1, "trouble": "the socket is gone"},
        minimiser={"rows_lost": 5},
        novelty={"put_off": 8, "gathered": 9, "trouble": "no space left"},
        new_names={"dropped": 4, "oldest_at": None, "trouble": "no key"},
        aggregates={"enabled": False, "failures": (("401", 3),), "oldest_at": None, "last_sent_at": None},
        mqtt={"error": "no answer within 1 s"},
    )
    text = printed(render_watch(document, Pace(), rows=5))
    for told in (
        "- frames/s, -/s from 1 connection; idle 2, refused 1, abandoned frames 3\n            the socket is gone\n",
        "session rows; 5 rows lost\n",
        "9 wait for the store, 8 put off\n            no space left\n",
        "-/s sent, 10 waiting, 4 dropped; 12.3 M names seen\n            no key\n",
        "broker      no answer within 1 s\n",
        "histograms  not sent, 2 waiting; 11 sent; failed: 401 3\n",
    ):
        assert told in text


def test_an_interval_that_has_not_begun_is_not_fifty_years_long() -> None:
    document = document_of(AT, minimiser={"interval_started_at": 0})
    document["edm"]["busy"] = []
    text = printed(render_watch(document, Pace(), rows=5))
    assert "interval    none yet: frames wait until all lists can be read\n" in text


def test_a_minimiser_that_does_not_answer_leaves_the_rest() -> None:
    failed = {"error": "no answer within 1 s"}
    before = document_of(AT - SECOND)
    document = document_of(AT, minimiser=failed)
    document["edm"]["busy"] = failed
    text = printed(render_watch(document, pace_of(document, before), rows=5))
    assert "interval    no answer within 1 s" in text
    assert "new.example." in text
    assert "a.example." not in text
    assert printed(render_watch(before, pace_of(before, document), rows=5))


def test_the_first_look_and_a_restart_have_no_pace() -> None:
    document = document_of(AT)
    assert "input       - frames/s, -/s" in printed(render_watch(document, pace_of(document, None), rows=5))
    before = document_of(AT - SECOND, input={"frames": 2_000_000})
    assert "input       - frames/s, 0 B/s" in printed(render_watch(document, pace_of(document, before), rows=5))
    assert Pace(before=before["edm"], seconds=0).of(document["edm"], "input", "octets") is None


def test_as_many_names_as_there_is_room_for() -> None:
    newest = tuple(FreshName(name=f"n{number}.example.", at=AT) for number in range(50))
    document = document_of(AT, novelty={"newest": newest})
    text = printed(render_watch(document, Pace(), rows=3))
    assert "n2.example." in text
    assert "n3.example." not in text


def test_a_long_name_is_cut_for_its_figures() -> None:
    document = document_of(AT, novelty={"newest": (FreshName(name=f"{'x' * 200}.", at=AT - 3540 * SECOND),)})
    document["edm"]["busy"] = [{"name": f"{'y' * 200}.", "responses": 1_234_567}]
    last = printed(render_watch(document, Pace(), rows=3, width=84), width=84).splitlines()[-1]
    assert last.rstrip() == f"{'y' * 21}…    30.9 k     1.23 M    {'x' * 21}…  59 min"
    last = printed(render_watch(document, Pace(), rows=3, width=200), width=200).splitlines()[-1]
    assert f"{'x' * 79}…  59 min" in last


def test_what_was_written_is_a_path_a_line() -> None:
    rotated = Rotated(start=AT - SECOND, stop=AT, histogram="/d/h.parquet", sessions=("/d/s1.parquet", "/d/s2.parquet"))
    assert printed(render_rotated(to_plain(rotated))) == "/d/h.parquet\n/d/s1.parquet\n/d/s2.parquet\n"
    nothing = printed(render_rotated(to_plain(Rotated(start=AT, stop=AT))))
    assert nothing == "nothing came since 2026-05-28 12:13 UTC: there is no file\n"
    assert printed(render_rotated(to_plain(Rotated(start=AT, stop=AT, trouble="disk full")))) == ""


class FakeClient:
    """A console with one answer."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[str] = []

    async def request(self, op: str, **_: object) -> Any:
        self.asked.append(op)
        return self.answer

    async def stream(self, op: str, **_: object) -> Any:
        self.asked.append(op)
        for each in self.answer:
            yield {"data": each, "lost": 0}


@pytest.fixture
def console(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    import trio

    client = FakeClient(None)
    monkeypatch.setattr("tapir.app.cli.commands.with_console", lambda folder, use: trio.run(use, client))
    return client


@pytest.mark.parametrize(("trouble", "code"), [("", 0), ("the sessions were not written: no space left", 1)])
def test_rotate_says_by_its_exit_code_whether_all_is_written(console: FakeClient, trouble: str, code: int) -> None:
    console.answer = to_plain(Rotated(start=AT, stop=AT, histogram="/d/h.parquet", trouble=trouble))
    result = CliRunner().invoke(app, ["edm", "rotate", "--state-dir", "/nowhere"])
    assert result.exit_code == code
    assert console.asked == ["edm-rotate"]
    assert result.stdout == "/d/h.parquet\n"
    assert result.stderr == (f"tapir: {trouble}\n" if trouble else "")
    result = CliRunner().invoke(app, ["edm", "rotate", "--state-dir", "/nowhere", "--json"])
    assert json.loads(result.stdout) == console.answer


def test_status_and_watch_print_json(console: FakeClient) -> None:
    console.answer = edm_of()
    result = CliRunner().invoke(app, ["edm", "status", "--state-dir", "/nowhere", "--json"])
    assert json.loads(result.stdout) == console.answer
    assert (
        "  input on /run/dnstap.sock: 3" in CliRunner().invoke(app, ["edm", "status", "--state-dir", "/nowhere"]).stdout
    )
    console.answer = [document_of(AT - SECOND), document_of(AT)]
    result = CliRunner().invoke(app, ["edm", "watch", "--state-dir", "/nowhere", "--json"])
    assert [json.loads(line) for line in result.stdout.splitlines()] == console.answer
    assert "newest names" in CliRunner().invoke(app, ["edm", "watch", "--state-dir", "/nowhere"]).stdout


def test_where_nobody_runs_it_is_said(tmp_path: Any) -> None:
    result = CliRunner().invoke(app, ["edm", "rotate", "--state-dir", str(tmp_path)])
    assert result.exit_code == 1
    assert result.stderr.startswith(f"tapir: no tapir runs on {tmp_path}")
