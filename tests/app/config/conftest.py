"""A configuration folder that is right, to be made wrong in one place."""

from collections.abc import Callable
from pathlib import Path

import pytest

MAIN = """\
services:
  rpz:
    zonename: rpz.pop.example.
dnsengine:
  addresses: ["127.0.0.1:5359"]
"""
SOURCES = "sources: {}\n"
OUTPUTS = "outputs: {}\n"
POLICY = """\
policy:
  denylist: { action: nxdomain }
  doubtlist:
    numsources: { limit: 2, action: nxdomain }
    numtapirtags: { limit: 3, action: nxdomain }
    denytapir: { tags: [], action: drop }
"""

FILES = {
    "dnstapir-pop.yaml": MAIN,
    "pop-sources.yaml": SOURCES,
    "pop-outputs.yaml": OUTPUTS,
    "pop-policy.yaml": POLICY,
}


@pytest.fixture
def write_config(tmp_path: Path) -> Callable[..., Path]:
    """Writes the smallest configuration that loads, with the text of some files replaced; returns the folder.

    `main`, `sources`, `outputs` and `policy` are texts; `more` is put below the smallest main file; None is no file.
    """

    def write(*, more: str = "", **texts: str | None) -> Path:
        folder = tmp_path / "config"
        folder.mkdir(exist_ok=True)
        for name, smallest in FILES.items():
            key = name.removeprefix("dnstapir-").removeprefix("pop-").removesuffix(".yaml")
            text = texts.pop("main" if key == "pop" else key, smallest)
            if text is not None:
                (folder / name).write_text(text + (more if key == "pop" else ""))
        assert not texts
        return folder

    return write


@pytest.fixture
def source_text() -> Callable[..., str]:
    """The text of a sources file with one file source, `x`, whose keys can be replaced or, by None, left out."""

    def make(**keys: object) -> str:
        lines = {
            "active": "true",
            "name": "names",
            "type": "denylist",
            "source": "file",
            "format": "domains",
            "filename": "names.txt",
        }
        lines.update({key.replace("_", "-"): value for key, value in keys.items()})  # type: ignore[misc]
        entry = "".join(f"    {key}: {value}\n" for key, value in lines.items() if value is not None)
        return f"sources:\n  x:\n{entry}"

    return make
