"""The four files as one tree of plain values that remembers the line of each key.

The reference implementation merges its files in a fixed order into one tree, later files winning, with keys in any
case; only `sources` and `outputs` are read from their own file alone. So do we. Scalars are read as YAML 1.2's core
schema has them, without octal and hexadecimal numbers: `no` is a string here, and a bool only where a bool is wanted.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs
import yaml

from tapir.app.config.problems import KeyPath, Place

MAIN: Final = "dnstapir-pop.yaml"
SOURCES: Final = "pop-sources.yaml"
OUTPUTS: Final = "pop-outputs.yaml"
POLICY: Final = "pop-policy.yaml"
FILES: Final = (MAIN, SOURCES, OUTPUTS, POLICY)
"""In the order in which they are merged."""

_HOME: Final = {"sources": SOURCES, "src": SOURCES, "outputs": OUTPUTS, "policy": POLICY}
_ALONE: Final = frozenset({"sources", "outputs"})
"""Sections that count in their own file only; their keys are ids, kept as spelled."""

_TAG: Final = "tag:yaml.org,2002:"
_MOST_NODES: Final = 100_000


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  # as the base class has it


for _kind, _pattern, _first in (
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^[-+]?(?:0|[1-9][0-9]{0,17})$", list("-+0123456789")),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)$", list("-+.0123456789")),
    ("merge", r"^<<$", ["<"]),
):
    _Loader.add_implicit_resolver(_TAG + _kind, re.compile(_pattern), _first)


@attrs.frozen
class Trouble:
    """Something in the text of a file; `fatal` when it must be mended."""

    place: Place
    path: KeyPath
    text: str
    fatal: bool


@attrs.define
class Document:
    """Plain values (`dict`, `list`, `str`, `int`, `float`, `bool`, `None`) and the place of every key."""

    folder: Path
    values: dict[str, object] = attrs.field(factory=dict)
    places: dict[KeyPath, Place] = attrs.field(factory=dict)
    troubles: list[Trouble] = attrs.field(factory=list)
    unread: set[Path] = attrs.field(factory=set)
    """files that say nothing, because they could not be read at all"""

    def place_of(self, path: KeyPath) -> Place:
        """Where `path` stands; of what is missing, where the section stands that should have it."""
        for length in range(len(path), 0, -1):
            if place := self.places.get(path[:length]):
                return place
        return Place(self.folder / _HOME.get(str(path[0]) if path else "", MAIN), 1)

    def rank_of(self, file: Path) -> int:
        """The position of `file` among the four."""
        return FILES.index(file.name)

    def __contains__(self, path: KeyPath) -> bool:
        return path in self.places

    def remove(self, path: KeyPath) -> None:
        """Forget the value at `path`, not its place."""
        *above, last = path
        container: object = self.values
        for step in above:
            container = container[step]  # type: ignore[index]
        if isinstance(container, list) and isinstance(last, int):
            container[last] = None
        elif isinstance(container, dict):
            container.pop(last, None)

    def _merge(self, read: "_Reading") -> None:
        for key in list(read.values):
            if key in _ALONE and read.file.name != _HOME[str(key)]:
                text = f"ignored here: {key} are read from {_HOME[str(key)]} only"
                self.troubles.append(Trouble(read.places[(key,)], (key,), text, fatal=False))
                del read.values[key]
                read.places = {path: place for path, place in read.places.items() if path[0] != key}
        _merge_into(self.values, read.values, (), self, read)
        self.places.update(read.places)
        self.troubles += read.troubles
        if read.failed:
            self.unread.add(read.file)


def _merge_into(
    values: dict[str, object], more: dict[str, object], path: KeyPath, document: Document, read: "_Reading"
) -> None:
    for key, value in more.items():
        here = (*path, key)
        old = values.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            _merge_into(old, value, here, document, read)
            continue
        if old is not None and value is not None:
            text = f"ignored: {read.places[here]} sets it too, and counts"
            document.troubles.append(Trouble(document.places[here], here, text, fatal=False))
        if key not in values or value is not None:
            values[key] = value


def read_document(folder: Path) -> Document:
    """The four files of `folder`, merged; what is wrong with their text is in `troubles`."""
    document = Document(folder)
    for name in FILES:
        file = folder / name
        read = _Reading(file)
        read.run()
        document._merge(read)
    return document


class _Refused(Exception):
    """The file cannot be read as what we take for YAML."""

    def __init__(self, line: int, text: str, path: KeyPath = ()) -> None:
        super().__init__(text)
        self.trouble = (line, path, text)


class _Reading:
    """One file on its way from text to plain values."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.values: dict[str, object] = {}
        self.places: dict[KeyPath, Place] = {}
        self.troubles: list[Trouble] = []
        self.failed = False
        self._open: list[yaml.Node] = []
        self._nodes = 0

    def run(self) -> None:
        """Read the file; afterwards it is in `values` and `places`, or `failed` is true and `troubles` says why."""
        try:
            self._run()
        except _Refused as exc:
            self._fail(*exc.trouble)
        except OSError as exc:
            self._fail(0, (), _file_error(exc))
        except UnicodeDecodeError as exc:
            self._fail(1 + exc.object[: exc.start].count(b"\n"), (), "not UTF-8")
        except RecursionError:
            self._fail(1, (), "not a configuration: it is nested too deeply")

    def _fail(self, line: int, path: KeyPath, text: str) -> None:
        self._fault(line, path, text)
        self.failed = True
        self.values.clear()
        self.places.clear()

    def _fault(self, line: int, path: KeyPath, text: str) -> None:
        self.troubles.append(Trouble(Place(self.file, line), path, text, fatal=True))

    def _run(self) -> None:
        text = self.file.read_bytes().decode("utf-8-sig")
        try:
            node = yaml.compose(text, Loader=_Loader)
        except yaml.MarkedYAMLError as exc:
            raise _Refused(*_syntax_error(exc, text)) from exc
        except yaml.reader.ReaderError as exc:
            raise _Refused(1 + text[: exc.position].count("\n"), f"not YAML: {exc.reason}") from exc
        if node is None or node.tag == _TAG + "null":
            return
        if not isinstance(node, yaml.MappingNode):
            raise _Refused(1, "a file holds `key: value` lines, and this one something else")
        self.values = self._mapping(node, ())

    def _value(self, node: yaml.Node, path: KeyPath) -> object:
        self._nodes += 1
        line = node.start_mark.line + 1
        if self._nodes > _MOST_NODES:
            raise _Refused(line, f"more than {_MOST_NODES} values; aliases multiply what they name", path)
        if any(node is other for other in self._open):
            raise _Refused(line, "this alias is inside of what it names", path)
        self._open.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode):
                return [self._item(item, (*path, index)) for index, item in enumerate(node.value)]
            return self._scalar(node, path)
        finally:
            self._open.pop()

    def _item(self, node: yaml.Node, path: KeyPath) -> object:
        self.places[path] = Place(self.file, node.start_mark.line + 1)
        return self._value(node, path)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, object]:
        values: dict[str, object] = {}
        spelled: dict[str, int] = {}
        for key_node, value_node in _entries(node):
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self._fault(line, path, "a key is a word, not a list or a section")
                continue
            folded = key_node.value.lower()
            key = key_node.value if path and path[0] in _ALONE and len(path) == 1 else folded
            if folded in spelled:
                self._fault(line, (*path, key), f"given twice, first in line {spelled[folded]}; a key is given once")
                continue
            spelled[folded] = line
            self.places[(*path, key)] = Place(self.file, line)
            values[key] = self._value(value_node, (*path, key))
        return values

    def _scalar(self, node: yaml.Node, path: KeyPath) -> object:
        text: str = node.value
        match node.tag.removeprefix(_TAG):
            case "str" | "merge" | "timestamp":
                return text
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int" if text.lstrip("+-").isdecimal():
                return int(text)
            case "float" if text.lstrip("+-").replace(".", "", 1).isdecimal():
                return float(text)
            case tag:
                raise _Refused(node.start_mark.line + 1, f"the YAML tag {tag!r} is not used here", path)


def _entries(node: yaml.MappingNode) -> Iterator[tuple[yaml.Node, yaml.Node]]:
    """The entries of `node`, then those that `<<` merges into it and that it does not have itself."""
    own = [entry for entry in node.value if entry[0].tag != _TAG + "merge"]
    yield from own
    seen = {key.value.lower() for key, _ in own if isinstance(key, yaml.ScalarNode)}
    for key, value in node.value:
        if key.tag != _TAG + "merge":
            continue
        for base in value.value if isinstance(value, yaml.SequenceNode) else [value]:
            if not isinstance(base, yaml.MappingNode):
                raise _Refused(key.start_mark.line + 1, "`<<` merges sections, and this is none")
            for inherited, content in base.value:
                if isinstance(inherited, yaml.ScalarNode) and inherited.value.lower() not in seen:
                    seen.add(inherited.value.lower())
                    yield inherited, content


def _syntax_error(exc: yaml.MarkedYAMLError, text: str) -> tuple[int, str]:
    mark = exc.problem_mark or exc.context_mark
    line = mark.line + 1 if mark else 1
    said = ", ".join(filter(None, (exc.context, exc.problem)))
    if exc.context_mark and exc.context_mark.line + 1 != line:
        said += f" (it began in line {exc.context_mark.line + 1})"
    # Enrolment leaves these where only the operator knows the value, and one of them hides a closing bracket.
    marked = [number for number, row in enumerate(text.splitlines(), 1) if "### EDIT" in row]
    if marked:
        said += f"; line {marked[0]} still has the mark `### EDIT`: put the value there and take the mark away"
    return line, f"not YAML: {said}"


def _file_error(exc: OSError) -> str:
    if isinstance(exc, FileNotFoundError):
        return "there is no such file; it must exist, and may be empty where nothing in it is needed"
    return f"cannot be read: {exc.strerror}"
