"""Ten million frames with octets changed: all decode to something, a sample to what the oracle says."""

import random
from typing import Any

import numpy as np
from dnstap_frames import Workload
from dnstap_oracle import expected
from dnstap_strange import Strange

import tapir.kernels.dnstap
from tapir.codec.dnstap import Outcome, decode
from tapir.kernels import compiled
from tapir.minimiser.columns import outcomes_of
from tapir.model.blocks import FrameBlock

FRAMES = 2000
"""in a block"""
SAMPLE = 10
"""of which so many are shown to the oracle"""


def originals(rng: random.Random) -> FrameBlock:
    """Half of them as resolvers send them, half as nobody should."""
    strange = Strange(rng)
    traffic = Workload(clients=500, known=500, others=500, seed=rng.randrange(2**32)).frames(FRAMES // 2)
    return FrameBlock.of(traffic + [strange.frame() for _ in range(FRAMES // 2)])


def changed(block: FrameBlock, rng: random.Random) -> FrameBlock:
    """The block with three octets a frame changed, some of which are lengths that nobody looks at."""
    data = np.frombuffer(block.data, dtype=np.uint8).copy()
    numbers = np.random.default_rng(rng.randrange(2**64))
    places = numbers.integers(0, len(data), size=3 * FRAMES)
    data[places] = numbers.choice(
        np.array([0, 1, 12, 63, 64, 127, 128, 192, 255, *range(256)], dtype=np.uint8), 3 * FRAMES
    )
    return FrameBlock(data=data.tobytes(), offsets=block.offsets)


def test_ten_million_changed_frames(campaign: Any) -> None:
    rng = campaign.random()
    rounds = campaign.rounds(10_000_000 // FRAMES)
    if not compiled(tapir.kernels.dnstap):
        rounds = max(1, rounds // 100)
    seen: set[Outcome] = set()
    base = originals(rng)
    for number in range(rounds):
        if number % 50 == 49:
            base = originals(rng)
        block = changed(base, rng)
        decoded = decode(block, rng.randbytes(16))
        counts = outcomes_of(decoded)
        assert sum(counts.values()) == FRAMES
        seen |= counts.keys()
        assert int((decoded.name_at + decoded.name_length).max()) <= len(decoded.names)
        assert int((decoded.sent_at + decoded.name_length).max()) <= len(decoded.names)
        frames = list(block)
        for row in rng.sample(range(FRAMES), SAMPLE):
            wanted = expected(frames[row])
            assert decoded.outcome[row] == wanted["outcome"], frames[row].hex()
            if wanted["outcome"] == Outcome.OK:
                got = (decoded.name(row), decoded.name_as_sent(row), decoded.rcode[row], decoded.additionals[row])
                keys = ("name", "name_as_sent", "rcode", "additionals")
                assert got == tuple(wanted[key] for key in keys), frames[row].hex()
    assert seen == set(Outcome)
