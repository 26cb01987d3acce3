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

# What may stand unescaped in text: what hostnames and service names are made of. Anything else in a list
# is far more often a URL, a pattern or a slip than a name, so it must be escaped to be meant.
_PLAIN: Final = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_")


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
    Raises NameSyntaxError.
    """
    if text == ".":
        return ROOT
    if not text:
        raise NameSyntaxError(text=text, reason="it is empty")
    if not text.isascii():
        text = _to_ascii(text)
    labels = _plain_labels(text) if "\\" not in text else _escaped_labels(text)
    wire = bytearray()
    for position, label in enumerate(labels):
        if not label:
            raise NameSyntaxError(text=text, reason="it has an empty label")
        if len(label) > MAX_LABEL:
            raise NameSyntaxError(text=text, reason=f"a label has {len(label)} octets, {MAX_LABEL} are allowed")
        if "\\" not in text and not _PLAIN.issuperset(label) and not (position == 0 and label == b"*"):
            unwanted = next(octet for octet in label if octet not in _PLAIN)
            raise NameSyntaxError(text=text, reason=f"it has the character {chr(unwanted)!r}")
        wire.append(len(label))
        wire += label
    wire.append(0)
    if len(wire) > MAX_NAME:
        raise NameSyntaxError(text=text, reason=f"it has {len(wire)} octets, {MAX_NAME} are allowed")
    return Name(bytes(wire))


def _plain_labels(text: str) -> list[bytes]:
    labels = text.encode("ascii").lower().split(b".")
    if labels[-1] == b"":
        labels.pop()
    return labels


def _escaped_labels(text: str) -> list[bytes]:
    labels: list[bytes] = []
    label = bytearray()
    octets = iter(text.encode("ascii"))
    ended = False
    for octet in octets:
        ended = False
        if octet == 0x2E:
            labels.append(bytes(label).lower())
            label.clear()
            ended = True
        elif octet == 0x5C:
            label.append(_unescape(text, octets))
        elif octet | 0x20 in _PLAIN or octet in _PLAIN or (octet == 0x2A and not labels and not label):
            label.append(octet)
        else:
            raise NameSyntaxError(text=text, reason=f"it has the character {chr(octet)!r}")
    if not ended:
        labels.append(bytes(label).lower())
    return labels


def _unescape(text: str, octets: "object") -> int:
    digits: list[int] = []
    for octet in octets:  # type: ignore[attr-defined]
        if not 0x30 <= octet <= 0x39:
            if digits:
                break
            return int(octet)
        digits.append(octet - 0x30)
        if len(digits) == 3:
            value = digits[0] * 100 + digits[1] * 10 + digits[2]
            if value > 255:
                break
            return value
    raise NameSyntaxError(text=text, reason="an escape is not \\X or \\DDD with DDD up to 255")


def _to_ascii(text: str) -> str:
    try:
        return idna.encode(text, uts46=True).decode("ascii")
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
