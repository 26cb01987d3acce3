"""Compiles the kernels, and stamps version and commit into what is built.

The stamp is two files, VERSION and COMMIT, in the sdist's root and in the wheel's package. The kernels are optional:
without Cython or a C compiler tapir installs all the same, runs their Python text, and is slower.

Everything else about the build is in pyproject.toml. What the two files say comes from `tapir/version.py`, loaded by
its path: at build time nothing that tapir depends on needs to be installed.
"""

import runpy
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

ROOT = Path(__file__).resolve().parent
VERSION, COMMIT = runpy.run_path(str(ROOT / "tapir" / "version.py"))["stamp_of_tree"](ROOT)


def write_stamp(folder: Path) -> None:
    """Leave VERSION and COMMIT in `folder`; a tree that knows neither leaves nothing, so that the absence is seen."""
    for name, value in (("VERSION", VERSION), ("COMMIT", COMMIT)):
        if value is not None:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).unlink(missing_ok=True)  # sdist may have hard-linked it to the tree's own file
            (folder / name).write_text(value + "\n", encoding="ascii")


def kernels() -> list[Extension]:
    """An extension for each kernel, none where there is no Cython; those that do not compile are left out."""
    try:
        from Cython.Build import cythonize
    except ImportError:
        sys.stderr.write("tapir: no Cython, so the kernels stay Python: everything works, large lists are slow\n")
        return []
    sources = sorted(path.relative_to(ROOT) for path in (ROOT / "tapir" / "kernels").glob("*.py"))
    extensions: list[Extension] = cythonize(
        [
            Extension(f"tapir.kernels.{source.stem}", [str(source)], extra_compile_args=["-O3"])
            for source in sources
            if source.stem not in {"__init__", "shim"}
        ],
        build_dir="build/kernels",
        compiler_directives={"language_level": 3, "boundscheck": True, "wraparound": False, "cdivision": True},
        quiet=True,
    )
    for extension in extensions:
        extension.optional = True  # set here, for Cython makes extensions of its own, without it
    return extensions


class StampedBuild(build_py):
    """A wheel carries the stamp inside the package; an editable install asks git each time instead."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            write_stamp(Path(self.build_lib) / "tapir")


class StampedSdist(sdist):
    """A source distribution carries the stamp in its root, where `stamp_of_tree` finds it without git."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        super().make_release_tree(base_dir, files)
        write_stamp(Path(base_dir))


setup(
    # Python's own metadata needs a version by PEP 440, even where there is none to tell.
    version=VERSION or "0.0.0+unknown",
    ext_modules=kernels(),
    cmdclass={"build_py": StampedBuild, "sdist": StampedSdist},
)
