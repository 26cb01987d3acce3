"""What import-linter cannot say: single names, and what a fresh interpreter really loads."""

import ast
import enum
import importlib
import importlib.metadata
import inspect
import itertools
import json
import pkgutil
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

import tapir.model.messages

REPOSITORY = Path(__file__).resolve().parent.parent
PURE = ("model", "codec", "policy", "zone", "minimiser")


def modules_of(*rooms: str) -> Iterator[str]:
    """Every module of these rooms, `tapir/zone` or `actors`, by its full name."""
    for room in rooms:
        for path in sorted((REPOSITORY / room).rglob("*.py")):
            parts = path.relative_to(REPOSITORY).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def load_in_fresh_interpreter(*modules: str) -> set[str]:
    """The modules that are loaded once `modules` are; a warning on the way is an error."""
    code = (
        "import importlib, json, sys; [*map(importlib.import_module, sys.argv[1:])]; print(json.dumps([*sys.modules]))"
    )
    command = [sys.executable, "-W", "error", "-c", code, *modules]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


# What an EDM alone runs; its packages need not be installed for a POP.
OF_EDM = (
    "tapir.app.cli.edm_into",
    "tapir.app.edm",
    "tapir.app.mapping_edm",
    "tapir.codec.parquet",
    "tapir.services.ingest",
    "tapir.services.uplink.newnames",
    "tapir.store.seen",
)


def test_every_module_loads_and_none_brings_what_a_pop_does_not_need() -> None:
    unwanted = {"hypothesis", "lmdb", "pandas", "pyarrow", "trio_asyncio"}
    # The first runs the command, the second is for tests.
    left_out = {"tapir.__main__", "actors.testing"}
    modules = [module for module in modules_of("actors", "tapir") if module not in left_out]
    of_a_pop = [module for module in modules if not module.startswith(OF_EDM)]
    loaded = load_in_fresh_interpreter(*of_a_pop)
    assert set(of_a_pop) <= loaded
    assert loaded & unwanted == set()
    assert set(modules) <= load_in_fresh_interpreter(*modules)


@pytest.mark.parametrize("room", PURE)
def test_pure_room_loads_by_itself(room: str) -> None:
    """Whatever order the others are imported in: a circle between rooms shows here."""
    modules = list(modules_of(f"tapir/{room}"))
    assert set(modules) <= load_in_fresh_interpreter(*modules)


def test_actors_loads_without_tapir_and_dns() -> None:
    loaded = load_in_fresh_interpreter(*modules_of("actors"))
    assert not {name.partition(".")[0] for name in loaded} & {"tapir", "dns", "numpy"}


def test_messages_take_nothing_but_request_from_the_runtime() -> None:
    for path in (REPOSITORY / "tapir/model/messages").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "actors":
                assert (node.module, [alias.name for alias in node.names]) == ("actors", ["Request"]), path
            elif isinstance(node, ast.Import):
                assert not any(alias.name.partition(".")[0] == "actors" for alias in node.names), path


def message_classes() -> list[type]:
    """Every class that a conversation defines."""
    found: list[type] = []
    for info in pkgutil.iter_modules(tapir.model.messages.__path__, "tapir.model.messages."):
        module = importlib.import_module(info.name)
        classes = [thing for _, thing in inspect.getmembers(module, inspect.isclass) if thing.__module__ == info.name]
        found += [thing for thing in classes if not issubclass(thing, enum.Enum)]
    return found


@pytest.mark.parametrize("message", message_classes(), ids=lambda message: message.__name__)
def test_message_is_a_frozen_value_that_says_what_it_says(message: type) -> None:
    assert attrs.has(message), "not made by attrs"
    assert message.__setattr__ is not object.__setattr__, "not frozen"
    assert message.__doc__, "no docstring"
    for field in attrs.fields(message):
        assert field.kw_only, f"{field.name} is not keyword-only"
        assert not re.search(r"\b(list|dict|set|bytearray|ndarray|Callable)\b", str(field.type)), field.name


def test_dependencies_are_written_down() -> None:
    """Every package that we ask for has its line in docs/decisions/dependencies.md."""
    page = (REPOSITORY / "docs/decisions/dependencies.md").read_text()
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    for requirement in itertools.chain(project["dependencies"], *project["optional-dependencies"].values()):
        name = re.split(r"[<>=~![]", requirement)[0]
        assert name in page, f"{name} has no line on why it and not its rivals"


def test_what_is_imported_is_asked_for() -> None:
    """What only comes along with another package may stop coming, so what we import we ask for ourselves."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extra = project["optional-dependencies"]
    asked_for = {
        re.split(r"[<>=~![]", requirement)[0].lower() for requirement in project["dependencies"] + extra["edm"]
    }
    distributions = importlib.metadata.packages_distributions()
    for module in ("actors", "tapir"):
        for path in (REPOSITORY / module).rglob("*.py"):
            # A kernel's text names its types by the compiler's module; where that is not installed, shim.py is it.
            here = {"actors", "tapir"} | ({"cython"} if path.parent == REPOSITORY / "tapir/kernels" else set())
            for node in ast.walk(ast.parse(path.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
                for name in {name.partition(".")[0] for name in names} - sys.stdlib_module_names - here:
                    given_by = {
                        distribution.lower().replace("_", "-") for distribution in distributions.get(name, [name])
                    }
                    assert given_by & asked_for, f"{path} imports {name}"
