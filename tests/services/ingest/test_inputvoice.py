"""What the log says of connections: each trouble once an hour at most, its end once, and nobody's address."""

import logging

import pytest
import trio
from trio.testing import MockClock

from tapir.codec.framestream import Ending, Refusal
from tapir.services.ingest.inputvoice import InputVoice
from tapir.transport.framestream import ConnectionSummary, Failure


def ended(failure: Failure | Refusal | None = None, *, frames: int = 0, detail: str = "") -> ConnectionSummary:
    return ConnectionSummary(
        ending=Ending.STOPPED if failure is None else Ending.UNSTARTED,
        failure=failure,
        detail=detail,
        bidirectional=True,
        frames=frames,
        octets=0,
        unread=0,
    )


@pytest.fixture
def voice() -> InputVoice:
    return InputVoice(logging.LoggerAdapter(logging.getLogger("test"), {}))


async def test_it_says_a_trouble_again_after_an_hour_and_how_often_it_was(
    voice: InputVoice, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    for _ in range(7):
        voice.ended("unix:/run/x", ended(Failure.TLS, detail="no certificate"))
        await trio.sleep(600)
    voice.ended("unix:/run/x", ended(Failure.BROKEN, frames=3))
    assert [record.getMessage() for record in caplog.records] == [
        "input: a sender on unix:/run/x was given up (tls: no certificate)",
        "input: a sender on unix:/run/x was given up (tls: no certificate) (5 more since that was said last)",
        "input: a sender on unix:/run/x was given up (broken); its 3 frames before that were taken",
    ]


async def test_that_senders_come_through_again_is_said_once_a_trouble(
    voice: InputVoice, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level("INFO")
    voice.ended("a", ended(frames=1))  # as it should be: nothing to say
    voice.ended("a", ended(Failure.IDLE))
    voice.ended("a", ended())  # came and said nothing: that is no sign
    for _ in range(3):
        voice.ended("a", ended(frames=1))
        voice.ended("a", ended(Failure.IDLE))
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    await trio.sleep(3600)
    voice.ended("a", ended(Failure.IDLE))
    voice.ended("a", ended(frames=1))
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"] * 2


async def test_refusals_and_exhaustion_are_counted(
    voice: InputVoice, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    for count in (0, 3, 5):
        voice.refused(count, 10)
        voice.exhausted("EMFILE", count)
    await trio.sleep(3600)
    voice.refused(1, 10)
    voice.exhausted("EMFILE", 1)
    assert [record.getMessage() for record in caplog.records] == [
        "input: a sender was refused, since 10 are connected (input-connections)",
        "input: a connection could not be accepted (EMFILE); it is tried again",
        "input: a sender was refused, since 10 are connected (input-connections) (5 more since that was said last)",
        "input: a connection could not be accepted (EMFILE); it is tried again (5 more since that was said last)",
    ]
