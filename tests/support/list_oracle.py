"""What the list kernels replaced, name by name in plain Python: the oracle that they are held to.

It shares with them what an entry is (`parse_entry`), which both ask for what is not plain.
"""

import re
from array import array
from collections.abc import Callable, Iterator
from typing import Final

from publicsuffixlist import PublicSuffixList

from tapir.codec.csvlist import MAX_RECORD, _find_column
from tapir.codec.lists import MALFORMED, MAX_LINE, ParsedList, RefusalTally, merge_refusals, parse_entry
from tapir.model.actions import ListKind
from tapir.model.blocks import ListBlock, NameBlock
from tapir.model.names import MAX_NAME, ROOT, Name, NameSyntaxError, is_wildcard, parent_of, parse_name, split_labels
from tapir.policy.admission import RPZ_TRIGGER, TOO_BROAD, TOO_LONG, Admitted, content_digest

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_SINKS: Final = frozenset(
    {b"0.0.0.0", b"127.0.0.1", b"::", b"::1", b"0", b"::0", b"0:0:0:0:0:0:0:0", b"0:0:0:0:0:0:0:1"}
)
_QUOTE: Final = b'"'
_FIELD: Final = re.compile(rb'(?:"((?:[^"]++|"")*+)"|([^",]*+))(,|\Z)')
_TRIGGERS: Final = frozenset({b"rpz-ip", b"rpz-client-ip", b"rpz-nsip", b"rpz-nsdname"})


def parse_domains(data: bytes, *, subtree: bool = False) -> ParsedList:
    """As `tapir.codec.lists.parse_domains`."""
    names: list[Name] = []
    lines = array("I")
    tally = RefusalTally()
    for number, line in _numbered_lines(data, longest=MAX_LINE):
        words = _words(line)
        if words is None:
            tally.add(MALFORMED, number)
            continue
        for word in words:
            try:
                entry = parse_entry(word.decode(), subtree=subtree)
            except (NameSyntaxError, UnicodeDecodeError):
                tally.add(MALFORMED, number)
                continue
            names += entry
            lines.extend([number] * len(entry))
    return ParsedList(names=NameBlock.of(names), lines=lines.tobytes(), refusals=tally.refusals())


def parse_csv(data: bytes, *, column: str | None = None, subtree: bool = False) -> ParsedList:
    """As `tapir.codec.csvlist.parse_csv`, for a list that has a header."""
    records = _records(_numbered_lines(data, longest=MAX_RECORD))
    width, position = _find_column(next(records)[1], column)
    names: list[Name] = []
    lines = array("I")
    tally = RefusalTally()
    for number, fields in records:
        try:
            if fields is None or len(fields) != width:
                tally.add(MALFORMED, number)
                continue
            entry = parse_entry(fields[position].strip().decode(), subtree=subtree)
        except (NameSyntaxError, UnicodeDecodeError):
            tally.add(MALFORMED, number)
            continue
        names += entry
        lines.extend([number] * len(entry))
    return ParsedList(names=NameBlock.of(names), lines=lines.tobytes(), refusals=tally.refusals())


def _numbered_lines(data: bytes, *, longest: int) -> Iterator[tuple[int, bytes | None]]:
    lines = data.removeprefix(_BYTE_ORDER_MARK).split(b"\n")
    if not lines[-1]:
        lines.pop()
    for number, line in enumerate(lines, 1):
        yield number, None if len(line) > longest else line


def _words(line: bytes | None) -> list[bytes] | None:
    """The words of `line` that should be entries; none for a comment, None when it is no line of a list."""
    if line is None:
        return None
    words = line.split()
    if len(words) > 1:
        for position, word in enumerate(words):
            if word[0] in b"#;":
                del words[position:]
                break
        if len(words) > 1:
            return words[1:] if words[0] in _SINKS else None
    elif words and words[0][0] in b"#;":
        return []
    return words


def _records(lines: Iterator[tuple[int, bytes | None]]) -> Iterator[tuple[int, list[bytes] | None]]:
    """Each record with its first line; after a broken one the reading goes on at the next line."""
    known = list(lines)
    position = 0
    while position < len(known):
        number, line = known[position]
        position += 1
        if line is None:
            yield number, None
            continue
        line = line.removesuffix(b"\r")
        if _QUOTE not in line:
            if line:
                yield number, line.split(b",")
            continue
        parts = [line]
        size = len(line)
        odd = line.count(_QUOTE) % 2 == 1
        end = position
        while odd and end < len(known):
            more = known[end][1]
            if more is None or size + 1 + len(more) > MAX_RECORD:
                break
            end += 1
            size += 1 + len(more)
            parts.append(more.removesuffix(b"\r"))
            odd = more.count(_QUOTE) % 2 == 0
        fields = None if odd else _split(b"\n".join(parts))
        if fields is not None:
            position = end
        yield number, fields


def _split(record: bytes) -> list[bytes] | None:
    """The fields of a record, without their quotes; None when a quote stands where none may."""
    fields: list[bytes] = []
    position = 0
    while match := _FIELD.match(record, position):
        quoted, plain, comma = match.groups()
        fields.append(plain if quoted is None else quoted.replace(b'""', _QUOTE))
        if not comma:
            return fields
        position = match.end()
    return None


def suffix_test(text: str) -> Callable[[Name], bool]:
    """Whether a name is a public suffix, as the library says of names near which there are rules."""
    suffixes = PublicSuffixList(text, accept_unknown=True)
    named, wild = _rule_names(text)

    def is_public_suffix(name: Name) -> bool:
        # Asked of others, the library mistakes a dot inside a label for one between labels.
        parent = parent_of(name)
        if name in named or parent in wild:
            return bool(suffixes.is_public(tuple(split_labels(name))))
        return parent == ROOT and name != ROOT

    return is_public_suffix


def _rule_names(text: str) -> tuple[set[Name], set[Name]]:
    named: set[Name] = set()
    wild: set[Name] = set()
    for line in text.splitlines():
        rule = line.split(maxsplit=1)[0] if line.strip() else "//"
        if not rule.startswith("//"):
            named.add(parse_name(rule.removeprefix("!").removeprefix("*.")))
            if rule.startswith("*."):
                wild.add(parse_name(rule.removeprefix("*.")))
    return named, wild


def admit(
    parsed: ParsedList, *, kind: ListKind, zone: Name, is_public_suffix: Callable[[Name], bool], broad: bool = False
) -> Admitted:
    """As `tapir.policy.admission.admit`."""
    tally = RefusalTally()
    kept: set[Name] = set()
    guarded = is_public_suffix if kind is not ListKind.ALLOW and not broad else None
    for name, line in zip(parsed.names, memoryview(parsed.lines).cast("I"), strict=True):
        reason = _refusal(name, MAX_NAME - len(zone) + 1, guarded)
        if reason is None:
            kept.add(name)
        else:
            tally.add(reason, line)
    content = ListBlock(names=NameBlock.of(sorted(kept)))
    refusals = merge_refusals(parsed.refusals, tally.refusals())
    return Admitted(content=content, refusals=refusals, digest=content_digest(content))


def _refusal(name: Name, longest: int, is_public_suffix: Callable[[Name], bool] | None) -> str | None:
    if len(name) > longest:
        return TOO_LONG
    base = parent_of(name) if is_wildcard(name) else name
    if base == ROOT:
        return TOO_BROAD
    labels = split_labels(base)
    if b"*" in labels:
        return MALFORMED
    if labels[-1] in _TRIGGERS:
        return RPZ_TRIGGER
    if is_public_suffix is not None and (len(labels) == 1 or is_public_suffix(base)):
        return TOO_BROAD
    return None
