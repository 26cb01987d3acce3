"""Hot loops: annotated Python that Cython compiles, and that runs, slower, where it could not.

Every module here is ordinary Python in Cython's pure-Python mode: what is compiled and what is interpreted is one
text. Kernels take and give `bytes`, buffers and integers, know nothing of the rooms above, and are bounds-checked:
their input is hostile. `TAPIR_KERNELS=uncompiled` in the environment loads the Python text although a compiled module
is there; the tests run both ways.
"""

import importlib.util
import os
import pkgutil
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Final

_HERE: Final = Path(__file__).resolve().parent
_PREFIX: Final = __name__ + "."


class _SourceFinder:
    """Finds the Python text of a kernel where the import system would prefer its compiled form."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if not name.startswith(_PREFIX):
            return None
        source = _HERE / f"{name.removeprefix(_PREFIX)}.py"
        return importlib.util.spec_from_file_location(name, source) if source.is_file() else None


def compiled(kernel: ModuleType) -> bool:
    """Whether `kernel`, a module of this package, is loaded in its compiled form."""
    return not (kernel.__file__ or "").endswith(".py")


def uncompiled() -> tuple[str, ...]:
    """The names of the kernels that run as Python here."""
    names = [module.name for module in pkgutil.iter_modules(__path__) if module.name != "shim"]
    specs = {name: importlib.util.find_spec(_PREFIX + name) for name in names}
    return tuple(name for name, spec in specs.items() if spec is None or (spec.origin or "").endswith(".py"))


if os.environ.get("TAPIR_KERNELS") == "uncompiled":
    sys.meta_path.insert(0, _SourceFinder)
if "cython" not in sys.modules and importlib.util.find_spec("cython") is None:
    # Only the Python text of a kernel imports it, for its annotations; Cython itself is a tool of the build.
    from tapir.kernels import shim

    sys.modules["cython"] = shim
