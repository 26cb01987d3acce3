"""Transfers are read eagerly, fall back, and end: in virtual time, from streams that a test writes to."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import trio
import trio.testing

from tapir.model.errors import TapirError
from tapir.transport.streams import PeerGone
from tapir.transport.transfer import Patience, PrimaryFailed, TcpConnector, ask, fetch

PEER = ("192.0.2.1", 53)
PATIENCE = Patience()


class Wrong(TapirError):
    pass


class Counting:
    """An exchange that wants so many octets."""

    def __init__(self, wanted: int, *, other: "Counting | None" = None, wrong: bool = False) -> None:
        self.request = b"q%d" % wanted
        self.wanted = wanted
        self.got = 0
        self.feeds: list[int] = []
        self.other = other
        self.wrong = wrong

    def feed(self, octets: Any, *, now: int) -> bool:
        assert now == 5
        self.feeds.append(len(octets))
        self.got += len(octets)
        if self.wrong:
            raise Wrong("no")
        return self.got >= self.wanted

    def end(self) -> None:
        raise Wrong("cut off")

    def result(self) -> int:
        return self.got

    def instead(self, error: TapirError, *, now: int) -> "Counting | None":
        return self.other


class Stream:
    """A stream that says what a script yields: octets, or seconds to wait first; then it stays silent."""

    peer = PEER

    def __init__(self, script: Sequence[bytes | float], *, broken: bool = False) -> None:
        self.script = list(script)
        self.sent: list[bytes] = []
        self.broken = broken
        self.aborted = False
        self.ended = False

    async def receive(self) -> bytes:
        while self.script:
            what = self.script.pop(0)
            if isinstance(what, bytes):
                await trio.lowlevel.checkpoint()
                return what
            await trio.sleep(what)
        if self.broken:
            raise PeerGone("reset")
        await trio.sleep_forever()
        raise AssertionError

    async def send(self, pieces: Sequence[Any], *, patience: float) -> None:
        self.sent += map(bytes, pieces)

    async def end(self) -> None:
        self.ended = True

    def close(self) -> None:
        self.aborted = True

    def abort(self) -> None:
        self.aborted = True


class Connector:
    peer = PEER

    def __init__(self, *streams: Stream) -> None:
        self.streams = list(streams)
        self.given: list[Stream] = []

    async def connect(self, *, patience: Patience) -> Stream:
        self.given.append(self.streams.pop(0))
        return self.given[-1]


async def fetched(connector: Connector, exchange: Counting, **keys: Any) -> int:
    return await fetch(connector, exchange, patience=Patience(**keys), clock=lambda: 5)


async def test_asks_reads_and_hangs_up(autojump_clock: trio.testing.MockClock) -> None:
    connector = Connector(Stream([b"abc", 19.0, b"de", b"more"]))
    assert await fetched(connector, Counting(5)) >= 5
    [stream] = connector.given
    assert (stream.sent, stream.ended, trio.current_time()) == ([b"\0\2q5"], True, 19.0)


@pytest.mark.parametrize(
    ("script", "keys", "reason", "at"),
    [
        ([], {}, "idle", 20.0),
        ([b"a", 21.0, b"b"], {}, "idle", 20.0),
        ([b"a", 1.0] * 1000, {}, "slow", 30.0),
        ([bytes(1024), 1.0] * 1000, {"overall": 100.0}, "overall", 100.0),
        ([bytes(400), 1.0] * 40 + [bytes(16384), 1.0] * 60, {"least_octets": 10_000}, "idle", 119.0),
    ],
)
async def test_no_wait_is_without_end(
    autojump_clock: trio.testing.MockClock, script: Any, keys: Any, reason: str, at: float
) -> None:
    connector = Connector(Stream(script))
    with pytest.raises(PrimaryFailed, match=r"192\.0\.2\.1:53") as caught:
        await fetched(connector, Counting(10**9), **keys)
    assert (caught.value.reason, caught.value.peer) == (reason, PEER)
    assert trio.current_time() == pytest.approx(at, abs=1.01)
    assert connector.given[0].aborted


@pytest.mark.parametrize(
    ("stream", "wrong", "error"),
    [
        (Stream([b"abc", b""]), False, Wrong),
        (Stream([b"abc"], broken=True), False, PrimaryFailed),
        (Stream([b"abc"]), True, Wrong),
    ],
)
async def test_what_fails_is_asked_otherwise_over_a_new_connection(
    autojump_clock: trio.testing.MockClock, stream: Stream, wrong: bool, error: type[TapirError]
) -> None:
    script, broken = list(stream.script), stream.broken
    with pytest.raises(error):
        await fetched(Connector(Stream(script, broken=broken)), Counting(9, wrong=wrong))
    connector = Connector(Stream(script, broken=broken), Stream([b"whole"]))
    assert await fetched(connector, Counting(9, wrong=wrong, other=Counting(5))) == 5
    assert [one.sent for one in connector.given] == [[b"\0\2q9"], [b"\0\2q5"]]
    assert all(one.aborted for one in connector.given)


async def test_an_answer_that_is_complete_counts_although_the_stream_breaks(
    autojump_clock: trio.testing.MockClock,
) -> None:
    assert await fetched(Connector(Stream([b"abcde"], broken=True)), Counting(5)) == 5
    assert await fetched(Connector(Stream([b"abcde", b""])), Counting(5)) == 5


async def test_large_answers_go_to_a_worker() -> None:
    blocks = [bytes(64 * 1024)] * 200
    exchange = Counting(len(blocks) * 64 * 1024)
    assert await fetched(Connector(Stream(blocks)), exchange) == exchange.wanted


# -- single questions


class Udp:
    def __init__(self, *answers: bytes | OSError | None) -> None:
        self.answers = list(answers)

    async def exchange(self, address: Any, message: bytes, *, is_answer: Callable[[bytes], bool]) -> bytes:
        answer = self.answers.pop(0)
        if answer is None:
            await trio.sleep_forever()
        if isinstance(answer, OSError):
            raise answer
        assert isinstance(answer, bytes)
        assert is_answer(answer)
        return answer


ANSWER = b"\0\7\x84\0 answer"
CUT = b"\0\7\x86\0"
FRAMED = b"\0\x0b" + ANSWER


@pytest.mark.parametrize(
    ("answers", "streams", "at"),
    [
        ([ANSWER], 0, 0.0),
        ([CUT], 1, 0.0),
        ([None, ANSWER], 0, 2.0),
        ([None, None, None], 1, 6.0),
        ([OSError("nobody"), OSError("nobody"), OSError("nobody")], 1, 0.0),
    ],
)
async def test_a_question_goes_over_udp_and_where_that_is_of_no_use_over_tcp(
    autojump_clock: trio.testing.MockClock, answers: Any, streams: int, at: float
) -> None:
    connector = Connector(Stream([b"\0\3any" + FRAMED[:4], FRAMED[4:]]))

    def is_answer(wire: bytes) -> bool:
        return wire[:2] == b"\0\7"

    udp: Any = Udp(*answers)
    assert await ask(connector, b"question", is_answer=is_answer, patience=PATIENCE, udp=udp) == ANSWER
    assert (len(connector.given), trio.current_time()) == (streams, at)


@pytest.mark.parametrize(
    ("stream", "reason"),
    [(Stream([]), "idle"), (Stream([b""]), "gone"), (Stream([b"\0"], broken=True), "gone")],
)
async def test_a_question_without_an_answer_fails(
    autojump_clock: trio.testing.MockClock, stream: Stream, reason: str
) -> None:
    with pytest.raises(PrimaryFailed) as caught:
        await ask(Connector(stream), b"question", is_answer=lambda wire: True, patience=PATIENCE)
    assert caught.value.reason == reason
    assert stream.aborted


async def test_a_primary_that_is_not_there_is_told_so(free_port: Callable[[], int]) -> None:
    with pytest.raises(PrimaryFailed, match="refused") as caught:
        await TcpConnector(peer=("127.0.0.1", free_port())).connect(patience=PATIENCE)
    assert caught.value.reason == "connect"
