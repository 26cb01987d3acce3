"""The example of the documentation runs, and is as short as it says; the library stands by itself."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from trio.testing import MockClock

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLE = REPOSITORY / "docs/examples/counter.py"


async def test_the_example_runs(autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]) -> None:
    await runpy.run_path(str(EXAMPLE))["main"]()
    assert capsys.readouterr().out.splitlines() == [
        "counted 3",
        "ActorStarted counter",
        "ActorCrashed counter",
        "DeadLetter counter",
        "RestartScheduled counter",
        "counted 4",
    ]


def test_the_example_is_about_forty_lines_of_code() -> None:
    assert sum(bool(line.strip()) for line in EXAMPLE.read_text().splitlines()) <= 50


def test_the_library_loads_nothing_of_tapir_and_little_else() -> None:
    script = "import sys, actors, actors.testing; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=REPOSITORY, timeout=60
    )
    loaded = set(done.stdout.split())
    assert loaded >= {"actors", "trio", "attr", "outcome"}
    assert not loaded & {"tapir", "dns", "numpy", "yaml", "cattrs"}


def test_the_library_stays_small() -> None:
    modules = sorted((REPOSITORY / "actors").glob("*.py"))
    for module in modules:
        assert len(module.read_text().splitlines()) <= 400, module
