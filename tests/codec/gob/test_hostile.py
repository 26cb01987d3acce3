"""gob from anywhere: any octets, any octet changed, any list there and back."""

import contextlib

from hypothesis import example, given
from hypothesis import strategies as st

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
from tapir.codec.gob.times import YEAR_ONE
from tapir.codec.rfc3339 import LAST
from tapir.codec.rfc3339 import YEAR_ONE as FIRST
from tapir.model.actions import ListKind
from tapir.model.blocks import ObservationBlock
from tapir.model.names import Name

TEXTS = st.binary(max_size=12).map(lambda octets: octets.decode("utf-8", "surrogateescape"))
INTS = st.integers(-(2**63), 2**63 - 1)
BYTES = st.integers(0, 255)
TIMES = st.builds(
    GobTime,
    seconds=INTS.map(lambda since: since + YEAR_ONE),
    nanoseconds=st.integers(0, 999_999_999),
    minutes=st.none() | st.integers(-(2**15), 2**15 - 1).filter(lambda minutes: minutes != -1),
) | st.builds(GobTime, seconds=st.integers(0, 2**40), minutes=st.integers(-900, -2), rest=st.integers(-59, -1))
NAMES = st.builds(
    TapirName,
    name=TEXTS,
    time_added=TIMES,
    ttl=INTS,
    tag_mask=st.integers(0, 2**32 - 1),
    num_tags=BYTES,
    action=BYTES,
)
LISTS = st.builds(
    WbgList,
    name=TEXTS,
    description=TEXTS,
    type=TEXTS,
    immutable=st.booleans(),
    src_format=TEXTS,
    format=TEXTS,
    datasource=TEXTS,
    filename=TEXTS,
    upstream=TEXTS,
    mqtt=st.none()
    | st.builds(
        MqttDetails,
        topics=st.lists(TEXTS, max_size=3).map(tuple),
        bootstrap=st.lists(TEXTS, max_size=3).map(tuple),
        bootstrap_url=TEXTS,
        bootstrap_key=TEXTS,
    ),
    rpz_zone_name=TEXTS,
    rpz_upstream=TEXTS,
    rpz_serial=INTS,
    names=st.none() | st.lists(st.tuples(TEXTS, NAMES), max_size=3).map(tuple),
    reaper=st.none()
    | st.lists(st.tuples(TIMES, st.lists(st.tuples(TEXTS, st.booleans()), max_size=3).map(tuple)), max_size=3).map(
        tuple
    ),
)


@given(LISTS, st.binary(max_size=10))
def test_any_list_comes_back(value, rest):
    stream = encode_list(value)
    found, left = decode_list(stream + rest)
    assert (found, left) == (value, rest)
    assert encode_list(found) == stream
    import_list(found)


@given(st.binary(max_size=100))
@example(b"\xf8" + b"\xff" * 8)
@example(b"\x01" * 1000)
def test_any_octets_are_a_list_or_refused(data):
    with contextlib.suppress(GobError):
        decode_list(data)


@given(LISTS, st.data())
def test_any_octet_may_be_another(value, data):
    stream = bytearray(encode_list(value))
    for _ in range(data.draw(st.integers(1, 4))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(GobError):
        found, _ = decode_list(bytes(stream))
        import_list(found)
        encode_list(found)


@given(LISTS, st.data())
def test_no_part_of_a_stream_is_a_list(value, data):
    stream = encode_list(value)
    cut = data.draw(st.integers(0, len(stream) - 1))
    try:
        decode_list(stream[:cut])
    except GobError:
        return
    raise AssertionError(f"the first {cut} octets of {len(stream)} are a list")


ENTRIES = st.tuples(
    st.binary(min_size=1, max_size=8).map(lambda label: Name(bytes((len(label),)) + label.lower() + b"\0")),
    st.integers(0, 2**32 - 1),
    st.integers(FIRST, LAST),
    st.integers(0, 10**10),
).map(lambda entry: (entry[0], entry[1], entry[2], entry[2] + entry[3] * 10**5))


@given(st.lists(ENTRIES, max_size=5, unique_by=lambda entry: entry[0]), st.sampled_from(ListKind), st.integers(1, 9999))
def test_what_one_pop_exports_another_imports(entries, kind, interval):
    value = export_list(ObservationBlock.of(entries), source="s", kind=kind, interval=interval)
    found = import_list(decode_list(encode_list(value))[0])
    assert found.refused == 0
    assert list(found.observations) == entries
    # Each leaves by its slot, after its deadline and no more than an interval later.
    slots = {name: slot.seconds * 10**6 for slot, members in value.reaper or () for name, _ in members}
    assert len(slots) == len(entries)
    for (key, _), (_, _, _, deadline) in zip(value.names or (), entries, strict=True):
        assert deadline < slots[key] <= deadline + interval * 10**6
