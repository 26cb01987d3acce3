"""`tapir zone history` and `diff`, `rollback`, `pause` and `resume`, against a console that answers as told."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from typer.testing import CliRunner

from tapir.app.cli import commands
from tapir.app.cli.main import app
from tapir.app.cli.zone import SHOWN

Run = Callable[..., Any]


class FakeConsole:
    """Notes requests; answers with what `answers` has for their op."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, Callable[[dict[str, Any]], Any]] = {}

    async def request(self, op: str, **arguments: Any) -> Any:
        self.requests.append((op, arguments))
        return self.answers.get(op, lambda _: "done")(arguments)


@pytest.fixture
def console(monkeypatch: pytest.MonkeyPatch) -> FakeConsole:
    fake = FakeConsole()

    def with_fake(_: Path, use: Callable[[Any], Awaitable[int]]) -> int:
        return trio.run(use, fake)

    monkeypatch.setattr(commands, "with_console", with_fake)
    return fake


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return lambda *words: CliRunner().invoke(app, [*words, "--state-dir", str(tmp_path)])


def pages(names: int) -> Callable[[dict[str, Any]], Any]:
    """A difference of so many names, of which the first one changes and the others go."""
    changes = [{"name": "changed.example.", "before": "DROP", "after": "NXDOMAIN"}]
    changes += [{"name": f"n{number}.example.", "before": "DROP", "after": "NONE"} for number in range(1, names)]

    def page(arguments: dict[str, Any]) -> Any:
        start, end = arguments["offset"], arguments["offset"] + arguments["count"]
        return {
            "from": arguments["from"],
            "to": arguments["to"],
            "removed": names,
            "added": 1,
            "names": names,
            "changes": changes[start:end],
            "next": end if end < names else None,
        }

    return page


def test_a_difference_is_a_line_a_record(console: FakeConsole, run: Run) -> None:
    console.answers["zone-diff"] = pages(2)
    result = run("zone", "diff", "9", "7")
    assert (result.exit_code, result.stdout.splitlines()) == (
        0,
        [
            "serial 9 to 7: -2 +1 records",
            "- changed.example. DROP",
            "+ changed.example. NXDOMAIN",
            "- n1.example. DROP",
        ],
    )
    assert result.stderr == ""


def test_a_long_difference_is_cut_and_says_so_beside_its_lines(console: FakeConsole, run: Run) -> None:
    console.answers["zone-diff"] = pages(2500)
    result = run("zone", "diff", "1", "2")
    assert len(result.stdout.splitlines()) == SHOWN + 2
    assert result.stderr == f"and {2500 - SHOWN} more names, with --all\n"
    assert len(console.requests) == 1
    result = run("zone", "diff", "1", "2", "--all")
    assert len(result.stdout.splitlines()) == 2502
    assert result.stderr == ""
    assert [arguments["offset"] for _, arguments in console.requests[1:]] == [0, 500, 1000, 1500, 2000]


def test_a_difference_as_json_says_whether_it_is_complete(console: FakeConsole, run: Run) -> None:
    console.answers["zone-diff"] = pages(2500)
    part = json.loads(run("zone", "diff", "1", "2", "--json").stdout)
    whole = json.loads(run("zone", "diff", "1", "2", "--json", "--all").stdout)
    assert (part["complete"], len(part["changes"]), part["names"]) == (False, SHOWN, 2500)
    assert (whole["complete"], len(whole["changes"]), whole["removed"]) == (True, 2500, 2500)


def step(serial: int, kind: str, **fields: Any) -> dict[str, Any]:
    base = {"from_serial": serial - 1, "at": 1_700_000_000_000_000 + serial, "removed": 1, "added": 2}
    return {"serial": serial, "kind": kind, "user": "", "text": "", **base, **fields}


def test_the_history_says_when_how_much_and_why(console: FakeConsole, run: Run) -> None:
    steps = [
        step(8, "restate", text="its apex changed"),
        step(7, "set-serial", user="alice", text="while paused"),
        step(6, "rollback", user="alice", text="to 2"),
        step(5, "return", from_serial=3),
        step(4, "pause", user="bob", text="until noon", from_serial=None),
        step(3, "lists"),
        step(1, "first", from_serial=None),
    ]
    answer = {"zone": "rpz.", "serial": 8, "journal_from": 1, "steps": steps, "more": 3}
    console.answers["zone-history"] = lambda _: answer
    result = run("zone", "history", "--count", "7")
    assert console.requests == [("zone-history", {"count": 7})]
    heading, *rows, more = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert heading == "serial when (UTC) removed added why"
    assert rows == [
        f"{serial} 2023-11-14 22:13:20 1 2 {why}"
        for serial, why in [
            (8, "a new serial: its apex changed"),
            (7, "serial set by alice while paused"),
            (6, "rolled back to 2 by alice"),
            (5, "back from the pause, against serial 3"),
            (4, "paused until noon by bob"),
            (3, "lists or policy changed"),
            (1, "the first version"),
        ]
    ]
    assert more == "… and 3 more"
    assert json.loads(run("zone", "history", "--json").stdout) == answer
    console.answers["zone-history"] = lambda _: {**answer, "journal_from": 2, "steps": steps[:-1], "more": 0}
    assert run("zone", "history").stdout.split("\n")[-2].split() == ["2", "the", "journal", "begins", "here"]
    console.answers["zone-history"] = lambda _: {**answer, "steps": [], "more": 0}
    assert run("zone", "history").stdout == "zone rpz.: nothing is known of its versions yet\n"


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("2h", 7200), ("1d", 86400), ("7d", 604800)])
def test_a_pause_has_a_length(console: FakeConsole, run: Run, text: str, seconds: int) -> None:
    result = run("pause", "--for", text)
    assert (result.exit_code, result.stdout) == (0, "done\n")
    assert console.requests == [("zone-pause", {"seconds": seconds})]


@pytest.mark.parametrize("words", [["--for", "8d"], ["--for", "soon"], ["--for", "10"], ["--for", "0s"], []])
def test_a_pause_without_a_sane_length_is_no_pause(console: FakeConsole, run: Run, words: list[str]) -> None:
    assert run("pause", *words).exit_code == 2
    assert console.requests == []


def test_rollback_and_resume(console: FakeConsole, run: Run) -> None:
    assert run("zone", "rollback", "12").exit_code == 0
    assert run("resume").exit_code == 0
    assert run("zone", "resume").exit_code == 0
    assert console.requests == [("zone-rollback", {"serial": 12}), ("zone-resume", {}), ("zone-resume", {})]
