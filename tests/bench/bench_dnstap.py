"""What decoding a dnstap frame costs, next to protobuf (upb) with a parser of the question in Python.

Both read the same blocks in turns in one run, on one core. The peer looks at the question and no further, we check
every record of the message. What both say of each frame is compared first.
"""

import os
import time
from typing import Final

from benching import ROUNDS, Ratios
from dnstap_frames import Workload, blocks
from dnstap_oracle import Dnstap
from google.protobuf.internal import api_implementation  # type: ignore[import-untyped]

import tapir.kernels.dnstap
from tapir.codec.dnstap import DecodedBlock, Outcome, decode
from tapir.kernels import compiled
from tapir.model.blocks import FrameBlock

FRAMES: Final = 100_000
PASSES: Final = 10
"""of ours to one of the peer, so that both take as long"""
REACH: Final = 5.0
AIM: Final = 15.0
SECRET: Final = os.urandom(16)

Row = tuple[bytes, int, int, int, int, bytes, bytes, int, int, int, int, int]


def read_as_peer(frames: list[bytes]) -> list[Row]:
    """What protobuf and a few lines of Python make of the frames."""
    rows = []
    for one in frames:
        dnstap = Dnstap.FromString(one)
        message = dnstap.message
        wire = message.response_message
        at = 12
        while length := wire[at]:
            at += length + 1
        at += 1
        rows.append(
            (
                wire[12:at].lower(),
                wire[at] << 8 | wire[at + 1],
                wire[at + 2] << 8 | wire[at + 3],
                wire[3] & 15,
                message.type,
                message.query_address,
                message.response_address,
                message.query_port,
                message.response_port,
                message.socket_family,
                message.socket_protocol,
                message.response_time_sec * 1_000_000 + message.response_time_nsec // 1000,
            )
        )
    return rows


def rows_of(block: DecodedBlock) -> list[Row]:
    """The same of a block of ours."""
    columns = (
        block.qtype, block.qclass, block.rcode, block.message_type, block.query_port, block.response_port, block.family,
        block.protocol, block.time,
    )  # fmt: skip
    lists = [column.tolist() for column in columns]
    return [
        (block.name(row), *values[:4], block.query_address(row), block.response_address(row), *values[4:])
        for row, values in enumerate(zip(*lists, strict=True))
    ]


def time_decode(given: list[FrameBlock]) -> float:
    """Frames a second."""
    begun = time.perf_counter()
    for _ in range(PASSES):
        for block in given:
            decode(block, SECRET)
    return PASSES * FRAMES / (time.perf_counter() - begun)


def time_peer(given: list[list[bytes]]) -> float:
    """Frames a second, without what it takes to cut them out."""
    begun = time.perf_counter()
    for frames in given:
        read_as_peer(frames)
    return FRAMES / (time.perf_counter() - begun)


def test_decoding() -> None:
    assert compiled(tapir.kernels.dnstap), "the kernels are not compiled"
    assert api_implementation.Type() == "upb"
    given = blocks(Workload().frames(FRAMES))
    cut = [list(block) for block in given]
    for block, frames in zip(given, cut, strict=True):
        decoded = decode(block, SECRET)
        assert not decoded.outcome.any(), Outcome(int(decoded.outcome.max()))
        assert rows_of(decoded) == read_as_peer(frames)
    rates = Ratios("dnstap decoding, frames a second")
    for _ in range(ROUNDS):
        peer = time_peer(cut)
        rates.add(time_decode(given), peer)
    rates.show("frames/s", reach=f"{REACH}, aim {AIM}")
    assert rates.median >= REACH
