"""A stream read: definitions first, then the one list, its fields by their names; what is unknown is passed over."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from tapir.codec.gob.times import NOTHING, GobTime, decode_time
from tapir.codec.gob.types import (
    BOOL,
    BYTES,
    COMPLEX,
    FIRST_ID,
    FLOAT,
    INT,
    INTERFACE,
    OPAQUE,
    STRING,
    UINT,
    FieldNumbers,
    GobType,
    Kind,
    read_definition,
)
from tapir.codec.gob.values import MqttDetails, TapirName, WbgList
from tapir.codec.gob.wire import GobError, Reader

MAX_STREAM: Final = 256 << 20
MAX_NAMES: Final = 2_000_000
MAX_TYPES: Final = 256
MAX_TEXTS: Final = 1000
"""Topics, and servers, that a list may name."""
MAX_DEPTH: Final = 16

_Read = Callable[[int], Any]
"""Reads the value of a type with this number, at the reader's position."""


def decode_list(data: bytes, *, max_size: int = MAX_STREAM, max_names: int = MAX_NAMES) -> tuple[WbgList, bytes]:
    """The list that `data` begins with, and the octets behind it: upstream's server appends its answer in JSON there.

    Raises GobError, and nothing else whatever the octets; also where it has more than `max_names` names, or as many in
    slots.
    """
    if len(data) > max_size:
        raise GobError(f"it has {len(data)} octets, {max_size} are allowed")
    stream = Stream(data, max_names)
    found = read_stream(stream)
    return found, data[stream.reader.position :]


def read_stream(stream: "Stream") -> WbgList:
    """The list that comes first, whatever may follow. Raises GobError."""
    reader = stream.reader
    whole = reader.end
    while True:
        reader.end = whole
        length = reader.count("octets of a message")
        reader.end = reader.position + length
        number = reader.signed()
        found = None
        if number < 0:
            stream.define(-number)
        else:
            found = stream.read_list(number)
        if reader.left:
            raise reader.error("a message is longer than what it says")
        if found is not None:
            return found


class Stream:
    """The types that were defined so far, and how a value of each is read."""

    def __init__(self, data: bytes, max_names: int) -> None:
        self.reader = Reader(data)
        self._types: dict[int, GobType] = {}
        self._max_names = max_names
        self._in_slots = 0

    def define(self, number: int) -> None:
        """Read the definition of type `number`."""
        if number <= FIRST_ID or number in self._types:
            raise self.reader.error(f"type {number} is defined twice, or is gob's own")
        if len(self._types) >= MAX_TYPES:
            raise self.reader.error(f"it defines more than {MAX_TYPES} types")
        self._types[number] = read_definition(self.reader)

    def read_list(self, number: int) -> WbgList:
        """Read a WBGlist of type `number`."""
        found = self._fields(
            number,
            {
                "Name": self._text,
                "Description": self._text,
                "Type": self._text,
                "Immutable": self._bool,
                "SrcFormat": self._text,
                "Format": self._text,
                "Datasource": self._text,
                "Filename": self._text,
                "Upstream": self._text,
                "MqttDetails": self._mqtt,
                "RpzZoneName": self._text,
                "RpzUpstream": self._text,
                "RpzSerial": self._int,
                "Names": self.names,
                "ReaperData": self.reaper,
            },
        )
        return WbgList(**{_ATTRIBUTES[name]: value for name, value in found.items()})

    def _mqtt(self, number: int) -> MqttDetails:
        found = self._fields(
            number,
            {"Topics": self._texts, "Bootstrap": self._texts, "BootstrapUrl": self._text, "BootstrapKey": self._text},
        )
        return MqttDetails(**{_MQTT_ATTRIBUTES[name]: value for name, value in found.items()})

    def names(self, number: int) -> tuple[tuple[str, TapirName], ...] | None:
        """Read the map of names."""
        return tuple((key, _tapir_name(fields)) for key, fields in self.entries(number))

    def entries(self, number: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """Read the map of names, one after the other: its key, and the fields that it has."""
        definition = self._defined(number, Kind.MAP)
        readers = {
            "Name": self._text,
            "TimeAdded": self._time,
            "TTL": self._int,
            "TagMask": self._uint32,
            "NumTags": self._uint8,
            "Action": self._uint8,
        }
        for _ in range(self._count("names", self._max_names)):
            key = self._text(definition.key)
            yield key, self._fields(definition.element, readers)

    def reaper(self, number: int) -> tuple[tuple[GobTime, tuple[tuple[str, bool], ...]], ...] | None:
        """Read the map of slots."""
        definition = self._defined(number, Kind.MAP)
        found = []
        for _ in range(self._count("slots", self._max_names)):
            slot = self._time(definition.key)
            inner = self._defined(definition.element, Kind.MAP)
            count = self._count("names in slots", self._max_names - self._in_slots)
            self._in_slots += count
            found.append((slot, tuple((self._text(inner.key), self._bool(inner.element)) for _ in range(count))))
        return tuple(found)

    # ------------------------------------------------------------------------------------------ values of one kind

    def _fields(self, number: int, readers: Mapping[str, _Read]) -> dict[str, Any]:
        """The fields that a struct of type `number` has, of those that have readers."""
        fields = self._defined(number, Kind.STRUCT).fields
        found: dict[str, Any] = {}
        for place in FieldNumbers(self.reader):
            if place >= len(fields):
                raise self.reader.error(f"a struct of {len(fields)} fields has a field {place}")
            name, field_type = fields[place]
            read = readers.get(name)
            if read is None:
                self.skip(field_type, 1)
            else:
                found[name] = read(field_type)
        return found

    def _text(self, number: int) -> str:
        if number != STRING:
            raise self.reader.error("a field is no string")
        return self.reader.text()

    def _bool(self, number: int) -> bool:
        value = self.reader.uint() if number == BOOL else None
        if value not in (0, 1):
            raise self.reader.error("a field is no boolean")
        return value == 1

    def _int(self, number: int) -> int:
        if number != INT:
            raise self.reader.error("a field is no integer")
        return self.reader.signed()

    def _uint32(self, number: int) -> int:
        return self._uint(number, 0xFFFF_FFFF)

    def _uint8(self, number: int) -> int:
        return self._uint(number, 0xFF)

    def _uint(self, number: int, highest: int) -> int:
        value = self.reader.uint() if number == UINT else highest + 1
        if value > highest:
            raise self.reader.error(f"a field is no unsigned integer up to {highest}")
        return value

    def _time(self, number: int) -> GobTime:
        definition = self._types.get(number)
        if definition is None or definition.kind not in OPAQUE:
            raise self.reader.error("a field is no time")
        return decode_time(self.reader.octets())

    def _texts(self, number: int) -> tuple[str, ...]:
        element = self._defined(number, Kind.SLICE).element
        return tuple(self._text(element) for _ in range(self._count("strings", MAX_TEXTS)))

    def _defined(self, number: int, kind: Kind) -> GobType:
        definition = self._types.get(number)
        if definition is None or definition.kind is not kind:
            raise self.reader.error(f"what should be a {kind.name.lower()} is of another type")
        return definition

    def _count(self, what: str, most: int) -> int:
        count = self.reader.count(what)
        if count > most:
            raise self.reader.error(f"it has {count} {what}, {most} are allowed")
        return count

    def skip(self, number: int, depth: int) -> None:
        """Pass over a value of type `number`; each takes an octet at least, so this is bounded by the stream."""
        if number in (BOOL, INT, UINT, FLOAT):
            self.reader.uint()
            return
        if number in (BYTES, STRING):
            self.reader.octets()
            return
        if number == COMPLEX:
            self.reader.uint()
            self.reader.uint()
            return
        definition = self._types.get(number)
        if definition is None:
            what = "an interface" if number == INTERFACE else f"type {number}, which is not defined"
            raise self.reader.error(f"it holds a value of {what}")
        if depth > MAX_DEPTH:
            raise self.reader.error(f"values are nested deeper than {MAX_DEPTH}")
        if definition.kind in OPAQUE:
            self.reader.octets()
        elif definition.kind is Kind.STRUCT:
            for place in FieldNumbers(self.reader):
                if place >= len(definition.fields):
                    raise self.reader.error(f"a struct of {len(definition.fields)} fields has a field {place}")
                self.skip(definition.fields[place][1], depth + 1)
        else:
            inner = (definition.key, definition.element) if definition.kind is Kind.MAP else (definition.element,)
            for _ in range(self.reader.count("elements")):
                for element in inner:
                    self.skip(element, depth + 1)


_ATTRIBUTES: Final = {
    "Name": "name",
    "Description": "description",
    "Type": "type",
    "Immutable": "immutable",
    "SrcFormat": "src_format",
    "Format": "format",
    "Datasource": "datasource",
    "Filename": "filename",
    "Upstream": "upstream",
    "MqttDetails": "mqtt",
    "RpzZoneName": "rpz_zone_name",
    "RpzUpstream": "rpz_upstream",
    "RpzSerial": "rpz_serial",
    "Names": "names",
    "ReaperData": "reaper",
}
_MQTT_ATTRIBUTES: Final = {
    "Topics": "topics",
    "Bootstrap": "bootstrap",
    "BootstrapUrl": "bootstrap_url",
    "BootstrapKey": "bootstrap_key",
}


def _tapir_name(fields: dict[str, Any]) -> TapirName:
    get = fields.get
    return TapirName(
        name=get("Name", ""),
        time_added=get("TimeAdded", NOTHING),
        ttl=get("TTL", 0),
        tag_mask=get("TagMask", 0),
        num_tags=get("NumTags", 0),
        action=get("Action", 0),
    )
