r"""Events for names that were never seen before (edm.md §9.2): JSON as the existing EDM writes it, and where it goes.

    {"flags":33152,"qclass":1,"qname":"Example.COM.","qtype":28,"timestamp":"2026-05-28T12:13:00Z","type":"new_qname",
    "version":0}

in one line. The name is in the case it was sent in, escaped as the field's tools in Go do it, and once more as Go's
JSON is: a space in it is `\\ `, a zero octet `\\000`, `<` is `\u003c`. Nothing in it is of a client; the time is that
of the minute.
"""

from collections.abc import Iterable
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from tapir.codec.columns import joined, offsets_of, taken
from tapir.codec.jose.keys import SigningKey
from tapir.codec.jose.signing import sign_flattened
from tapir.codec.rfc3339 import LAST, format_time
from tapir.model.blocks import NameBlock

TYPE: Final = "new_qname"

_MINUTE: Final = 60_000_000
# What stands behind a backslash in a name's text, as miekg/dns has it; dots only within a label.
_ESCAPED: Final = frozenset(b" '@;().\"\\")
_UNSAFE_IN_HTML: Final = frozenset(b"<>&")


def _spelling(octet: int) -> bytes:
    """How an octet of a label is written within a string of Go's JSON."""
    if not 0x20 <= octet <= 0x7E:
        return b"\\\\%03d" % octet
    if octet in _UNSAFE_IN_HTML:
        return b"\\u%04x" % octet
    text = bytes((octet,))
    if octet in b'"\\':
        text = b"\\" + text
    return b"\\\\" + text if octet in _ESCAPED else text


_SPELLINGS: Final = tuple(map(_spelling, range(256)))
_PLAIN: Final = bytes([octet for octet in range(256) if len(_SPELLINGS[octet]) == 1])


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Sightings:
    """Responses that asked for names, a row each: what an event says, and the hash that the name is known by.

    Times are microseconds since the epoch, 0 for none; names are in wire form, as they were sent.
    """

    names: NameBlock
    flags: NDArray[np.uint16]
    qtype: NDArray[np.uint16]
    qclass: NDArray[np.uint16]
    time: NDArray[np.int64]
    name_hash: NDArray[np.uint64]
    """of the name in lower case, as its block was decoded: of use within this process only"""

    def __len__(self) -> int:
        return len(self.flags)

    def __repr__(self) -> str:
        return f"<Sightings: {len(self)} rows>"

    def rows(self, numbers: NDArray[np.uint32]) -> "Sightings":
        """These rows, in this order."""
        return Sightings(
            names=taken(self.names, numbers),
            flags=self.flags[numbers],
            qtype=self.qtype[numbers],
            qclass=self.qclass[numbers],
            time=self.time[numbers],
            name_hash=self.name_hash[numbers],
        )


def join_sightings(parts: Iterable[Sightings]) -> Sightings:
    """All rows, those of one after those of the other; of nothing, none."""
    collected = list(parts)
    if len(collected) == 1:
        return collected[0]
    return Sightings(
        names=joined([part.names for part in collected]),
        flags=np.concatenate([np.empty(0, np.uint16), *(part.flags for part in collected)]),
        qtype=np.concatenate([np.empty(0, np.uint16), *(part.qtype for part in collected)]),
        qclass=np.concatenate([np.empty(0, np.uint16), *(part.qclass for part in collected)]),
        time=np.concatenate([np.empty(0, np.int64), *(part.time for part in collected)]),
        name_hash=np.concatenate([np.empty(0, np.uint64), *(part.name_hash for part in collected)]),
    )


def encode_events(sightings: Sightings) -> list[bytes]:
    """The event of each row, in JSON, unsigned; some 2 µs for each."""
    stamps: dict[int, bytes] = {}
    minutes = (sightings.time // _MINUTE).tolist()
    for minute in set(minutes):
        # A year that RFC 3339 has no digits for is no usable time: the existing EDM would fail to say it.
        time = minute * _MINUTE if 0 <= minute * _MINUTE <= LAST else 0
        stamps[minute] = format_time(time).encode()
    data = bytes(sightings.names.data)
    offsets = offsets_of(sightings.names).tolist()
    columns = zip(
        sightings.flags.tolist(), sightings.qclass.tolist(), sightings.qtype.tolist(), minutes, offsets, strict=False
    )
    return [
        b'{"flags":%d,"qclass":%d,"qname":"%b","qtype":%d,"timestamp":"%b","type":"new_qname","version":0}'
        % (flags, qclass, _text(data, at), qtype, stamps[minute])
        for flags, qclass, qtype, minute, at in columns
    ]


def _text(data: bytes, at: int) -> bytes:
    """The name at `at` as text within a string of JSON, with the dot at its end."""
    out = bytearray()
    while length := data[at]:
        label = data[at + 1 : at + 1 + length]
        if label.translate(None, _PLAIN):
            label = b"".join([_SPELLINGS[octet] for octet in label])
        out += label
        out += b"."
        at += 1 + length
    return bytes(out) or b"."


def topic_of(kid: str) -> str:
    """Where the events of the node with this key identifier go. Raises ValueError for what no topic may have."""
    if not kid or any(char in "/+#\0" for char in kid):
        raise ValueError("the key identifier is empty, or has a character that a level of an MQTT topic may not have")
    return f"events/up/{kid}/{TYPE}"


def sign_event(event: bytes, key: SigningKey) -> bytes:
    """The event as it is published: flattened JWS (edm.md §9.3)."""
    return sign_flattened(event, key)
