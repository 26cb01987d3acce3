"""The plain export of a list between POPs of ours: JSON Lines, one object a line (docs/list-export.md has the schema).

    {"format":"tapir-list","version":1,"source":"dns-tapir","list_type":"doubtlist","timestamp":"2025-03-01T12:00:00Z"}
    {"name":"bad.example.","time_added":"2025-03-01T11:59:00.5Z","ttl":3607,"tag_mask":17}
    {"end":1}

An entry has the members that it has in an observation. The last line counts the entries, so that half an export is
none; it is read and written in blocks, so that nobody holds a long list as one text.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

import attrs

from tapir.codec.collected import CollectedObservations
from tapir.codec.gojson import FieldError, Fields
from tapir.codec.lines import Lines
from tapir.codec.observations import deadline_of, ttl_of
from tapir.codec.rfc3339 import format_time
from tapir.codec.strictjson import JsonError, load_object
from tapir.model.actions import ListKind
from tapir.model.blocks import ObservationBlock
from tapir.model.errors import TapirError
from tapir.model.names import NameSyntaxError, format_name, parse_name
from tapir.model.tags import MAX_MASK

FORMAT: Final = "tapir-list"
VERSION: Final = 1
MAX_NAMES: Final = 2_000_000
MAX_LINE: Final = 8192

_BLOCK: Final = 1 << 16
_KINDS: Final = {kind.value: kind for kind in ListKind}
_LOWEST, _HIGHEST = -(1 << 63), (1 << 63) - 1


class ListExportError(TapirError):
    """The octets are no whole export; `line` counts from 1, and is None where the end is what is missing."""

    def __init__(self, reason: str, *, line: int | None = None) -> None:
        super().__init__(reason if line is None else f"line {line}: {reason}")
        self.reason = reason
        self.line = line


@attrs.frozen(kw_only=True, eq=False)
class ExportedList:
    """The list `source` as it was at `timestamp`; `refused` counts names that are none, `reason` is of the first."""

    source: str
    kind: ListKind
    timestamp: int
    observations: ObservationBlock
    refused: int = 0
    reason: str | None = None


def encode_export(observations: ObservationBlock, *, source: str, kind: ListKind, timestamp: int) -> Iterator[bytes]:
    """The export of `observations`, in blocks of some 64 KiB; what has ended by `timestamp` is left out."""
    head = {
        "format": FORMAT,
        "version": VERSION,
        "source": source,
        "list_type": kind.value,
        "timestamp": format_time(timestamp),
    }
    block = bytearray(_line(head))
    count = 0
    for name, mask, observed, deadline in observations:
        if deadline <= timestamp:
            continue
        count += 1
        block += _line(
            {
                "name": format_name(name),
                "time_added": format_time(observed),
                "ttl": ttl_of(observed, deadline),
                "tag_mask": mask,
            }
        )
        if len(block) >= _BLOCK:
            yield bytes(block)
            block.clear()
    yield bytes(block) + _line({"end": count})


def parse_export(data: bytes | Iterable[bytes], *, max_names: int = MAX_NAMES) -> ExportedList:
    """The list of an export, whole or in blocks of any size; of a name that is there twice, what was observed last.

    Members that are unknown are passed over. Raises ListExportError, and nothing else whatever the octets; an error of
    the iterable passes through.
    """
    lines = iter(Lines(data, longest=MAX_LINE))
    head = next(lines, None)
    if head is None:
        raise ListExportError("it is empty")
    try:
        found = _Collected(_fields(head[1]), max_names)
    except (FieldError, JsonError) as exc:
        raise ListExportError(str(exc), line=head[0]) from None
    for number, line in lines:
        try:
            fields = _fields(line)
            if fields.has("end"):
                found.end(fields)
                break
            found.add(fields)
        except (FieldError, JsonError) as exc:
            raise ListExportError(str(exc), line=number) from None
    else:
        raise ListExportError("it ends before the line that says so")
    behind = next(lines, None)
    if behind is not None:
        raise ListExportError("there is something behind the end", line=behind[0])
    return found.done()


class _Collected:
    """The list as far as it was read."""

    def __init__(self, head: Fields, max_names: int) -> None:
        if head.text("format") != FORMAT:
            raise FieldError(f"`format` is not {FORMAT}")
        if head.integer("version", _LOWEST, _HIGHEST) != VERSION:
            raise FieldError(f"`version` is not {VERSION}")
        kind = _KINDS.get(head.text("list_type"))
        if kind is None:
            raise FieldError(f"`list_type` is none of {', '.join(_KINDS)}")
        self._kind = kind
        self._source = head.text("source")
        self._timestamp = head.time("timestamp")
        self._max_names = max_names
        self._found = CollectedObservations()
        self._count = 0
        self._refused = 0
        self._reason: str | None = None

    def add(self, fields: Fields) -> None:
        if self._count == self._max_names:
            raise FieldError(f"it has more than {self._max_names} names")
        self._count += 1
        text = fields.text("name")
        observed = fields.time("time_added")
        ttl = fields.integer("ttl", _LOWEST, _HIGHEST)
        mask = fields.integer("tag_mask", 0, MAX_MASK)
        try:
            name = parse_name(text)
        except NameSyntaxError as exc:
            self._refused += 1
            self._reason = self._reason or exc.reason
            return
        self._found.add(name, mask, observed, deadline_of(observed, ttl))

    def end(self, fields: Fields) -> None:
        if fields.integer("end", 0, _HIGHEST) != self._count:
            raise FieldError(f"`end` does not count {self._count} entries")

    def done(self) -> ExportedList:
        return ExportedList(
            source=self._source,
            kind=self._kind,
            timestamp=self._timestamp,
            observations=self._found.done(),
            refused=self._refused,
            reason=self._reason,
        )


def _fields(line: bytes | None) -> Fields:
    if line is None:
        raise JsonError(f"it has more than {MAX_LINE} octets")
    return Fields(load_object(line))


def _line(members: dict[str, Any]) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode() + b"\n"
