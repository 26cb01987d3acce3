"""Rows of a block, and names taken out of it."""

import numpy as np
from dnstap_frames import Workload, envelope, frame, number, response
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.dnstap import DecodedBlock, Outcome, decode
from tapir.minimiser.columns import accepted, client_rows, names_of, outcomes_of
from tapir.model.blocks import FrameBlock

NAMES = [b"\1a\0", b"\3WwW\1a\0", b"\0", b"\1B\0"]
BLOCK = decode(FrameBlock.of([frame(response_message=response(name)) for name in NAMES]), bytes(16))


def block_of(*frames: bytes) -> DecodedBlock:
    return decode(FrameBlock.of(frames), bytes(16))


def test_rows_by_how_far_they_came() -> None:
    block = block_of(
        b"\0",
        envelope(None),
        frame(message_type=5),
        frame(),
        frame(response_message=b"short"),
        frame(response_message=bytes(12)),
        frame(response_message=response(b"\1a\0")),
        number(15, 1),
    )
    assert block.outcome.tolist() == [1, 2, 3, 4, 5, 6, 0, 2]
    assert accepted(block).tolist() == [6]
    assert client_rows(block).tolist() == [3, 4, 5, 6]
    assert outcomes_of(block) == {
        Outcome.OK: 1,
        Outcome.MALFORMED: 1,
        Outcome.NO_MESSAGE: 2,
        Outcome.QUERY: 1,
        Outcome.NO_DNS: 1,
        Outcome.UNPARSABLE: 1,
        Outcome.NO_QUESTION: 1,
    }
    assert outcomes_of(block_of()) == {}


@given(st.lists(st.integers(0, len(NAMES) - 1)))
def test_names_of_rows(rows: list[int]) -> None:
    numbers = np.array(rows, dtype=np.intp)
    assert list(names_of(BLOCK, numbers, as_sent=True)) == [NAMES[row] for row in rows]
    assert list(names_of(BLOCK, numbers)) == [NAMES[row].lower() for row in rows]


def test_names_of_traffic() -> None:
    block = block_of(*Workload(clients=10, known=20, others=10).frames(50))
    assert list(names_of(block, accepted(block))) == [block.name(row) for row in range(50)]
