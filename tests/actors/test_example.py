"""The example of the documentation runs, and is as short as it says; the library stands by itself."""

import ast
import io
import runpy
import subprocess
import sys
import tokenize
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
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=REPOSITORY, timeout=120
    )
    loaded = set(done.stdout.split())
    assert loaded >= {"actors", "trio", "attr", "outcome"}
    assert not loaded & {"tapir", "dns", "numpy", "yaml", "cattrs"}


def code_lines(module: Path) -> set[int]:
    """The lines that hold code: no comments, docstrings, blanks."""
    source = module.read_text()
    prose = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    docstrings = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    lines = {line for token in tokens if token.type not in prose for line in range(token.start[0], token.end[0] + 1)}
    return lines - docstrings


def test_the_library_stays_small() -> None:
    modules = sorted((REPOSITORY / "actors").glob("*.py"))
    for module in modules:
        assert len(module.read_text().splitlines()) <= 400, module
    assert sum(len(code_lines(module)) for module in modules if module.name != "testing.py") < 2000


def test_the_library_loads_no_test_tools() -> None:
    script = "import sys, actors, tapir.services.sources.worker; print('trio.testing' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=REPOSITORY, timeout=120
    )
    assert done.stdout == "False\n"
