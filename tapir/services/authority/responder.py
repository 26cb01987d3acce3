"""What the zone server answers, and what it counts while it does: between `zone.answers` and the sockets.

Every query is held against the access list, whatever it asks: no resolver's client ever talks to this server, and
a lookup tells as much of the zone as a transfer, only slower.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, assert_never

import trio

from tapir.services.authority.access import AccessList, FirstTimes, Network, allowing_line
from tapir.services.authority.messages import SecondarySeen
from tapir.zone.answers import Answer, answer_malformed, answer_query
from tapir.zone.query import Malformed, NoReply, Query, QueryKind, read_query
from tapir.zone.replies import TCP, UDP, Refusal, Reply, TransferReply, Transport
from tapir.zone.settings import ZoneSettings
from tapir.zone.view import ZoneView

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterable

KEY: Final = "dnsengine.allow-transfer"
"""the configuration key that says who may ask"""

_SECONDARY: Final = frozenset({QueryKind.SOA, QueryKind.AXFR, QueryKind.IXFR})
# Netting so many changes takes a few milliseconds: over UDP no difference near that fits in a datagram, over TCP
# a longer one is left to a worker.
_UDP_CHANGES: Final = 256
_LIGHT_CHANGES: Final = 2048
_REPORTED_FAILURES: Final = 10

RunBlocking = Callable[[Callable[[], Answer]], Awaitable[Answer]]


class Responder:
    """Answers messages from the view that is published; nothing that a peer sends makes it raise.

    `seen` is told of what secondaries ask and take.
    """

    def __init__(
        self,
        settings: ZoneSettings,
        allow: "Iterable[Network]",
        *,
        log: "logging.LoggerAdapter[Any]",
        now: Callable[[], int],
        seen: Callable[[SecondarySeen], None],
    ) -> None:
        self.view: ZoneView | None = None
        self.counters: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self._settings = settings
        self._log = log
        self._now = now
        self._seen = seen
        # Two that ask from the same serial after one NOTIFY: the second finds what the first has netted.
        self._netting = trio.Lock()
        self._failures = 0
        self.allow(allow)

    def allow(self, networks: "Iterable[Network]") -> None:
        """From now on these may ask; who is refused is reported anew."""
        self._access = AccessList(networks)
        self._reported = FirstTimes()

    def allows(self, host: str) -> bool:
        """Whether `host` may ask."""
        return self._access.allows(host)

    def respond_datagram(self, wire: bytes, host: str) -> Answer:
        """What to answer over UDP."""
        self.counters["udp"] += 1
        try:
            query = read_query(wire)
            view = self.view
            if isinstance(query, Query) and view is not None and _changes(view, query, _UDP_CHANGES) > _UDP_CHANGES:
                # Without its journal the view answers one SOA, which tells the secondary to come over TCP.
                view = ZoneView(version=view.version)
            return self._note(self._answer(query, host, view, UDP), host)
        except Exception:  # noqa: BLE001 - `_fail` counts and logs it
            return self._fail(host)

    async def respond_stream(self, wire: bytes, host: str, run_blocking: RunBlocking) -> Answer:
        """What to answer over TCP; netting a long journal is left to `run_blocking`."""
        self.counters["tcp"] += 1
        try:
            query = read_query(wire)
            view = self.view
            if (
                isinstance(query, Query)
                and view is not None
                and self._access.allows(host)
                and _changes(view, query, _LIGHT_CHANGES) > _LIGHT_CHANGES
            ):
                async with self._netting:
                    answer = await run_blocking(partial(self._answer, query, host, view, TCP))
            else:
                answer = self._answer(query, host, view, TCP)
            return self._note(answer, host)
        except Exception:  # noqa: BLE001 - `_fail` counts and logs it
            return self._fail(host)

    def note_transferred(self, reply: TransferReply, host: str) -> None:
        """All of `reply` has been written to `host`."""
        self.counters["transfers_incremental" if reply.incremental else "transfers_full"] += 1
        self._tell(host, reply.kind, reply.serial)

    def _answer(
        self, query: Query | Malformed | NoReply, host: str, view: ZoneView | None, transport: Transport
    ) -> Answer:
        match query:
            case Query():
                allowed = self._access.allows(host)
                return answer_query(query, settings=self._settings, view=view, transport=transport, allowed=allowed)
            case Malformed():
                return answer_malformed(query)
            case NoReply():
                return query
            case _:
                assert_never(query)

    def _note(self, answer: Answer, host: str) -> Answer:
        match answer:
            case NoReply():
                self.refusals[answer.reason] += 1
            case Reply(refusal=Refusal() as refusal):
                self.refusals[refusal.value] += 1
                if refusal is Refusal.ACL:
                    self._report_refused(host, answer.kind)
            case Reply() | TransferReply():
                kind = answer.kind
                if kind is not None:
                    self.counters[kind.value] += 1
                    self._tell(host, kind, answer.client_serial)
            case _:
                assert_never(answer)
        return answer

    def _tell(self, host: str, kind: QueryKind, serial: int | None) -> None:
        if kind in _SECONDARY:
            self._seen(SecondarySeen(address=host, query=kind.value, serial=serial, at=self._now()))

    def _report_refused(self, host: str, kind: QueryKind | None) -> None:
        if not self._reported.note(host):
            return
        what = kind.value if kind is not None else "message"
        self._log.warning("refused %s from %s; this would allow it: %s", what, host, allowing_line(host, KEY))
        if self._reported.full:
            self._log.warning("so many addresses are refused that further ones are only counted")

    def _fail(self, host: str) -> NoReply:
        # One query never stops the server: what goes wrong here is a fault of ours in answering, and the next query
        # is another one. `tests/services/authority/test_server.py` makes one.
        self.refusals["internal"] += 1
        self._failures += 1
        if self._failures <= _REPORTED_FAILURES:
            self._log.exception("no answer to a query from %s, because of a fault in tapir", host)
        return NoReply("internal")


def _changes(view: ZoneView, query: Query, most: int) -> int:
    """How many changes an IXFR would have to net; counted to a little more than `most` only."""
    if query.kind is not QueryKind.IXFR or query.client_serial is None:
        return 0
    changes = 0
    for step in view.journal.since(query.client_serial) or ():
        # A step costs something by itself.
        changes += 1 + len(step.delta)
        if changes > most:
            break
    return changes
