"""What a frame costs on its way through the whole pipeline, in one thread, and where that goes.

Decoding has a peer of its own (bench_dnstap); here it is the measure of the rest, which is to cost no more than a few
times as much. Absolute figures are shown and gate nothing.
"""

import time

import attrs
import pytest
from benching import ROUNDS, Ratios
from dnstap_frames import Workload, blocks

from tapir.codec.cryptopan import CryptoPan
from tapir.codec.dawg import encode_dawg, parse_dawg
from tapir.codec.dnstap import decode
from tapir.kernels import compiled, wellknown
from tapir.minimiser.ignoring import parse_ignored_clients
from tapir.minimiser.novelty import RecentNames
from tapir.minimiser.pipeline import Pipeline, PipelineSettings
from tapir.minimiser.wellknown import WellKnownNames, index_names
from tapir.model.blocks import FrameBlock
from tapir.model.names import format_name

FRAMES = 60_000
KNOWN = 100_000
DECODE_REACH, SESSIONS_REACH = 5.0, 0.4
SECRET = bytes(range(16))
PLAIN = PipelineSettings(cryptopan=CryptoPan(bytes(range(32))), pseudonym_octets=64 << 20)

pytestmark = pytest.mark.skipif(not compiled(wellknown), reason="the kernels are not compiled")

Traffic = tuple[WellKnownNames, list[FrameBlock]]


@pytest.fixture(scope="module")
def traffic() -> Traffic:
    """A list of names, and frames of which 95 % ask for one of them."""
    workload = Workload(known=KNOWN, others=20_000)
    words = sorted({format_name(name) for name in workload.known_names()})
    return index_names(parse_dawg(encode_dawg(words)), SECRET), list(blocks(workload.frames(FRAMES)))


def decoded(taken: list[FrameBlock]) -> float:
    """Nanoseconds a frame, of this thread alone: what others do on the machine is no cost of either side."""
    started = time.thread_time()
    for block in taken:
        decode(block, SECRET)
    return (time.thread_time() - started) / FRAMES * 1e9


def processed(traffic: Traffic, **more: object) -> float:
    """Nanoseconds a frame, once names and clients were met: as in all of a minute but its first seconds."""
    names, taken = traffic
    settings = attrs.evolve(PLAIN, **more)  # type: ignore[arg-type]
    recent = RecentNames(1 << 20, refresh=3_600_000_000)
    pipeline = Pipeline(secret=SECRET, recent=recent, settings=settings, names=names, start=0)
    for block in taken:
        pipeline.process(block)
    started = time.thread_time()
    for block in taken:
        pipeline.process(block)
    return (time.thread_time() - started) / FRAMES * 1e9


def test_all_of_it_against_decoding_alone(traffic: Traffic) -> None:
    ratios = Ratios("pipeline ÷ decoding")
    for _ in range(ROUNDS):
        ratios.add(processed(traffic), decoded(traffic[1]))
    ratios.show("ns a frame", reach=f"≤ {DECODE_REACH}")
    assert ratios.median <= DECODE_REACH


def test_sessions_against_none(traffic: Traffic) -> None:
    """As rates: the frames that a second takes with sessions ÷ those that it takes without."""
    ratios = Ratios("frames/s with sessions ÷ without")
    for _ in range(ROUNDS):
        ratios.add(1e9 / processed(traffic, sessions=True), 1e9 / processed(traffic))
    ratios.show("frames/s", reach=f"≥ {SESSIONS_REACH}")
    assert ratios.median >= SESSIONS_REACH


def test_what_can_be_switched_on(traffic: Traffic) -> None:
    clients = parse_ignored_clients(b"".join(b"172.16.%d.0/24\n" % number for number in range(256)))
    ignored = index_names(parse_dawg(encode_dawg([".hidden.example.", "secret.example."])), SECRET)
    switches: dict[str, dict[str, object]] = {
        "nothing": {},
        "clients to ignore": {"clients": clients},
        "names to ignore": {"ignored_names": ignored},
        "the spool's columns": {"spool": True},
        "sessions": {"sessions": True},
        "all": {"clients": clients, "ignored_names": ignored, "spool": True, "sessions": True},
    }
    for what, more in switches.items():
        print(f"{what}: {min(processed(traffic, **more) for _ in range(3)):.0f} ns a frame")
