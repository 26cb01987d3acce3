"""What looking names up, counting and keeping sessions cost a frame, against dicts of Python doing the same.

The peer is given its names as bytes, whose hashes Python keeps, and its columns as lists, all of which it would have to
make of the block first. Sessions have no peer: their share of a frame's cost is shown, and what a minute's end takes.
"""

import time
from collections.abc import Callable

import numpy as np
import pytest
from benching import ROUNDS, Ratios
from dnstap_frames import Workload, blocks

from tapir.codec.dawg import encode_dawg, parse_dawg
from tapir.codec.dnstap import DecodedBlock, decode
from tapir.codec.parquet import encode_parquet
from tapir.kernels import compiled, wellknown
from tapir.minimiser.addresses import AddressColumn
from tapir.minimiser.histogram import Histogram
from tapir.minimiser.sessions import Sessions
from tapir.minimiser.wellknown import WellKnownNames, index_names
from tapir.model.names import format_name

FRAMES = 60_000
KNOWN = 100_000
LOOKUP_REACH, COUNT_REACH = 1.0, 0.5
SECRET = bytes(range(16))

pytestmark = pytest.mark.skipif(not compiled(wellknown), reason="the kernels are not compiled")


@pytest.fixture(scope="module")
def traffic() -> tuple[WellKnownNames, list[DecodedBlock]]:
    """The list, and frames that ask for its names and for others, decoded."""
    workload = Workload(known=KNOWN, others=20_000)
    words = sorted({format_name(name) for name in workload.known_names()})
    started = time.perf_counter()
    names = index_names(parse_dawg(encode_dawg(words)), SECRET)
    print(f"a table of {len(names)} names, DAWG included: {time.perf_counter() - started:.2f} s")
    return names, [decode(block, SECRET) for block in blocks(workload.frames(FRAMES))]


def timed(work: Callable[[], object]) -> float:
    """Nanoseconds a frame, of this thread alone: what others do on the machine is no cost of either side."""
    started = time.thread_time()
    work()
    return (time.thread_time() - started) / FRAMES * 1e9


def test_looking_up_against_a_dict(traffic: tuple[WellKnownNames, list[DecodedBlock]]) -> None:
    names, decoded = traffic
    ends = names.offsets.tolist()
    data = names.data.tobytes()
    table = {data[ends[row] : ends[row + 1]]: row for row in range(len(names))}
    asked = [[bytes(block.name(row)) for row in range(len(block))] for block in decoded]
    found = [names.rows_of(block, block.outcome).tolist() for block in decoded]
    assert found == [[table.get(name, -1) for name in block] for block in asked]
    ratios = Ratios("well-known look-up ÷ dict")
    for _ in range(ROUNDS):
        ratios.add(
            timed(lambda: [names.rows_of(block, block.outcome) for block in decoded]),
            timed(lambda: [[table.get(name, -1) for name in block] for block in asked]),
        )
    ratios.show("ns a frame", reach=f"≤ {LOOKUP_REACH}")
    assert ratios.median <= LOOKUP_REACH


def test_counting_against_dicts(traffic: tuple[WellKnownNames, list[DecodedBlock]]) -> None:
    names, decoded = traffic
    rows = [names.rows_of(block, block.outcome) for block in decoded]
    columns = [
        (found.tolist(), block.qtype.tolist(), block.qclass.tolist(), block.rcode.tolist(), block.query_address)
        for found, block in zip(rows, decoded, strict=True)
    ]
    types, rcodes = {1: 0, 28: 1, 15: 2, 2: 3}, {0: 6, 3: 7, 2: 8}

    def ours() -> Histogram:
        histogram = Histogram(names, start=0, threshold=20, seed=SECRET)
        for block, found in zip(decoded, rows, strict=True):
            histogram.add(block, found)
        return histogram

    def peer() -> dict[int, tuple[list[int], set[bytes]]]:
        counts: dict[int, tuple[list[int], set[bytes]]] = {}
        for found, qtypes, qclasses, codes, address in columns:
            for number, (row, qtype, qclass, code) in enumerate(zip(found, qtypes, qclasses, codes, strict=True)):
                if row < 0:
                    continue
                entry = counts.get(row)
                if entry is None:
                    entry = counts[row] = ([0] * 10, set())
                entry[0][types.get(qtype, 4) if qclass == 1 else 5] += 1
                entry[0][rcodes.get(code, 9)] += 1
                entry[1].add(address(number))
        return counts

    assert ours().responses == sum(sum(counters[6:]) for counters, _ in peer().values())
    ratios = Ratios("counters and clients ÷ dicts and sets")
    for _ in range(ROUNDS):
        ratios.add(timed(ours), timed(peer))
    ratios.show("ns a frame", reach=f"≤ {COUNT_REACH}")
    assert ratios.median <= COUNT_REACH
    histogram = ours()
    started = time.perf_counter()
    table = histogram.columns()
    assert table is not None
    split = time.perf_counter()
    size = sum(len(part) for part in encode_parquet(table))
    print(
        f"a minute's end: {len(table)} names to columns {1e3 * (split - started):.0f} ms, "
        f"to {size} octets of Parquet {1e3 * (time.perf_counter() - split):.0f} ms"
    )


def test_sessions_of_every_twentieth_frame(traffic: tuple[WellKnownNames, list[DecodedBlock]]) -> None:
    names, decoded = traffic
    rows = [np.flatnonzero(names.rows_of(block, block.outcome) < 0) for block in decoded]
    pseudonyms = [
        [
            AddressColumn.gathered(block.frames.data, starts[found], lengths[found])
            for starts, lengths in (
                (block.query_address_at, block.query_address_length),
                (block.response_address_at, block.response_address_length),
            )
        ]
        for block, found in zip(decoded, rows, strict=True)
    ]

    def keep() -> Sessions:
        sessions = Sessions()
        for block, found, (sources, destinations) in zip(decoded, rows, pseudonyms, strict=True):
            sessions.add(block, found, sources, destinations)
        return sessions

    cost = min(timed(keep) for _ in range(ROUNDS))
    sessions = keep()
    started = time.perf_counter()
    table = sessions.columns()
    assert table is not None
    size = sum(len(part) for part in encode_parquet(table))
    took = time.perf_counter() - started
    print(
        f"sessions: {cost:.0f} ns a frame of which {len(sessions) / FRAMES:.1%} are kept; {len(sessions)} rows "
        f"({sessions.octets} octets) to {size} octets of Parquet {1e3 * took:.0f} ms"
    )
