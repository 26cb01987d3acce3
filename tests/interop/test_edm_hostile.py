"""Senders that lie, say nothing, or come again and again: EDM serves on, keeps its bounds, and counts them."""

import contextlib
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from benching import anonymous_memory
from dnstap_frames import Workload
from dnstap_strange import Strange
from edm import Edm, Stream, answer_frame, send
from framestreams import connect_unix
from peers import wait_until

from tapir.codec.framestream import DNSTAP, Sender
from tapir.model.blocks import FrameBlock
from tapir.model.names import format_name

WORKLOAD: Final = Workload(clients=5_000, known=5_000, others=5_000)
MEMORY: Final = 600 << 20
"""what it may take, whatever comes"""


@pytest.fixture
def serving(edm: Edm) -> Edm:
    """An EDM that runs, and has well-known names."""
    edm.write_well_known({*(format_name(name) for name in WORKLOAD.known_names()), "known."})
    edm.own |= {"input-connections": 1200, "new-qname-outbox": 10_000}
    edm.start()
    return edm


def serves(edm: Edm) -> None:
    """Whether it does what it is there for, and says so; what it takes of memory is bounded."""
    before = edm.account()
    send(edm.socket, [answer_frame("known.") for _ in range(50)])
    after = edm.settled(before.received + 50)
    assert after.settled["minimised.histogram"] == before.settled["minimised.histogram"] + 50
    assert edm.daemon is not None
    assert anonymous_memory(edm.daemon.process.pid) < MEMORY
    assert "Traceback" not in edm.daemon.output()


def mutated(data: bytes, rng: np.random.Generator) -> Iterator[bytes]:
    """The frames in `data`, again and again, each time with other octets of them changed; their lengths are right."""
    octets = np.frombuffer(data, np.uint8)
    inside = np.ones(len(octets), bool)
    at = 0
    while at < len(data):
        inside[at : at + 4] = False
        at += 4 + int.from_bytes(data[at : at + 4])
    places = np.flatnonzero(inside)
    while True:
        changed = octets.copy()
        # From one octet in two frames to some in each: what is wrong everywhere is refused too early to be of interest.
        count = len(places) // int(rng.choice((20, 60, 150, 300)))
        chosen = rng.choice(places, count)
        kind = int(rng.integers(4))
        if kind == 0:
            changed[chosen] ^= np.uint8(1) << rng.integers(0, 8, count, dtype=np.uint8)
        elif kind == 1:
            changed[chosen] = rng.integers(0, 256, count, dtype=np.uint8)
        elif kind == 2:
            changed[chosen] = rng.choice(np.array((0, 1, 63, 64, 127, 128, 192, 255), np.uint8), count)
        else:
            changed[chosen] = changed[rng.permutation(chosen)]
        yield changed.tobytes()


def test_mutated_frames(serving: Edm, campaign: Any) -> None:
    strange = Strange(campaign.random())
    frames = WORKLOAD.frames(15_000) + [strange.frame() for _ in range(5_000)]
    data = FrameBlock.of(frames).data
    rounds = campaign.rounds(10_000_000) // len(frames)
    with Stream(serving.socket) as stream:
        for _, octets in zip(range(rounds), mutated(data, np.random.default_rng(campaign.seed)), strict=False):
            stream.send_octets(octets)
        stream.finish()
    account = serving.settled(rounds * len(frames), seconds=600)
    for kind in ("minimised", "ignored", "malformed"):
        assert account.total(kind), kind
    assert account.total("dropped") == 0
    serves(serving)
    serving.rotate()
    assert serving.stop() == 0


def shaken(path: Path) -> socket.socket:
    """A connection on which frames may come."""
    sender = Sender(bidirectional=True)
    sock = connect_unix(path)
    sock.settimeout(60)
    sock.sendall(sender.start())
    while not sender.open:
        octets = sock.recv(4096)
        assert octets, "the receiver closed"
        sock.sendall(sender.feed(octets))
    return sock


def hung_up(sock: socket.socket) -> bool:
    """Whether the other side closes."""
    with contextlib.suppress(ConnectionError):
        return sock.recv(4096) == b""
    return True


def test_lengths_that_nobody_has_room_for(serving: Edm, campaign: Any) -> None:
    for length in (0xFFFFFFFF, 0x80000000, 0x7FFFFFFF, 98_305):
        with shaken(serving.socket) as sock:
            sock.sendall(struct.pack("!I", length))
            with contextlib.suppress(ConnectionError):
                for _ in range(100):
                    sock.sendall(bytes(65536))
            assert hung_up(sock)
    # Control frames of such lengths, before and after the start.
    for connect in (connect_unix, shaken):
        with connect(serving.socket) as sock:
            sock.settimeout(60)
            sock.sendall(struct.pack("!II", 0, 0xFFFFFFFF))
            assert hung_up(sock)
    rng = campaign.random()
    for _ in range(campaign.rounds(2_000)):
        with connect_unix(serving.socket) as sock, contextlib.suppress(ConnectionError):
            sock.sendall(rng.choice((b"", b"\0\0\0\0", DNSTAP, struct.pack("!II", 0, 8))) + rng.randbytes(200))
    failed = dict(serving.part("input")["failed"])
    assert sum(failed.values()) >= 6, failed
    serves(serving)
    assert serving.stop() == 0


def test_connections_that_never_speak(serving: Edm, campaign: Any) -> None:
    count = 1_000 if campaign.full else 300
    with contextlib.ExitStack() as stack:
        silent = []
        for _ in range(count):
            sock = stack.enter_context(connect_unix(serving.socket))
            sock.settimeout(60)
            silent.append(sock)
        serves(serving)
        assert all(hung_up(sock) for sock in silent)
    wait_until(lambda: dict(serving.part("input")["failed"]).get("handshake-deadline", 0) >= count, what="the count")
    serves(serving)
    # Those who began, and say no more than half a frame, may stay; what is held for each is bounded.
    with contextlib.ExitStack() as stack:
        for number in range(count):
            begun = stack.enter_context(shaken(serving.socket))
            begun.sendall(struct.pack("!I", 1000)[: number % 5] + bytes(number % 5 // 4))
        assert serving.part("input")["open"] >= count
        serves(serving)
    wait_until(lambda: not serving.part("input")["open"], what="all to be gone")
    assert serving.stop() == 0


def test_more_connections_than_may_be(edm: Edm) -> None:
    edm.own["input-connections"] = 5
    edm.write_well_known(["known."])
    edm.start()
    with contextlib.ExitStack() as stack:
        kept = [stack.enter_context(Stream(edm.socket)) for _ in range(5)]
        for _ in range(20):
            with pytest.raises(ConnectionError):
                Stream(edm.socket)
        for stream in kept:
            stream.send([answer_frame("known.")])
            stream.finish()
    assert edm.settled(5).settled["minimised.histogram"] == 5
    assert edm.part("input")["refused"] == 20
    assert edm.stop() == 0


def test_a_sender_that_reconnects_all_the_time(serving: Edm, campaign: Any) -> None:
    rng = campaign.random()
    sent = 0
    for number in range(1_000 if campaign.full else 200):
        with Stream(serving.socket) as stream:
            count = rng.randrange(20)
            stream.send([answer_frame("known.") for _ in range(count)])
            sent += count
            if number % 3 == 0:
                stream.finish()
            elif number % 3 == 1:
                # It is gone in the middle of a frame: those before it count.
                stream.send_octets(struct.pack("!I", 500) + bytes(rng.randrange(500)))
    account = serving.settled(sent)
    assert account.settled["minimised.histogram"] == sent
    wait_until(lambda: not serving.part("input")["open"], what="all to be gone")
    serves(serving)
    assert serving.stop() == 0
