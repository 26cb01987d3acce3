"""The commands for the operator's own lists, and plan, against a process that runs."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tapir.app.cli.main import app
from tapir.app.cli.overrides import DurationError, parse_duration

FILES = {
    "dnstapir-pop.yaml": 'services: { rpz: { zonename: dnstapir. } }\ndnsengine: { addresses: ["127.0.0.1:0"] }\n',
    "pop-sources.yaml": (
        "sources:\n"
        "  own: { active: true, name: own, type: allowlist, source: file, format: domains, filename: allow.txt }\n"
        "  bad: { active: true, name: bad, type: denylist, source: file, format: domains, filename: deny.txt }\n"
    ),
    "pop-outputs.yaml": "outputs: {}\n",
    "pop-policy.yaml": (
        "policy:\n  denylist: { action: nxdomain }\n  doubtlist:\n"
        "    numsources: { limit: 2, action: nxdomain }\n    numtapirtags: { limit: 3, action: nxdomain }\n"
        "    denytapir: { tags: [], action: drop }\n"
    ),
    "allow.txt": "good.example\n",
    "deny.txt": "bad.example\n",
}


class Installation:
    """A folder with a configuration, and commands for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, text in FILES.items():
            (folder / name).write_text(text)

    def do(self, *words: str, code: int = 0) -> str:
        """What a command prints, on both streams; it exits with `code`."""
        places = ["--config-dir", str(self.folder), "--state-dir", str(self.folder / "state")]
        result = CliRunner().invoke(app, [*words, *places])
        assert result.exit_code == code, result.output
        return " ".join(result.output.split())

    def explain(self, name: str) -> str:
        """What `explain` prints of a name once all that is decided of it is published."""
        for _ in range(1000):
            if not self.read("explain", name)["publication"]["pending"]:
                return self.do("explain", name)
        raise AssertionError(f"{name} is not published")

    def read(self, *words: str, code: int = 0) -> Any:
        return json.loads(self.do(*words, "--json", code=code))


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


@pytest.fixture
def running(installation: Installation) -> Iterator[Installation]:
    folder = installation.folder
    command = [sys.executable, "-m", "tapir", "run", "--config-dir", str(folder), "--state-dir", str(folder / "state")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "ready zone" in line:
                break
        try:
            yield installation
        finally:
            process.terminate()
            process.communicate(timeout=60)


def test_names_are_allowed_denied_and_taken_back(running: Installation) -> None:
    assert running.do("overrides") == "no overrides"
    text = running.do("deny", "now.example", "--for", "2h", "--reason", "phishing")
    assert text.startswith("now.example. is denied until ")
    assert text.endswith("; it is NXDOMAIN by denylist local-deny, and was not")
    assert "although it is on denylist bad, and was NXDOMAIN" in running.do("allow", "bad.example")
    running.do("deny", "||tree.example^")
    assert "; the zone lets it through, although it is on denylist local-deny" in running.do("allow", "in.tree.example")
    running.do("allow", "in.tree.example", "--remove")
    running.do("deny", "||tree.example^", "--remove")
    answer = running.read("doubt", "||d.example^")
    assert (answer["ok"], [each["entry"] for each in answer["now"]]) == (True, ["*.d.example.", "d.example."])
    assert "without effect: it is on allowlist own" in running.do("deny", "good.example")
    refused = running.do("deny", "co.uk", code=1)
    assert refused == (
        "tapir: 'co.uk' cannot be on the local denylist: it is too broad: nothing would be left of a top-level domain "
        "or public suffix"
    )
    shown = running.read("overrides")["overrides"]
    assert [(each["kind"], each["entry"]) for each in shown] == [
        ("allowlist", "bad.example."),
        ("denylist", "good.example."),
        ("denylist", "now.example."),
        ("doubtlist", "*.d.example."),
        ("doubtlist", "d.example."),
    ]
    (now,) = [each for each in shown if each["entry"] == "now.example."]
    assert (now["reason"], now["until"] - now["at"]) == ("phishing", 7_200_000_000)
    assert now["user"]
    assert "phishing" in running.do("overrides")
    explained = running.explain("now.example")
    assert f"; by {now['user']}, " in explained
    assert "in the zone as now.example.dnstapir. NXDOMAIN since serial " in explained
    assert "is no longer denied" in running.do("deny", "now.example", "--remove")
    assert "was in the zone as now.example.dnstapir. NXDOMAIN until serial " in running.explain("now.example")
    assert running.do("plan").endswith("nothing would change")


def test_a_plan_counts_what_a_reload_would_do(running: Installation) -> None:
    # In another process than the daemon, which may look at its own stores meanwhile: that shows in the index of
    # SQLite's log, and nowhere else.
    stores = [each for each in (running.folder / "state").rglob("*.db*") if not each.name.endswith("-shm")]
    before = {each.name: each.read_bytes() for each in stores}
    (running.folder / "pop-policy.yaml").write_text(FILES["pop-policy.yaml"].replace("nxdomain }", "drop }", 1))
    (running.folder / "more.txt").write_text("".join(f"n{number:02}.example\n" for number in range(25)))
    more = "  more: { active: true, name: more, type: denylist, source: file, format: domains, filename: more.txt }\n"
    (running.folder / "pop-sources.yaml").write_text(FILES["pop-sources.yaml"] + more)
    text = running.do("plan", code=3)
    for part in (
        "a reload would do this: source more added policy: denylist-action changed + n00.example. DROP",
        "+ n19.example. DROP + … and 5 more: --all ~ bad.example. NXDOMAIN → DROP",
        "-0 +25 names, 1 with another action; 26 records",
    ):
        assert part in text
    assert "+ n24.example. DROP" in running.do("plan", "--all", code=3)
    found = running.read("plan", code=3)
    assert (found["changes"], found["added"]["count"], len(found["added"]["first"])) == (True, 25, 20)
    assert {each.name: each.read_bytes() for each in stores} == before


def test_a_plan_without_a_process_is_that_of_a_start(installation: Installation) -> None:
    text = installation.do("plan", code=3)
    assert "of which nothing is stored; no tapir runs on" in text
    assert "; so this is what a start would do:" in text
    assert "+ bad.example. NXDOMAIN" in text
    assert not (installation.folder / "state").exists()
    (installation.folder / "pop-policy.yaml").write_text("policy: 5\n")
    assert "pop-policy.yaml:1" in installation.do("plan", code=2)


def test_check_warns_of_a_canary_that_an_allowlist_keeps_out(installation: Installation) -> None:
    main = FILES["dnstapir-pop.yaml"].replace("dnstapir. }", "dnstapir., canary: good.example }")
    (installation.folder / "dnstapir-pop.yaml").write_text(main)
    text = installation.do("check")
    assert "services.rpz.canary: good.example. is on an allowlist (own), so it is not in the zone" in text
    (installation.folder / "allow.txt").write_text("other.example\n")
    assert installation.read("check")["notices"] == []


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("90m", 5400), ("1d12H", 129_600), ("3w", 1_814_400)])
def test_lengths_of_time(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "-2h", "0s", "2 hours", "2y", "1h30", "1.5h", "999999999w"])
def test_what_is_no_length_of_time(text: str, installation: Installation) -> None:
    with pytest.raises(DurationError):
        parse_duration(text)
    assert "is no length of time" in installation.do("deny", "x.example", f"--for={text}", code=2)


def test_what_does_not_go_together(installation: Installation) -> None:
    assert "--remove goes without" in installation.do("deny", "x.example", "--remove", "--for", "2h", code=2)
    assert "no tapir runs on" in installation.do("deny", "x.example", code=1)
