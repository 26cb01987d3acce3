"""From frames to files: whatever a frame holds, it is counted once, kept once, or has an outcome; nothing gives way."""

import io
import random

import numpy as np
import pyarrow.parquet as pq
from dnstap_frames import Workload, frame, response

from tapir.codec.dawg import encode_dawg, parse_dawg
from tapir.codec.dnstap import decode
from tapir.codec.parquet import encode_parquet
from tapir.minimiser.account import OUTCOMES, Fate, Ledger
from tapir.minimiser.addresses import AddressColumn
from tapir.minimiser.columns import outcomes_of
from tapir.minimiser.histogram import Histogram
from tapir.minimiser.sessions import Sessions
from tapir.minimiser.wellknown import index_names
from tapir.model.blocks import FrameBlock
from tapir.model.names import format_name

SECRET = bytes(range(16))


def mutated(rng: random.Random, one: bytes) -> bytes:
    octets = bytearray(one)
    for _ in range(rng.choice([0, 0, 1, 1, 2, 5])):
        match rng.randrange(4):
            case 0:
                octets[rng.randrange(len(octets))] = rng.randrange(256)
            case 1:
                octets[rng.randrange(len(octets))] ^= 1 << rng.randrange(8)
            case 2 if len(octets) > 2:
                del octets[rng.randrange(1, len(octets)) :]
            case _:
                octets.insert(rng.randrange(len(octets) + 1), rng.randrange(256))
    return bytes(octets) or b"\0"


def test_mutated_frames_end_in_a_file_or_with_a_reason(campaign) -> None:
    rng = campaign.random()
    workload = Workload(known=300, clients=200, others=100, known_share=0.5)
    words = {format_name(name) for name in workload.known_names()[::2]}
    words |= {"." + format_name(name) for name in workload.known_names()[1::2]} | {".other.example.", "."}
    names = index_names(parse_dawg(encode_dawg(sorted(words))), SECRET)
    ignored = index_names(parse_dawg(encode_dawg(["h1.other.example."])), SECRET)
    frames = [*workload.frames(400), frame(response_message=response(b"\0")), frame(response_message=b"")]
    histogram = Histogram(names, start=1, threshold=2, seed=SECRET)
    sessions = Sessions()
    ledger = Ledger()
    for _ in range(campaign.rounds(400)):
        block = decode(FrameBlock.of([mutated(rng, rng.choice(frames)) for _ in range(500)]), SECRET)
        ledger.receive(len(block))
        outcomes = block.outcome.copy()
        passed = ignored.ask_all(block, outcomes)
        outcomes[passed] = 255
        rows = names.rows_of(block, outcomes)
        counted = histogram.add(block, rows)
        rest = np.flatnonzero((rows < 0) & (outcomes == 0))
        sources, destinations = (
            AddressColumn.gathered(block.frames.data, starts[rest], lengths[rest])
            for starts, lengths in (
                (block.query_address_at, block.query_address_length),
                (block.response_address_at, block.response_address_length),
            )
        )
        sessions.add(block, rest, sources, destinations)
        ledger.settle({Fate.HISTOGRAM: len(counted), Fate.OTHER: len(rest), Fate.QUESTION_NAME: int(passed.sum())})
        for outcome, count in outcomes_of(block).items():
            if outcome in OUTCOMES:
                ledger.settle({OUTCOMES[outcome]: count})
    account = ledger.account()
    assert account.in_flight == 0
    assert account.count(Fate.HISTOGRAM) == histogram.responses > 0
    assert account.count(Fate.OTHER) == len(sessions) > 0
    for columns in (histogram.columns(), sessions.columns()):
        assert columns is not None
        table = pq.read_table(io.BytesIO(b"".join(encode_parquet(columns))))
        table.validate(full=True)
        assert table.num_rows == len(columns)
