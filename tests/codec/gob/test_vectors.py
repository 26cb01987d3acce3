"""Go's own octets: read, written back, and read in every other order that Go's decoder takes."""

from pathlib import Path

import attrs
import pytest

from tapir.codec.gob import (
    GobError,
    GobTime,
    MqttDetails,
    TapirName,
    WbgList,
    decode_list,
    encode_list,
    export_list,
    import_list,
)
from tapir.codec.gob.times import NOTHING, decode_time, encode_time
from tapir.codec.gob.types import (
    BOOL,
    BYTES,
    COMPLEX,
    FLOAT,
    INT,
    INTERFACE,
    STRING,
    UINT,
    GobType,
    Kind,
    encode_definition,
)
from tapir.codec.gob.wire import Reader, encode_int, encode_octets, encode_text, encode_uint
from tapir.codec.rfc3339 import YEAR_ONE, parse_time
from tapir.model.actions import ListKind
from tapir.model.blocks import ObservationBlock
from tapir.model.names import parse_name

VECTOR = (Path(__file__).resolve().parents[2] / "vectors" / "gob" / "wbglist.gob").read_bytes()

LIST = WbgList(
    name="dns-tapir",
    type="doubtlist",
    src_format="tapir-msg-v1",
    format="map",
    datasource="mqtt",
    mqtt=MqttDetails(topics=("obs/t",)),
    rpz_zone_name=".",
    names=(
        (
            "evil.example.",
            TapirName(
                name="evil.example.",
                time_added=GobTime(seconds=1_735_787_045, nanoseconds=6),
                ttl=3600 * 10**9,
                tag_mask=17,
            ),
        ),
    ),
    reaper=((GobTime(seconds=1_735_783_500, minutes=120), (("evil.example.", True),)),),
)


def framed(*bodies):
    return b"".join(encode_octets(body) for body in bodies)


def test_the_vector_is_read_and_written_back():
    assert decode_list(VECTOR) == (LIST, b"")
    assert encode_list(LIST) == VECTOR


def test_what_stands_behind_the_list_is_left():
    assert decode_list(VECTOR + b'{"Status":"ok"}\n')[1] == b'{"Status":"ok"}\n'


def test_everything_set():
    full = WbgList(
        name="n",
        description="d",
        type="denylist",
        immutable=True,
        src_format="s",
        format="f",
        datasource="mqtt",
        filename="file",
        upstream="up",
        mqtt=MqttDetails(topics=("a", "b"), bootstrap=("192.0.2.1:5455",), bootstrap_url="u", bootstrap_key="secret"),
        rpz_zone_name="z.",
        rpz_upstream="r",
        rpz_serial=-7,
        names=(
            ("x.", TapirName(name="y.", ttl=-1, tag_mask=0xFFFF_FFFF, num_tags=255, action=64)),
            ("", TapirName(name="caf\udce9", time_added=GobTime(seconds=5, minutes=-300, rest=-20))),
        ),
        reaper=((GobTime(seconds=7, minutes=0), (("x.", False),)), (NOTHING, ())),
    )
    assert decode_list(encode_list(full)) == (full, b"")
    assert "secret" not in repr(full.mqtt)
    assert repr(full) == "<WbgList 'n' of 2 names>"
    assert decode_list(encode_list(WbgList())) == (WbgList(), b"")
    assert decode_list(encode_list(WbgList(names=(), reaper=(), mqtt=MqttDetails())))[0] == WbgList(
        names=(), reaper=(), mqtt=MqttDetails()
    )


def test_other_numbers_another_order_fields_more_and_fewer():
    fields = (
        ("Unknown", 100),
        ("Names", 101),
        ("Float", FLOAT),
        ("Raw", BYTES),
        ("Complex", COMPLEX),
        ("Array", 104),
        ("Opaque", 105),
        ("Name", STRING),
    )
    stream = (
        encode_definition(102, GobType(Kind.STRUCT, "T", fields=(("Action", UINT), ("Self", 102), ("TTL", INT))))
        + encode_definition(100, GobType(Kind.SLICE, "", element=102))
        + encode_definition(101, GobType(Kind.MAP, "", key=STRING, element=102))
        + encode_definition(103, GobType(Kind.STRUCT, "Whatever", fields=fields))
        + encode_definition(105, GobType(Kind.TEXT_MARSHALER, "O"))
        # an array of two integers, whose definition we never write
        + framed(encode_int(-104) + bytes.fromhex("01 01 01 01 41 00 01 04 01 04 00 00"))
        + framed(
            encode_int(103)
            + b"\1\1\2\1\5\0\0"  # Unknown: one struct that has itself within, which has an action
            + b"\1\1\2a.\1\1\2\3\0"  # Names: an action 1, a TTL of -2
            + b"\1\1\1\1\7\1\1\2\1\2\2\4\1\1\x09\1\1n\0"
        )
    )
    found, rest = decode_list(stream)
    assert found == WbgList(name="n", names=(("a.", TapirName(action=1, ttl=-2)),))
    assert rest == b""


def only(name, number, value=b"", *definitions):
    """A stream with a struct that has one field, of type `number`."""
    struct = encode_definition(90, GobType(Kind.STRUCT, "", fields=((name, number),)))
    defined = b"".join(encode_definition(number, definition) for number, definition in definitions)
    return struct + defined + framed(encode_int(90) + b"\1" + value + b"\0")


TEXT_MAP = (91, GobType(Kind.MAP, key=STRING, element=92))
SELF = (92, GobType(Kind.STRUCT, fields=(("Again", 92),)))


@pytest.mark.parametrize(
    ("stream", "told"),
    [
        (b"", "in the middle of a number"),
        (b"\xff", "in the middle of a number"),
        (b"\xf0" + bytes(16), "a number has 16 octets"),
        (b"\x05abc", "it ends before 5 octets of a message"),
        (VECTOR[:-1], "it ends before"),
        (b"\0", "in the middle of a number"),
        (framed(encode_int(65) + b"\0"), "should be a struct is of another type"),
        (framed(encode_int(-1) + b"\0"), "gob's own"),
        (VECTOR[:237] + VECTOR[:237], "defined twice"),
        (framed(encode_int(-90) + b"\0"), "no known kind"),
        (framed(encode_int(-90) + b"\x08"), "no known kind"),
        (framed(encode_int(-90) + b"\3\3\0\0"), "the definition of a type has a field 2"),
        (framed(encode_int(-90) + b"\5\2\0\0"), "the definition of a type has a field 1"),
        (framed(encode_int(-90) + b"\3\1\3\0\0\0"), "the name of a type has a field 2"),
        (framed(encode_int(-90) + b"\3\0\1"), "of two kinds"),
        (framed(encode_int(-90) + b"\3\0\0x"), "longer than what it says"),
        (framed(encode_int(-90) + b"\3\2\xfe\1\1" + bytes(600)), "a struct has 257 fields"),
        (b"".join(encode_definition(n, GobType(Kind.SLICE)) for n in range(65, 400)), "more than 256 types"),
        (only("Name", BYTES, b"\1x"), "no string"),
        (only("Immutable", INT, b"\1"), "no boolean"),
        (only("Immutable", BOOL, b"\2"), "no boolean"),
        (only("RpzSerial", UINT, b"\1"), "no integer"),
        (only("Names", STRING, b"\1x"), "should be a map"),
        (only("MqttDetails", 91, b"", TEXT_MAP), "should be a struct"),
        (only("Dawgf", INTERFACE, b"\1x"), "a value of an interface"),
        (only("Dawgf", 70, b"\1x"), "type 70, which is not defined"),
        (only("Other", 92, b"\1" * 50, SELF), "nested deeper than 16"),
        (only("Other", 92, b"\2\0", SELF), "a struct of 1 fields has a field 1"),
        (only("Name", STRING, b"\1x\5"), "a struct of 1 fields has a field 5"),
        (only("Names", 91, b"\xfc\x7f\xff\xff\xff", TEXT_MAP), "it ends before"),
        (only("ReaperData", 91, b"\1\1x", TEXT_MAP), "no time"),
        (only("Name", STRING, b"\x7fx"), "it ends before 127 octets"),
    ],
)
def test_what_no_sender_sends_is_refused(stream, told):
    with pytest.raises(GobError) as caught:
        decode_list(stream)
    assert told in str(caught.value)
    assert caught.value.reason in str(caught.value)


def test_the_sizes_are_the_callers_to_bound():
    with pytest.raises(GobError, match="708 are allowed"):
        decode_list(VECTOR, max_size=708)
    with pytest.raises(GobError, match="1 names, 0 are allowed"):
        decode_list(VECTOR, max_names=0)
    slots = WbgList(reaper=((NOTHING, (("a", True),)), (GobTime(seconds=1), (("b", True),))))
    with pytest.raises(GobError, match="2 slots, 1 are allowed"):
        decode_list(encode_list(slots), max_names=1)
    both = attrs.evolve(slots, reaper=((NOTHING, (("a", True), ("b", True))), (GobTime(seconds=1), (("b", True),))))
    with pytest.raises(GobError, match="1 names in slots, 0 are allowed"):
        decode_list(encode_list(both), max_names=2)


def tag(value):
    """A stream with an entry whose tag mask is `value`."""
    entry = (92, GobType(Kind.STRUCT, fields=(("TagMask", UINT),)))
    return only("Names", 91, b"\1\1x\1" + encode_uint(value) + b"\0", TEXT_MAP, entry)


def test_a_tag_mask_has_32_bits():
    assert decode_list(tag(2**32 - 1))[0].names[0][1].tag_mask == 2**32 - 1
    with pytest.raises(GobError, match="up to 4294967295"):
        decode_list(tag(2**32))


@pytest.mark.parametrize(
    ("octets", "told"),
    [
        (b"", "a time has 0 octets"),
        (bytes(14), "a time has 14 octets"),
        (b"\2" + bytes(14), "a time has 15 octets"),
        (bytes(15), "version 0"),
        (b"\3" + bytes(14), "version 3"),
        (b"\2" + bytes(15), "without need"),
        (b"\1" + bytes(8) + b"\x7f" + bytes(5), "more than a second"),
    ],
)
def test_times_that_are_none(octets, told):
    with pytest.raises(GobError, match=told):
        decode_time(octets)


@pytest.mark.parametrize(
    "value",
    [
        WbgList(rpz_serial=1 << 63),
        WbgList(name="\ud800"),
        WbgList(names=(("x", TapirName(tag_mask=-1)),)),
        WbgList(names=(("x", TapirName(time_added=GobTime(seconds=1 << 63))),)),
        WbgList(names=(("x", TapirName(time_added=GobTime(seconds=1, rest=200))),)),
        WbgList(reaper=((GobTime(minutes=1 << 15), ()),)),
    ],
)
def test_what_has_no_form_is_an_error(value):
    with pytest.raises(GobError):
        encode_list(value)


def test_numbers_as_the_documentation_of_gob_has_them():
    assert [encode_uint(value).hex() for value in (0, 7, 127, 128, 256)] == ["00", "07", "7f", "ff80", "fe0100"]
    assert encode_int(-129).hex() == "fe0101"
    assert Reader(encode_int(-129)).signed() == -129
    assert encode_text("é").hex() == "02c3a9"
    assert encode_time(GobTime(seconds=0)).hex() == "01" + "0000000e7791f700" + "00000000" + "ffff"


# ---------------------------------------------------------------------------------------------- what it means to us

NOON = parse_time("2025-03-01T12:00:00.5Z")


def test_names_are_taken_and_nothing_else():
    hour = 3600 * 10**9
    noon = GobTime(seconds=NOON // 10**6, nanoseconds=500_000_999)
    late = attrs.evolve(noon, seconds=noon.seconds + 1)
    value = WbgList(
        name="not this one",
        names=(
            ("EVIL.example", TapirName(name="another.", time_added=late, ttl=hour, tag_mask=1)),
            ("evil.example.", TapirName(time_added=noon, ttl=1, tag_mask=2)),
            ("a..b", TapirName()),
            ("", TapirName()),
            ("b.example.", TapirName(time_added=noon, ttl=1999)),
            ("c.example.", TapirName(ttl=5)),
            ("d.example.", TapirName(time_added=GobTime(seconds=1 << 62), ttl=(1 << 63) - 1)),
        ),
    )
    found = import_list(value)
    assert (found.refused, found.reason) == (2, "it has an empty label")
    entries = {name: entry for name, *entry in found.observations}
    assert entries[parse_name("evil.example")] == [1, NOON + 10**6, NOON + 10**6 + 3600 * 10**6]
    assert entries[parse_name("b.example")] == [0, NOON, NOON + 1]
    assert entries[parse_name("c.example")] == [0, YEAR_ONE, YEAR_ONE]
    assert entries[parse_name("d.example")][2] > entries[parse_name("d.example")][1]
    assert len(entries) == 4
    assert len(import_list(WbgList()).observations) == 0


def test_a_list_is_exported_as_the_existing_pop_takes_it_over():
    name = parse_name("evil.example")
    block = ObservationBlock.of([(name, 17, NOON, NOON + 90 * 10**6), (parse_name("b"), 0, NOON, 2**63 - 1)])
    value = export_list(block, source="dns-tapir", kind=ListKind.DOUBT, topics=("obs/t",))
    assert (value.name, value.type, value.format, value.datasource) == ("dns-tapir", "doubtlist", "map", "mqtt")
    assert value.mqtt == MqttDetails(topics=("obs/t",))
    assert value.names[0][0] == value.names[0][1].name == "evil.example."
    # 12:01:30.5 lies in the slot that begins at 12:01, and leaves with the next.
    slot, members = value.reaper[0]
    assert slot.seconds * 10**6 == parse_time("2025-03-01T12:02:00Z")
    assert members == (("evil.example.", True),)
    found = import_list(decode_list(encode_list(value))[0])
    assert next(iter(found.observations)) == (name, 17, NOON, NOON + 90 * 10**6)
    assert found.refused == 0
