"""Domain names as lower-case wire form (RFC 1035 §3.1); escaped text only at the outside.

A name inside tapir is `bytes`: labels with their length octets, lower case, ending in the root's zero
octet. Wire form needs no escapes, compares and hashes as fast as any `bytes`, and is what a zone holds.
"""

from typing import Final, NewType

import idna

from tapir.model.errors import TapirError

Name = NewType("Name", bytes)
"""A domain name in lower-case, uncompressed wire form, at most 255 octets."""

ROOT: Final = Name(b"\0")
MAX_NAME: Final = 255
MAX_LABEL: Final = 63

MAX_TEXT: Final = 4 * MAX_NAME
"""No name needs more characters than this: every octet as an escape of four."""

# What may stand unescaped in text: what hostnames and service names are made of. Anything else in a list
# is far more often a URL, a pattern or a slip than a name, so it must be escaped to be meant.
_PLAIN: Final = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_")
_PLAIN_TEXT: Final = bytes(_PLAIN) + b"."
_LENGTHS: Final = tuple(bytes((length,)) for length in range(MAX_LABEL + 1))
_DOT, _BACKSLASH = b".\\"


class NameSyntaxError(TapirError):
    """The text is not a domain name."""

    def __init__(self, *, text: str, reason: str) -> None:
        shown = text if len(text) <= 80 else text[:77] + "..."
        super().__init__(f"{shown!r} is not a domain name: {reason}")
        self.reason = reason


def parse_name(text: str) -> Name:
    r"""The name that `text` spells, as lower-case wire form.

    The trailing dot is optional, `\.` and `\DDD` are escapes (RFC 1035 §5.1), U-labels become A-labels
    (IDNA 2008 with UTS #46 mapping). A leading `*` label is taken as is (RFC 4592). `.` is the root.
    Raises NameSyntaxError, and nothing else whatever the text.
    """
    if text == ".":
        return ROOT
    if len(text) > MAX_TEXT:
        raise NameSyntaxError(text=text, reason=f"it has {len(text)} characters")
    octets = (text if text.isascii() else _to_ascii(text)).encode("ascii").lower()
    labels = _escaped_labels(text, octets) if b"\\" in octets else _plain_labels(text, octets)
    if not labels or b"" in labels:
        raise NameSyntaxError(text=text, reason="it has an empty label" if labels else "it is empty")
    try:
        wire = b"".join([_LENGTHS[len(label)] + label for label in labels]) + ROOT
    except IndexError:
        longest = max(map(len, labels))
        raise NameSyntaxError(text=text, reason=f"a label has {longest} octets, {MAX_LABEL} are allowed") from None
    if len(wire) > MAX_NAME:
        raise NameSyntaxError(text=text, reason=f"it has {len(wire)} octets, {MAX_NAME} are allowed")
    return Name(wire)


def _plain_labels(text: str, octets: bytes) -> list[bytes]:
    labels = octets.split(b".")
    if not labels[-1]:
        labels.pop()
    unwanted = octets.translate(None, _PLAIN_TEXT)
    if unwanted and not (unwanted == b"*" and labels[0] == b"*"):
        raise NameSyntaxError(text=text, reason=f"it has the character {chr(unwanted[0])!r}")
    return labels


def _escaped_labels(text: str, octets: bytes) -> list[bytes]:
    labels: list[bytes] = []
    label = bytearray()
    position = 0
    if octets.startswith(b"*."):
        labels.append(b"*")
        position = 2
    while position < len(octets):
        octet = octets[position]
        position += 1
        if octet == _DOT:
            labels.append(bytes(label))
            label.clear()
        elif octet == _BACKSLASH:
            value, width = _unescape(text, octets[position : position + 3])
            label.append(value)
            position += width
        elif octet in _PLAIN:
            label.append(octet)
        else:
            raise NameSyntaxError(text=text, reason=f"it has the character {chr(octet)!r}")
    if label:
        labels.append(bytes(label))
    return [label.lower() for label in labels]  # again: an escape may have spelt a capital


def _unescape(text: str, following: bytes) -> tuple[int, int]:
    """The octet that an escape stands for, and how many of the octets after the backslash spell it."""
    if following and not 0x30 <= following[0] <= 0x39:
        return following[0], 1
    if len(following) == 3 and following.isdigit() and int(following) <= 0xFF:
        return int(following), 3
    raise NameSyntaxError(text=text, reason="an escape is not \\X or \\DDD with DDD up to 255")


def _to_ascii(text: str) -> str:
    """`text` with its U-labels as A-labels; its ASCII labels (`*`, `_dmarc`, escapes) stay as they are."""
    try:
        mapped = idna.uts46_remap(text, std3_rules=False)
        return ".".join(label if label.isascii() else idna.alabel(label).decode("ascii") for label in mapped.split("."))
    except (idna.IDNAError, UnicodeError) as exc:
        raise NameSyntaxError(text=text, reason=f"IDNA: {exc}") from exc


def format_name(name: Name) -> str:
    """`name` as text with the trailing dot; octets outside the plain set are escaped (RFC 1035 §5.1)."""
    if name == ROOT:
        return "."
    return "".join(_format_label(label, position) + "." for position, label in enumerate(split_labels(name)))


def _format_label(label: bytes, position: int) -> str:
    if _PLAIN.issuperset(label) or (position == 0 and label == b"*"):
        return label.decode("ascii")
    out: list[str] = []
    for octet in label:
        if octet in _PLAIN:
            out.append(chr(octet))
        elif 0x21 <= octet <= 0x7E and not 0x30 <= octet <= 0x39:
            out.append("\\" + chr(octet))
        else:
            out.append(f"\\{octet:03d}")
    return "".join(out)


def split_labels(name: Name) -> list[bytes]:
    """The labels of `name`, leftmost first, without the root's."""
    labels: list[bytes] = []
    position = 0
    while length := name[position]:
        labels.append(name[position + 1 : position + 1 + length])
        position += 1 + length
    return labels


def parent_of(name: Name) -> Name:
    """`name` without its first label; the root's parent is the root."""
    return Name(name[1 + name[0] :]) if name[0] else name


def is_wildcard(name: Name) -> bool:
    """Whether the first label is `*` alone (RFC 4592 §2.1.1)."""
    return name[:2] == b"\x01*"


def is_below(name: Name, ancestor: Name) -> bool:
    """Whether `name` lies strictly below `ancestor`, at a label boundary."""
    while name[0]:
        name = parent_of(name)
        if len(name) <= len(ancestor):
            return name == ancestor
    return False


def canonical_key(name: Name) -> tuple[bytes, ...]:
    """A sort key for canonical order (RFC 4034 §6.1): by labels from the right."""
    return tuple(reversed(split_labels(name)))
