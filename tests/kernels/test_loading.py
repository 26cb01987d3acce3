"""Kernels load in both forms, and say in which."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parents[2] / "tapir/kernels"

PROBE = """
import importlib, pkgutil, tapir.kernels as kernels
names = [module.name for module in pkgutil.iter_modules(kernels.__path__) if module.name != "shim"]
forms = {kernels.compiled(importlib.import_module(f"tapir.kernels.{name}")) for name in names}
print(forms or {None})
"""


def probe(code: str, **environment: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=os.environ | environment, check=True, capture_output=True, text=True).stdout


def test_switch_loads_the_text_of_every_kernel() -> None:
    assert probe(PROBE, TAPIR_KERNELS="uncompiled").strip() in {"{False}", "{None}"}


def test_it_is_known_what_is_not_compiled() -> None:
    code = "from tapir.kernels import uncompiled; print(*uncompiled())"
    names = sorted(path.stem for path in HERE.glob("*.py") if path.stem not in {"__init__", "shim"})
    assert probe(code, TAPIR_KERNELS="uncompiled").split() == names
    assert {*probe(code, TAPIR_KERNELS="").split()} <= {name for name in names if not [*HERE.glob(f"{name}.*.so")]}


def test_kernels_load_without_cython() -> None:
    hide = "import importlib.util as u; find = u.find_spec; u.find_spec = lambda n: None if n == 'cython' else find(n)"
    assert probe(f"{hide}\n{PROBE}", TAPIR_KERNELS="uncompiled").strip() in {"{False}", "{None}"}


@pytest.mark.skipif(os.environ.get("TAPIR_KERNELS") == "uncompiled", reason="this run is of the Python text")
def test_every_kernel_here_is_compiled() -> None:
    assert probe(PROBE).strip() in {"{True}", "{None}"}
