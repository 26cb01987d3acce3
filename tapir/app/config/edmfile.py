"""A TOML file of EDM: its values, and the lines they stand on, which the parser does not tell."""

import re
import tomllib
from pathlib import Path
from typing import Any, Final

import attrs

from tapir.app.config.problems import Fault, Place

_LARGEST: Final = 1 << 20


@attrs.frozen(kw_only=True)
class TomlFile:
    """What a file says, or why it cannot be read. Values may be secrets: they are in no `repr`."""

    path: Path
    values: dict[str, Any] = attrs.field(repr=False, factory=dict)
    fault: Fault | None = None
    _text: str = attrs.field(repr=False, default="")

    def place_of(self, key: str) -> Place:
        """Where `key` is given; the file as such when it is not."""
        name = re.escape(key)
        pattern = rf"""^[ \t]*\[{{0,2}}[ \t]*(?:{name}|"{name}"|'{name}')[ \t]*[.=\]]"""
        match = re.search(pattern, self._text, re.MULTILINE)
        return Place(self.path, self._text.count("\n", 0, match.start()) + 1 if match else 0)


def read_toml_file(path: Path, *, needed: bool) -> TomlFile:
    """The file at `path`; one that is not there is empty unless it is `needed`. Blocks as long as the file does."""
    try:
        with path.open("rb") as file:
            octets = file.read(_LARGEST + 1)
    except FileNotFoundError:
        return _broken(path, "there is no such file") if needed else TomlFile(path=path)
    except (OSError, ValueError) as exc:
        return _broken(path, f"cannot be read: {exc.strerror if isinstance(exc, OSError) else 'it is no path'}")
    if len(octets) > _LARGEST:
        return _broken(path, f"is too large; allowed are {_LARGEST} octets")
    try:
        text = octets.decode().replace("\r\n", "\n")
    except UnicodeDecodeError as exc:
        return _broken(path, "is not UTF-8", line=octets.count(b"\n", 0, exc.start) + 1)
    try:
        return TomlFile(path=path, values=tomllib.loads(text), text=text)
    except (tomllib.TOMLDecodeError, RecursionError) as exc:
        found = re.search(r"\(at line (\d+), column (\d+)\)", str(exc))
        if found is None:
            return _broken(path, "is not TOML to its end")
        # What the parser says may repeat what stands there, and that may be the key of all pseudonyms.
        return _broken(path, f"is not TOML from column {found[2]} on: {_reason(exc)}", line=int(found[1]))


def _reason(exc: Exception) -> str:
    said = str(exc)
    for words in ("Cannot overwrite a value", "Unclosed array", "Invalid value", "Expected '=' after a key"):
        if said.startswith(words):
            return "a key is given twice" if words.startswith("Cannot") else words.lower()
    return "it does not belong there"


def _broken(path: Path, text: str, *, line: int = 0) -> TomlFile:
    return TomlFile(path=path, fault=Fault(place=Place(path, line), key="", text=text))
