"""NOTIFY to one downstream (RFC 1996 §3.6): told again until it answers or is given up; the latest version counts.

┌─▶ idle ──(a version)──▶ sending ──(acknowledged, or refused)──▶ looking ──▶ idle
│                          │   ▲
│               (no answer)▼   │(time is over, or there is a later version)
└───(tries used up)────── waiting

Looking is one SOA query, when the downstream had time to follow or was not looked at for a minute: one whose serial is
ahead of ours acknowledges every NOTIFY and takes nothing, and by itself asks nothing that shows it.
"""

import contextlib
import random
from collections.abc import Callable
from typing import Final, Protocol

import attrs
import trio

from tapir.codec.tsig import TsigKey
from tapir.services.authority.secondaries import NotifyStatus
from tapir.transport.streams import Address, format_address
from tapir.zone.notify import (
    NotifyAnswer,
    NotifyOutcome,
    answers_soa_query,
    encode_notify,
    encode_soa_query,
    judge_notify_answer,
    read_soa_answer,
)
from tapir.zone.signing import SignedRequest
from tapir.zone.version import ZoneVersion

# A downstream that does not answer is not asked more often than that, however often there is a new version.
_LEAST_INTERVAL: Final = 1.0
_TIME_TO_FOLLOW: Final = 5.0
_LOOK_INTERVAL: Final = 60.0
# Short, since a later version waits for it.
_LOOK_TIMEOUT: Final = 1.0

_ids = random.SystemRandom()


class NotifyTransport(Protocol):
    """How a message gets to a downstream and its answer back; `transport.dns.UdpExchange` is the real one."""

    async def exchange(self, address: Address, message: bytes, *, is_answer: Callable[[bytes], bool]) -> bytes:
        """The first answer from `address` that `is_answer` takes; waits until one comes. Raises OSError."""
        ...


@attrs.frozen(kw_only=True)
class DeliverySchedule:
    """How long an answer may take, and the pauses between tries, in seconds; after the last one comes one more try."""

    timeout: float
    retries: tuple[float, ...]


class Delivery:
    """Tells one downstream of versions; runs until it is cancelled, whatever the downstream does."""

    def __init__(
        self,
        address: Address,
        schedule: DeliverySchedule,
        transport: NotifyTransport,
        *,
        now: Callable[[], int],
        note: Callable[[Address, NotifyStatus], None],
        found: Callable[[Address, int], None],
        key: TsigKey | None = None,
    ) -> None:
        self.address = address
        self._key = key
        self._schedule = schedule
        self._transport = transport
        self._now = now
        self._note = note
        self._found = found
        self._version: ZoneVersion | None = None
        """what is to be told; None when all is told"""
        self._news = trio.Event()
        self._sent_at = -_LEAST_INTERVAL
        self._looked_at = trio.current_time()

    def __repr__(self) -> str:
        return f"<delivery to {format_address(self.address)}>"

    def announce(self, version: ZoneVersion) -> None:
        """Tell the downstream of `version`, instead of any that it was not told of yet."""
        self._version = version
        self._news.set()

    async def run(self) -> None:
        """Deliver what is announced, for ever."""
        while True:
            await self._news.wait()
            self._news = trio.Event()
            version, self._version = self._version, None
            if version is not None and await self._deliver(version):
                await self._look_in_time(version)

    async def _deliver(self, version: ZoneVersion) -> bool:
        """Tell of `version` until it is answered, given up, or there is a later one; True when it answered."""
        self._set(version, "waiting")
        reason, refused = "", False
        for pause in (*self._schedule.retries, None):
            self._sent_at = trio.current_time()
            answer = await self._try(version)
            if answer.outcome is NotifyOutcome.ACKNOWLEDGED:
                self._set(version, "acknowledged")
                return True
            reason, refused = answer.reason, answer.outcome is NotifyOutcome.REFUSED
            if refused or pause is None:
                # It has heard us, and does not want it: RFC 1996 §3.6 ends the retries with any answer.
                break
            self._set(version, f"waiting: {reason}")
            if await self._wait_later_version(pause):
                await trio.sleep_until(self._sent_at + _LEAST_INTERVAL)
                return False
        self._set(version, f"failed: {reason}")
        return refused

    async def _look_in_time(self, version: ZoneVersion) -> None:
        """Look when it is quiet; where it never is, once in a while all the same."""
        quiet = not await self._wait_later_version(_TIME_TO_FOLLOW)
        if quiet or trio.current_time() >= self._looked_at + _LOOK_INTERVAL:
            self._looked_at = trio.current_time()
            await self._look(version)

    async def _look(self, version: ZoneVersion) -> None:
        """Find out which serial the downstream has; one that does not say is none the worse for it."""
        id_ = _ids.randrange(1 << 16)
        apex = version.apex
        answer = None
        request = SignedRequest.of(encode_soa_query(apex, id_=id_), self._key, now=self._now())

        def is_answer(wire: bytes) -> bool:
            return answers_soa_query(wire, apex=apex, id_=id_) and not request.fault(wire, now=self._now())

        with trio.move_on_after(_LOOK_TIMEOUT), contextlib.suppress(OSError):
            answer = await self._transport.exchange(self.address, request.wire, is_answer=is_answer)
        serial = read_soa_answer(answer, apex=apex) if answer is not None else None
        if serial is not None:
            self._found(self.address, serial)

    async def _wait_later_version(self, pause: float) -> bool:
        """Wait for `pause` seconds, or until there is a later version; then True."""
        with trio.move_on_after(pause):
            await self._news.wait()
        return self._news.is_set()

    async def _try(self, version: ZoneVersion) -> NotifyAnswer:
        id_ = _ids.randrange(1 << 16)

        request = SignedRequest.of(encode_notify(version, id_=id_), self._key, now=self._now())
        fault = ""

        def judge(wire: bytes) -> NotifyAnswer:
            nonlocal fault
            answer = judge_notify_answer(wire, version=version, id_=id_)
            if answer.outcome is not NotifyOutcome.UNRELATED and (fault := request.fault(wire, now=self._now())):
                return NotifyAnswer(NotifyOutcome.UNRELATED, fault)
            return answer

        wire = None
        with trio.move_on_after(self._schedule.timeout):
            try:
                wire = await self._transport.exchange(
                    self.address,
                    request.wire,
                    is_answer=lambda wire: judge(wire).outcome is not NotifyOutcome.UNRELATED,
                )
            except OSError as exc:
                return NotifyAnswer(NotifyOutcome.UNRELATED, exc.strerror or str(exc))
        if wire is None:
            reason = fault or f"no answer within {self._schedule.timeout:g} s"
            return NotifyAnswer(NotifyOutcome.UNRELATED, reason)
        return judge(wire)

    def _set(self, version: ZoneVersion, state: str) -> None:
        self._note(self.address, NotifyStatus(serial=version.serial, state=state, at=self._now()))
