"""A list written as the sender upstream writes it: the definitions, then one value; what is zero is left out."""

from typing import Final

from tapir.codec.gob.times import NOTHING, encode_time
from tapir.codec.gob.types import DEFINITIONS, LIST, encode_definition
from tapir.codec.gob.values import MqttDetails, TapirName, WbgList
from tapir.codec.gob.wire import encode_int, encode_octets, encode_text, encode_uint

PREFIX: Final = b"".join(encode_definition(number, definition) for number, definition in DEFINITIONS)
"""All definitions, which come before the value."""


def encode_list(value: WbgList) -> bytes:
    """`value` as a stream. Raises GobError where a number or text of it has no form."""
    message = encode_int(LIST) + encode_value(value)
    return PREFIX + encode_uint(len(message)) + message


class _Struct:
    """The fields of a struct, each in its place, what is left out left out."""

    def __init__(self) -> None:
        self._body = bytearray()
        self._last = -1

    def add(self, place: int, octets: bytes | bytearray, *, given: bool) -> None:
        if given:
            self._body += encode_uint(place - self._last)
            self._body += octets
            self._last = place

    def text(self, place: int, text: str) -> None:
        self.add(place, encode_text(text), given=bool(text))

    def uint(self, place: int, value: int) -> None:
        self.add(place, encode_uint(value), given=value != 0)

    def int(self, place: int, value: int) -> None:
        self.add(place, encode_int(value), given=value != 0)

    def done(self) -> bytearray:
        self._body += b"\0"
        return self._body


def encode_value(value: WbgList) -> bytearray:
    """The fields of a list, and the 0 behind them."""
    struct = _Struct()
    struct.text(0, value.name)
    struct.text(1, value.description)
    struct.text(2, value.type)
    struct.uint(3, value.immutable)
    struct.text(4, value.src_format)
    struct.text(5, value.format)
    struct.text(6, value.datasource)
    struct.text(7, value.filename)
    struct.text(8, value.upstream)
    # 9 is Dawgf, an interface: nothing in a list that can be sent
    if value.mqtt is not None:
        struct.add(10, _mqtt(value.mqtt), given=True)
    struct.text(11, value.rpz_zone_name)
    struct.text(12, value.rpz_upstream)
    struct.int(13, value.rpz_serial)
    if value.names is not None:
        names = bytearray(encode_uint(len(value.names)))
        for key, entry in value.names:
            names += encode_text(key)
            names += encode_entry(entry)
        struct.add(14, names, given=True)
    if value.reaper is not None:
        slots = bytearray(encode_uint(len(value.reaper)))
        for slot, members in value.reaper:
            slots += encode_octets(encode_time(slot))
            slots += encode_uint(len(members))
            for name, there in members:
                slots += encode_text(name)
                slots += b"\1" if there else b"\0"
        struct.add(15, slots, given=True)
    return struct.done()


def _mqtt(details: MqttDetails) -> bytearray:
    struct = _Struct()
    for place, texts in enumerate((details.topics, details.bootstrap)):
        struct.add(place, encode_uint(len(texts)) + b"".join(map(encode_text, texts)), given=bool(texts))
    struct.text(2, details.bootstrap_url)
    struct.text(3, details.bootstrap_key)
    return struct.done()


def encode_entry(entry: TapirName) -> bytearray:
    """The fields of an entry, and the 0 behind them."""
    struct = _Struct()
    struct.text(0, entry.name)
    struct.add(1, encode_octets(encode_time(entry.time_added)), given=entry.time_added != NOTHING)
    struct.int(2, entry.ttl)
    struct.uint(3, entry.tag_mask)
    struct.uint(4, entry.num_tags)
    struct.uint(5, entry.action)
    return struct.done()
