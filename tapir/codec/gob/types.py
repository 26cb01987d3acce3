"""The types of a stream: what its definitions say, and those that we write."""

import enum
from typing import Final

import attrs

from tapir.codec.gob.wire import Reader, encode_int, encode_text, encode_uint

BOOL, INT, UINT, FLOAT, BYTES, STRING, COMPLEX, INTERFACE = range(1, 9)
FIRST_ID: Final = 64
"""Numbers up to this are gob's own."""

MAX_FIELDS: Final = 256


class Kind(enum.Enum):
    """What a definition defines; the value is the number of its field in gob's own struct for definitions."""

    ARRAY = 0
    SLICE = 1
    STRUCT = 2
    MAP = 3
    GOB_ENCODER = 4
    BINARY_MARSHALER = 5
    TEXT_MARSHALER = 6


OPAQUE: Final = (Kind.GOB_ENCODER, Kind.BINARY_MARSHALER, Kind.TEXT_MARSHALER)
_KINDS: Final = {kind.value: kind for kind in Kind}


@attrs.frozen
class GobType:
    """A definition: of a struct its `fields` with their types, of a map `key` and `element`, else `element` alone."""

    kind: Kind
    name: str = ""
    element: int = 0
    key: int = 0
    length: int = 0
    fields: tuple[tuple[str, int], ...] = ()


def read_definition(reader: Reader) -> GobType:
    """The definition at the reader's position, which is a struct with one field set. Raises GobError."""
    kind = _KINDS.get(reader.uint() - 1)
    if kind is None:
        raise reader.error("a type is of no known kind")
    name = ""
    numbers = {1: 0, 2: 0}
    fields: tuple[tuple[str, int], ...] = ()
    for field in FieldNumbers(reader):
        if field == 0:
            name = _read_common(reader)[0]
        elif kind is Kind.STRUCT and field == 1:
            fields = _read_fields(reader)
        elif field in numbers and kind not in OPAQUE and kind is not Kind.STRUCT:
            numbers[field] = reader.signed()
        else:
            raise reader.error(f"the definition of a type has a field {field}")
    if reader.uint() != 0:
        raise reader.error("a type is of two kinds")
    if kind is Kind.MAP:
        return GobType(kind, name, element=numbers[2], key=numbers[1])
    return GobType(kind, name, element=numbers[1], length=numbers[2], fields=fields)


class FieldNumbers:
    """The numbers of a struct's fields; what iterates reads each value before it goes on."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._last = -1

    def __iter__(self) -> "FieldNumbers":
        return self

    def __next__(self) -> int:
        step = self._reader.uint()
        if step == 0:
            raise StopIteration
        self._last += step
        return self._last


def _read_common(reader: Reader) -> tuple[str, int]:
    """A name and a number: what is common to definitions, and a struct's field."""
    name, number = "", 0
    for field in FieldNumbers(reader):
        if field == 0:
            name = reader.text()
        elif field == 1:
            number = reader.signed()
        else:
            raise reader.error(f"the name of a type has a field {field}")
    return name, number


def _read_fields(reader: Reader) -> tuple[tuple[str, int], ...]:
    count = reader.count("fields")
    if count > MAX_FIELDS:
        raise reader.error(f"a struct has {count} fields, {MAX_FIELDS} are allowed")
    return tuple(_read_common(reader) for _ in range(count))


def encode_definition(number: int, definition: GobType) -> bytes:
    """The message that defines type `number`, with its length."""
    body = bytearray(encode_int(-number))
    body += encode_uint(definition.kind.value + 1)
    body += b"\1" + _encode_common(definition.name, number)
    if definition.kind is Kind.STRUCT:
        body += b"\1" + encode_uint(len(definition.fields))
        for name, type_number in definition.fields:
            body += _encode_common(name, type_number)
    elif definition.kind is Kind.MAP:
        body += b"\1" + encode_int(definition.key) + b"\1" + encode_int(definition.element)
    elif definition.kind is Kind.SLICE:
        body += b"\1" + encode_int(definition.element)
    body += b"\0\0"
    return encode_uint(len(body)) + body


def _encode_common(name: str, number: int) -> bytes:
    named = b"\1" + encode_text(name) + b"\1" if name else b"\2"
    return named + encode_int(number) + b"\0"


LIST, MQTT, TEXTS, ENTRY, TIME, ENTRIES, SLOT, SLOTS = range(65, 73)

WBGLIST: Final = GobType(
    Kind.STRUCT,
    "WBGlist",
    fields=(
        ("Name", STRING),
        ("Description", STRING),
        ("Type", STRING),
        ("Immutable", BOOL),
        ("SrcFormat", STRING),
        ("Format", STRING),
        ("Datasource", STRING),
        ("Filename", STRING),
        ("Upstream", STRING),
        ("Dawgf", INTERFACE),
        ("MqttDetails", MQTT),
        ("RpzZoneName", STRING),
        ("RpzUpstream", STRING),
        ("RpzSerial", INT),
        ("Names", ENTRIES),
        ("ReaperData", SLOTS),
    ),
)

_TAPIR_NAME_FIELDS: Final = (
    ("Name", STRING),
    ("TimeAdded", TIME),
    ("TTL", INT),
    ("TagMask", UINT),
    ("NumTags", UINT),
    ("Action", UINT),
)
_MQTT_FIELDS: Final = (("Topics", TEXTS), ("Bootstrap", TEXTS), ("BootstrapUrl", STRING), ("BootstrapKey", STRING))

DEFINITIONS: Final = (
    (LIST, WBGLIST),
    (MQTT, GobType(Kind.STRUCT, "MqttDetails", fields=_MQTT_FIELDS)),
    (TEXTS, GobType(Kind.SLICE, "[]string", element=STRING)),
    (ENTRIES, GobType(Kind.MAP, "map[string]tapir.TapirName", key=STRING, element=ENTRY)),
    (ENTRY, GobType(Kind.STRUCT, fields=_TAPIR_NAME_FIELDS)),
    (TIME, GobType(Kind.GOB_ENCODER, "Time")),
    (SLOTS, GobType(Kind.MAP, "map[time.Time]map[string]bool", key=TIME, element=SLOT)),
    (SLOT, GobType(Kind.MAP, key=STRING, element=BOOL)),
)
"""What the sender upstream defines, in its order and with its numbers."""
