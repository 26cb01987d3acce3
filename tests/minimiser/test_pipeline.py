"""The pipeline does with mixed blocks what plain Python does frame by frame, and says what became of each."""

import io
import ipaddress
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dnstap_frames import NXDOMAIN, START, dns_message, envelope, frame, octets, opt, question, response
from dnstap_oracle import Dnstap
from dnstap_strange import Strange
from edm_oracle import EdmOracle, NameSet
from hypothesis import example, given, settings
from hypothesis import strategies as st

import tapir.kernels.subnets
import tapir.minimiser.pipeline
from tapir.codec.cryptopan import CryptoPan
from tapir.codec.dawg import encode_dawg, parse_dawg
from tapir.codec.edmfiles import COUNTERS, LABELS, Rows
from tapir.codec.hll import HllError
from tapir.codec.parquet import encode_parquet
from tapir.minimiser.account import Fate
from tapir.minimiser.histogram import Histogram
from tapir.minimiser.hook import ENOUGH
from tapir.minimiser.ignoring import parse_ignored_clients
from tapir.minimiser.novelty import RecentNames
from tapir.minimiser.pipeline import Interval, Pipeline, PipelineSettings, Processed
from tapir.minimiser.spooling import SpoolWriter, replay
from tapir.minimiser.wellknown import WellKnownNames, index_names, no_names
from tapir.model.blocks import FrameBlock
from tapir.model.names import Name, parse_name

SECRET = bytes(range(16))
KEYS = [CryptoPan(bytes((number,)) * 32) for number in range(2)]
MICROS = START * 1_000_000
HOUR = 3_600_000_000


def words(*names: str) -> tuple[WellKnownNames, NameSet]:
    """A list, for the pipeline and for the oracle."""
    index = index_names(parse_dawg(encode_dawg(sorted(names))), SECRET)
    wild = frozenset(bytes(parse_name(name[1:])) for name in names if name.startswith(".") and name != ".")
    return index, NameSet(
        exact=frozenset(bytes(parse_name(n)) for n in names if not n.startswith(".") or n == "."), wild=wild
    )


KNOWN = [
    words("example.com.", ".example.net.", "www.example.com.", "."),
    words("www.example.net.", ".com.", "new.example."),
    words(),
]
IGNORED = [words(), words("secret.example.", ".hidden.example.", "www.example.com.")]
NETWORKS = [b"", b"192.0.2.0/25\n2001:db8:1::/48\n", b"0.0.0.0/0\n::/0\n"]

CLIENTS = [
    ipaddress.ip_address(text).packed
    for text in ("192.0.2.1", "192.0.2.200", "198.51.100.7", "2001:db8:1::7", "2001:db8:2::7", "::ffff:192.0.2.1")
] + [b"", b"\1\2\3", bytes(17), bytes(300)]
NAMES = [
    *("example.com", "WWW.Example.COM", "www.example.net", "a.b.example.net", "example.net", ".", "new.example"),
    *("secret.example", "x.Hidden.example", "other.test", "OTHER.test", "third.test"),
]


def subnet(client: bytes) -> bytes:
    """An OPT record that tells of the client."""
    data = b"\0\1\x20\0" + client[:4].ljust(4, b"\7")
    return opt(0, b"\0\x08" + len(data).to_bytes(2) + data)


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """A frame of any kind that there is."""
    kind = draw(st.integers(0, 12))
    if kind == 0:
        return Strange(random.Random(draw(st.integers(0, 1 << 32)))).frame()
    if kind == 1:
        return draw(
            st.sampled_from([b"\0", b"\xff" * 9, envelope(None), frame(response_message=b""), frame(), octets(14, b"")])
        )
    client = draw(st.sampled_from(CLIENTS))
    fields: dict[str, Any] = {"query_address": client, "response_address": draw(st.sampled_from(CLIENTS[:6]))}
    if kind == 2:
        return frame(message_type=draw(st.sampled_from([1, 5, 13])), query_message=b"\0" * 12, **fields)
    if kind == 3:
        wire = draw(st.sampled_from([b"\0", bytes(12), bytes(11), dns_message([]), dns_message([b"\x40"])]))
        return frame(response_message=wire, **fields)
    if kind == 4:
        fields |= {"family": draw(st.sampled_from([0, 1, 2, 99])), "query_port": draw(st.sampled_from([None, 1 << 20]))}
    name = parse_name(draw(st.sampled_from(NAMES)))
    wire = dns_message(
        [question(parse_name(draw(st.sampled_from(NAMES)))) if number else question(name, *draw(TYPES))
         for number in range(2 if kind == 5 else 1)],
        additionals=[subnet(client)] if kind in {6, 7} else [opt(draw(st.sampled_from([0, 16])))],
        flags=draw(st.sampled_from([0x8180, NXDOMAIN, 0x8182, 0x8185])),
    )  # fmt: skip
    return frame(response_message=wire, message_type=draw(st.sampled_from([2, 4, 6, 12])), **fields)


TYPES = st.tuples(st.sampled_from([1, 28, 15, 2, 65]), st.sampled_from([1, 1, 1, 3]))
BLOCKS = st.lists(frames(), min_size=1, max_size=12)
SETTINGS = st.fixed_dictionaries(
    {
        "key": st.integers(0, 1),
        "networks": st.sampled_from(NETWORKS),
        "ignored": st.integers(0, 1),
        "sessions": st.booleans(),
        "debug": st.booleans(),
        "spool": st.booleans(),
    }
)
PLAIN = {
    "key": 0,
    "networks": b"",
    "ignored": 0,
    "sessions": False,
    "debug": False,
    "spool": False,
}  # fmt: skip
# An address that is longer than any is not one of IPv6.
ODD = frame(family=2, query_address=bytes(17), response_address=bytes(300), response_message=response(b"\1a\0"))
STEPS = st.lists(BLOCKS | BLOCKS | SETTINGS | st.integers(-1, len(KNOWN) - 1), min_size=1, max_size=8)


def pseudonym_by(key: int) -> Callable[[bytes], bytes]:
    def pseudonym(address: bytes) -> bytes:
        if len(address) == 16 and address[:12] == bytes(10) + b"\xff\xff":
            address = address[12:]
        if len(address) not in {4, 16}:
            return bytes(len(address))
        return KEYS[key].transform(np.frombuffer(address, np.uint8).reshape(1, -1)).tobytes()

    return pseudonym


def settings_of(drawn: dict[str, Any]) -> PipelineSettings:
    return PipelineSettings(
        cryptopan=KEYS[drawn["key"]],
        pseudonym_octets=4096,
        clients=parse_ignored_clients(drawn["networks"]),
        ignored_names=IGNORED[drawn["ignored"]][0] if drawn["ignored"] else None,
        threshold=1000,
        sessions=drawn["sessions"],
        debug=drawn["debug"],
        spool=drawn["spool"],
    )


def configure(oracle: EdmOracle, drawn: dict[str, Any]) -> None:
    oracle.networks = [ipaddress.ip_network(line) for line in drawn["networks"].decode().split()]
    oracle.ignored = IGNORED[drawn["ignored"]][1]
    oracle.sessions_on = drawn["sessions"]
    oracle.pseudonym = pseudonym_by(drawn["key"])


def read(columns: Rows | None) -> list[dict[str, Any]]:
    """What a reader sees in the file."""
    if columns is None:
        return []
    table = pq.read_table(io.BytesIO(b"".join(encode_parquet(columns))))
    for name in ("response_time", "start_time"):
        place = table.schema.get_field_index(name)
        if place >= 0:
            table = table.set_column(place, name, table.column(place).cast(pa.int64()))
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def labels(entry: tuple[bytes, bool]) -> tuple[str | None, ...]:
    name, wild = entry
    found: list[str | None] = []
    while name[0]:
        found.insert(0, name[1 : 1 + name[0]].decode())
        name = name[1 + name[0] :]
    return tuple(([*found, *([""] if wild else []), *[None] * 10])[:10])


def check_interval(interval: Interval, oracle: EdmOracle, start: int) -> None:
    rows = {tuple(row[label] for label in LABELS): row for row in read(interval.histogram.columns())}
    assert set(rows) == {labels(entry) for entry in oracle.counters}
    for entry, counters in oracle.counters.items():
        row = rows[labels(entry)]
        assert {name: row[name] for name in COUNTERS if row[name]} == dict(counters)
        assert row["edm_status_bits"] == 1 + entry[1]
        assert row["start_time"] == interval.start == start
        assert row["v4client_count"] == len(oracle.clients[entry][4])
        assert row["v6client_count"] == len(oracle.clients[entry][6])
    sessions = read(interval.sessions.columns())
    assert len(sessions) == len(oracle.sessions)
    for row, wanted in zip(sessions, oracle.sessions, strict=True):
        assert {name: row[name] for name in wanted} == wanted


def check_dump(processed: Processed, oracle: EdmOracle) -> None:
    assert len(processed.debug or ()) == len(oracle.dumped)
    for one, (client, server) in zip(processed.debug or (), oracle.dumped, strict=True):
        message = Dnstap.FromString(one).message
        for field, pseudonym in (("query_address", client), ("response_address", server)):
            if message.HasField(field):
                assert getattr(message, field) == (pseudonym if len(pseudonym) <= 16 else b"")
        assert not message.HasField("query_message")


@settings(max_examples=80)
@example(PLAIN | {"sessions": True, "debug": True}, [[ODD]])
@given(SETTINGS, STEPS)
def test_agrees_with_one_frame_after_the_other(first: dict[str, Any], steps: list[Any]) -> None:
    oracle = EdmOracle(known=KNOWN[0][1], pseudonym=pseudonym_by(0))
    configure(oracle, first)
    pipeline = Pipeline(
        secret=SECRET,
        recent=RecentNames(1 << 12, refresh=HOUR),
        settings=settings_of(first),
        names=KNOWN[0][0],
        start=MICROS,
    )
    drawn, now = first, MICROS
    for step in [*steps, -1]:
        if isinstance(step, dict):
            drawn = step
            pipeline.configure(settings_of(step))
            configure(oracle, step)
        elif isinstance(step, int):
            now += 60_000_000
            started = pipeline.start
            interval = pipeline.rotate(now, names=KNOWN[step][0] if step >= 0 else None)
            assert (interval.start, interval.stop, pipeline.start) == (started, now, now)
            check_interval(interval, oracle, started)
            oracle.rotate(KNOWN[step][1] if step >= 0 else oracle.known)
        else:
            oracle.fates, oracle.sightings, oracle.dumped = Counter(), [], []
            for one in step:
                oracle.take(one)
            processed = pipeline.process(FrameBlock.of(step))
            assert sum(processed.fates.values()) == len(step)
            assert processed.fates == dict(oracle.fates)
            assert told(processed) == oracle.sightings
            assert (processed.full, processed.hook) == (None, None)
            if drawn["debug"]:
                check_dump(processed, oracle)
            else:
                assert processed.debug is None
            counted = oracle.fates[Fate.HISTOGRAM] if drawn["spool"] else 0
            assert len(processed.counted or ()) == counted
            statistics = pipeline.statistics()
            assert statistics.start == pipeline.start
            assert statistics.names == len(oracle.counters)
            assert statistics.session_rows == len(oracle.sessions)
            assert statistics.responses == sum(sum(each.values()) for each in oracle.counters.values()) // 2


def told(processed: Processed) -> list[tuple[bytes, int, int, int, int]]:
    sightings = processed.sightings
    if sightings is None:
        return []
    assert len(sightings)
    columns = (sightings.names, sightings.flags, sightings.qtype, sightings.qclass, sightings.time)
    rows = [tuple(row) for row in zip(*columns, strict=True)]
    return [(bytes(name), int(flags), int(qtype), int(qclass), int(time)) for name, flags, qtype, qclass, time in rows]


def pipeline_of(names: WellKnownNames = KNOWN[0][0], **more: Any) -> Pipeline:
    wanted = attrs.evolve(PipelineSettings(cryptopan=KEYS[0], pseudonym_octets=1 << 16), **more)
    return Pipeline(secret=SECRET, recent=None, settings=wanted, names=names, start=MICROS)


def asked(name: str, client: bytes = CLIENTS[2], **fields: Any) -> bytes:
    return frame(query_address=client, response_message=response(parse_name(name)), **fields)


def test_nothing_of_a_client_is_shown() -> None:
    pipeline = pipeline_of(sessions=True, spool=True, debug=True)
    block = FrameBlock.of([asked("example.com"), asked("other.test")])
    processed = pipeline.process(block)
    interval = pipeline.rotate(MICROS)
    shown = f"{pipeline!r} {processed!r} {interval!r} {pipeline.settings!r} {pipeline.statistics()!r}"
    assert "198" not in shown
    assert "test" not in shown
    assert processed.debug is not None
    assert CLIENTS[2] not in processed.debug.data


def test_without_a_memory_of_names_nothing_is_told_as_new() -> None:
    assert pipeline_of().process(FrameBlock.of([asked("other.test")])).sightings is None


def test_an_empty_block() -> None:
    processed = pipeline_of(sessions=True, debug=True, spool=True).process(FrameBlock.of([]))
    assert (dict(processed.fates), processed.debug, processed.counted, processed.full) == ({}, None, None, None)


def test_sessions_that_are_full_come_back_and_new_ones_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = pipeline_of(sessions=True)
    block = FrameBlock.of([asked(f"n{number}.test") for number in range(10)])
    assert pipeline.process(block).full is None
    monkeypatch.setattr(tapir.minimiser.pipeline, "SESSION_OCTETS", 2000)
    full = pipeline.process(block).full
    assert full is not None
    assert [row["label1"] for row in read(full.columns())] == [f"n{number}" for number in range(10)] * 2
    assert pipeline.statistics().session_rows == 0
    assert len(pipeline.rotate(MICROS).sessions) == 0


def test_what_is_switched_off_stays_until_the_interval_ends() -> None:
    pipeline = pipeline_of(sessions=True)
    block = FrameBlock.of([asked("other.test"), asked("example.com")])
    pipeline.process(block)
    pipeline.configure(attrs.evolve(pipeline.settings, sessions=False, threshold=7))
    pipeline.process(block)
    interval = pipeline.rotate(MICROS + 1)
    assert (len(interval.sessions), interval.histogram.responses) == (1, 2)


def test_a_new_key_makes_new_pseudonyms_from_the_next_block_on() -> None:
    pipeline = pipeline_of(sessions=True)
    block = FrameBlock.of([asked("other.test"), asked("other.test")])
    pipeline.process(block)
    pipeline.configure(attrs.evolve(pipeline.settings, spool=True))
    assert pipeline.statistics().pseudonyms.generation == 0
    pipeline.configure(attrs.evolve(pipeline.settings, cryptopan=KEYS[1]))
    assert pipeline.statistics().pseudonyms.generation == 1
    pipeline.process(block)
    pseudonyms = [int.from_bytes(pseudonym_by(key)(CLIENTS[2])) for key in (0, 0, 1, 1)]
    assert [row["source_ipv4"] for row in read(pipeline.rotate(MICROS).sessions.columns())] == pseudonyms


def test_a_clock_that_was_set_back_makes_no_interval_that_ends_before_it_begins() -> None:
    pipeline = pipeline_of()
    interval = pipeline.rotate(MICROS - HOUR)
    assert (interval.start, interval.stop) == (MICROS, MICROS)
    assert pipeline.start == MICROS - HOUR


def test_a_threshold_is_that_of_the_next_interval_and_one_that_cannot_be_changes_nothing() -> None:
    pipeline = pipeline_of(threshold=2)
    block = FrameBlock.of([asked("example.com", bytes((10, 0, 0, number))) for number in range(5)])

    def sketched(interval: Interval) -> bool:
        (row,) = read(interval.histogram.columns())
        return row["v4client_count_hll"] is not None

    pipeline.process(block)
    pipeline.configure(attrs.evolve(pipeline.settings, threshold=8))
    with pytest.raises(HllError):
        pipeline.rotate(MICROS, threshold=0)
    assert sketched(pipeline.rotate(MICROS))
    pipeline.process(block)
    assert not sketched(pipeline.rotate(MICROS, threshold=2))
    pipeline.process(block)
    assert sketched(pipeline.rotate(MICROS))


def test_what_was_counted_can_be_spooled_and_counted_again() -> None:
    pipeline = pipeline_of(spool=True)
    writer = SpoolWriter(key=bytes(32), salt=bytes(16), start=pipeline.start, threshold=20)
    spool = writer.begin
    for names in (["example.com", "x.example.net"], ["other.test"], ["www.example.com", "example.com"]):
        counted = pipeline.process(FrameBlock.of([asked(name) for name in names])).counted
        spool += writer.record(counted, pipeline.names) if counted is not None else b""
    again: Histogram = replay(spool, key=bytes(32), seed=SECRET)
    assert read(again.columns()) == read(pipeline.rotate(MICROS).histogram.columns())


def test_the_busiest_names() -> None:
    pipeline = pipeline_of()
    assert pipeline.busy(3) == ()
    for name, times in (("example.com", 3), ("a.example.net", 5), (".", 3), ("www.example.com", 1), ("no.test", 9)):
        pipeline.process(FrameBlock.of([asked(name)] * times))
    busy = [("*.example.net.", 5), ("example.com.", 3), (".", 3), ("www.example.com.", 1)]
    assert pipeline.busy(9) == tuple(busy)
    for count in range(4):
        assert pipeline.busy(count) == tuple(busy[:count])
    assert pipeline.busy(-1) == ()
    pipeline.rotate(MICROS)
    assert pipeline.busy(9) == ()


@given(st.lists(st.integers(0, 30), max_size=40), st.integers(0, 50))
def test_the_busiest_names_are_those_of_a_sort(times: list[int], count: int) -> None:
    names = [f"n{number:02}.test." for number in range(len(times))]
    histogram = Histogram(words(*names)[0], start=0, threshold=20, seed=SECRET)
    rows = np.repeat(np.arange(len(times), dtype=np.int32), times)
    ones = np.ones(len(rows), np.uint16)
    histogram.count(
        rows=rows,
        qtypes=ones,
        qclasses=ones,
        rcodes=ones,
        hashes=rows.astype(np.uint64),
        families=ones.astype(np.uint8),
    )
    found = histogram.busiest(count)
    expected = sorted(
        ((name, number) for name, number in zip(names, times, strict=True) if number), key=lambda one: -one[1]
    )
    assert [number for _, number in found] == [number for _, number in expected[:count]]
    assert set(found) <= set(expected)
    assert len(set(found)) == len(found)


def test_the_wrong_hook_is_said_once() -> None:
    pipeline = pipeline_of(names=no_names(SECRET))
    server = ipaddress.ip_address("198.51.100.53").packed
    block = FrameBlock.of([asked("other.test", server, response_address=server, message_type=4)] * 1000)
    said = [pipeline.process(block).hook for _ in range(8 * 2 * ENOUGH // 1000)]
    (sentence,) = [one for one in said if one is not None]
    assert "198.51" not in sentence


def test_the_wrong_hook_is_said_soon_where_little_comes() -> None:
    pipeline = pipeline_of(names=no_names(SECRET))
    server = ipaddress.ip_address("198.51.100.53").packed
    block = FrameBlock.of([asked("other.test", server, response_address=server, message_type=4)])
    said = [pipeline.process(block).hook for _ in range(1000)]
    assert sum([one is not None for one in said]) == 1


def test_an_option_that_tells_of_the_client_is_not_kept() -> None:
    pipeline = pipeline_of(sessions=True)
    wire = dns_message([question(Name(b"\5other\4test\0"))], additionals=[subnet(CLIENTS[2])])
    assert CLIENTS[2] in wire
    pipeline.process(FrameBlock.of([frame(query_address=CLIENTS[2], response_message=wire), asked("third.test")]))
    rows = read(pipeline.rotate(MICROS).sessions.columns())
    assert [row["response_message"] for row in rows] == [
        wire.replace(CLIENTS[2], bytes(4)),
        response(parse_name("third.test")),
    ]


def test_a_message_that_cannot_be_blanked_is_neither_kept_nor_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    recent = RecentNames(100, refresh=HOUR)
    wanted = PipelineSettings(cryptopan=KEYS[0], pseudonym_octets=0, sessions=True)
    pipeline = Pipeline(secret=SECRET, recent=recent, settings=wanted, names=KNOWN[0][0], start=MICROS)
    wire = dns_message([question(Name(b"\5other\4test\0"))], additionals=[subnet(CLIENTS[2])])
    block = FrameBlock.of([asked("example.com"), frame(response_message=wire)])
    with monkeypatch.context() as patch:
        patch.setattr(tapir.kernels.subnets, "blank", lambda *_: 0)
        with pytest.raises(ValueError, match="is none"):
            pipeline.process(block)
    statistics = pipeline.statistics()
    assert (statistics.responses, statistics.session_rows) == (0, 0)
    assert len(pipeline.process(block).sightings or ()) == 1
