"""What the zone server answers, and what it counts while it does: between `zone.answers` and the sockets.

Every query is held against the access rules, whatever it asks: no resolver's client ever talks to this server, and
a lookup tells as much of the zone as a transfer, only slower.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, assert_never

import attrs
import trio

from tapir.codec.tsig import Keys, Rejected, TsigError, TsigKey, Verified
from tapir.model.messages.feeds import FeedNotified
from tapir.model.names import format_name
from tapir.services.authority.access import AccessList, AccessRule, FirstTimes, Grant, Secured, allowing_line
from tapir.services.authority.feeds import FeedAccess, FeedBook, Judgement
from tapir.services.authority.messages import SecondarySeen
from tapir.zone.answers import Answer, answer_malformed, answer_notify, answer_query
from tapir.zone.query import Malformed, NoReply, Query, QueryKind, read_query
from tapir.zone.replies import TCP, UDP, Refusal, Reply, TransferReply, Transport
from tapir.zone.settings import ZoneSettings
from tapir.zone.signing import NO_KEYS, Proof, authenticate
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
_REPORTED_REFUSALS: Final = frozenset({Refusal.ACL, Refusal.NOTIFY_FROM, Refusal.NOTIFY_KEY})
_SECOND: Final = 1_000_000

RunBlocking = Callable[[Callable[[], Answer]], Awaitable[Answer]]


def _nobody(source: str, said: FeedNotified) -> None:
    """Where there are no feeds, none is told."""


class Responder:
    """Answers messages from the view that is published; nothing that a peer sends makes it raise.

    `seen` is told of what secondaries ask and take, `notified` of each source that a NOTIFY is for.
    """

    def __init__(
        self,
        settings: ZoneSettings,
        rules: "Iterable[AccessRule]",
        *,
        keys: "Iterable[TsigKey]" = (),
        feeds: "Iterable[FeedAccess]" = (),
        log: "logging.LoggerAdapter[Any]",
        now: Callable[[], int],
        seen: Callable[[SecondarySeen], None],
        notified: Callable[[str, FeedNotified], None] = _nobody,
    ) -> None:
        self.view: ZoneView | None = None
        self.counters: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self._settings = settings
        self._log = log
        self._now = now
        self._seen = seen
        self._notified = notified
        # Two that ask from the same serial after one NOTIFY: the second finds what the first has netted.
        self._netting = trio.Lock()
        self._failures = 0
        self._keys: Keys = NO_KEYS
        self.configure(rules, keys, feeds)

    def configure(
        self, rules: "Iterable[AccessRule]", keys: "Iterable[TsigKey]" = (), feeds: "Iterable[FeedAccess]" = ()
    ) -> None:
        """From now on these rules, keys and feeds hold; who is refused is reported anew."""
        self._access = AccessList(rules)
        self._feeds = FeedBook(feeds)
        self._keys = {key.name: key for key in keys}
        self._reported = FirstTimes()

    def covers(self, host: str, *, secured: Secured = Secured.NO) -> bool:
        """Whether `host` may ask anything at all if it has the right key."""
        return self._access.covers(host, secured=secured) or self._feeds.covers(host, secured=secured)

    def respond_datagram(self, wire: bytes, host: str) -> Answer:
        """What to answer over UDP."""
        self.counters["udp"] += 1
        try:
            asked = self._read(wire, host, Secured.NO)
            view = self.view
            if asked.is_granted and view is not None and _changes(view, asked.query, _UDP_CHANGES) > _UDP_CHANGES:
                # Without its journal the view answers one SOA, which tells the secondary to come over TCP.
                view = ZoneView(version=view.version)
            return self._note(asked, self._answer(asked, view, UDP))
        except Exception:  # noqa: BLE001 - `_fail` counts and logs it
            return self._fail(host)

    async def respond_stream(
        self, wire: bytes, host: str, run_blocking: RunBlocking, *, secured: Secured = Secured.NO
    ) -> Answer:
        """What to answer over TCP or TLS; netting a long journal is left to `run_blocking`."""
        self.counters["tcp" if secured is Secured.NO else "tls"] += 1
        try:
            asked = self._read(wire, host, secured)
            view = self.view
            if asked.is_granted and view is not None and _changes(view, asked.query, _LIGHT_CHANGES) > _LIGHT_CHANGES:
                async with self._netting:
                    answer = await run_blocking(partial(self._answer, asked, view, TCP))
            else:
                answer = self._answer(asked, view, TCP)
            return self._note(asked, answer)
        except Exception:  # noqa: BLE001 - `_fail` counts and logs it
            return self._fail(host)

    def note_transferred(self, reply: TransferReply, host: str) -> None:
        """All of `reply` has been written to `host`."""
        self.counters["transfers_incremental" if reply.incremental else "transfers_full"] += 1
        self._tell(host, reply.kind, reply.serial)

    def refuse_stranger(self, host: str) -> None:
        """`host` came to a TLS address, and may not ask anything."""
        self.refusals[Refusal.ACL] += 1
        if self._reported.note(host):
            self._log.warning("refused TLS from %s; this would allow it: %s", host, allowing_line(host, KEY))

    def refuse_protocol(self, host: str) -> None:
        """`host` speaks TLS without the name of DNS in it."""
        self.refusals["tls-alpn"] += 1
        if self._reported.note(f"{host} tls-alpn"):
            self._log.warning(
                "refused TLS from %s: it does not name the protocol `dot` (ALPN, RFC 9103); unbound does not, and "
                "`dnsengine.tls.require-alpn: false` lets it",
                host,
            )

    def note_no_handshake(self, host: str, what: str) -> None:
        """`host`, which may ask over TLS, did not come to terms with us; `what` says how."""
        self.counters["tls_handshakes_failed"] += 1
        if self._reported.note(f"{host} tls"):
            # What the other side did not like is in its alert: an unknown CA, or a certificate for another name.
            self._log.warning("no TLS with %s; from there this is only counted from here on", what)

    def _read(self, wire: bytes, host: str, secured: Secured) -> "_Asked":
        query: Query | Malformed | NoReply = read_query(wire)
        proof: Proof = None
        if not isinstance(query, NoReply):
            query, proof = authenticate(query, wire, self._keys, now=self._now())
        key = proof.key.name if isinstance(proof, Verified) else None
        grant = self._access.grant(host, secured=secured, key=key)
        feed = self._feeds.judge(query, host, secured=secured, key=key) if isinstance(query, Query) else None
        return _Asked(query, proof, host, grant, feed)

    def _answer(self, asked: "_Asked", view: ZoneView | None, transport: Transport) -> Answer:
        query = asked.query
        match query:
            case Query() if asked.feed is not None:
                return answer_notify(
                    query, refusal=asked.feed.refusal, transport=transport, proof=asked.proof, now=self._now()
                )
            case Query():
                return answer_query(
                    query,
                    settings=self._settings,
                    view=view,
                    transport=transport,
                    allowed=asked.grant.allows,
                    proof=asked.proof,
                    now=self._now(),
                )
            case Malformed():
                return answer_malformed(query, transport=transport, proof=asked.proof, now=self._now())
            case NoReply():
                return query
            case _:
                assert_never(query)

    def _note(self, asked: "_Asked", answer: Answer) -> Answer:
        if isinstance(asked.proof, Verified):
            self.counters["signed"] += 1
        match answer:
            case NoReply():
                self.refusals[answer.reason] += 1
            case Reply(refusal=Refusal() as refusal):
                self.refusals[refusal.value] += 1
                if refusal in _REPORTED_REFUSALS or isinstance(asked.proof, Rejected):
                    self._report_refused(asked, refusal)
            case Reply() | TransferReply():
                kind = answer.kind
                if kind is not None:
                    self.counters[kind.value] += 1
                    self._tell(asked.host, kind, answer.client_serial)
                    self._ring(asked)
            case _:
                assert_never(answer)
        return answer

    def _tell(self, host: str, kind: QueryKind, serial: int | None) -> None:
        if kind in _SECONDARY:
            self._seen(SecondarySeen(address=host, query=kind.value, serial=serial, at=self._now()))

    def _ring(self, asked: "_Asked") -> None:
        if asked.feed is None or not isinstance(asked.query, Query):
            return
        said = FeedNotified(zone=asked.query.name, serial=asked.query.hint, primary=asked.host)
        for source in asked.feed.sources:
            self._notified(source, said)

    def _report_refused(self, asked: "_Asked", refusal: Refusal) -> None:
        host = asked.host
        if not self._reported.note(host if refusal is Refusal.ACL else f"{host} {refusal}"):
            return
        what = asked.query.kind.value if isinstance(asked.query, Query) else "message"
        if isinstance(asked.proof, Rejected):
            self._log.warning("refused %s from %s: %s", what, host, self._explain(asked.proof))
        elif asked.feed is not None:
            self._log.warning("refused NOTIFY from %s: %s", host, asked.feed.reason)
        elif isinstance(asked.query, Query) and asked.query.kind is QueryKind.NOTIFY:
            zone = format_name(asked.query.name)
            self._log.warning("refused NOTIFY from %s: no active source transfers %s", host, zone)
        elif asked.grant.reason:
            self._log.warning("refused %s from %s: %s", what, host, asked.grant.reason)
        else:
            self._log.warning("refused %s from %s; this would allow it: %s", what, host, allowing_line(host, KEY))
        if self._reported.full:
            self._log.warning("so many addresses are refused that further ones are only counted")

    def _explain(self, rejected: Rejected) -> str:
        record = rejected.record
        key = format_name(record.key)
        match rejected.error:
            case TsigError.BADKEY if record.key in self._keys:
                return f"BADKEY, the key {key} is of another algorithm here, {self._keys[record.key].algorithm}"
            case TsigError.BADKEY:
                return f"BADKEY, no key is called {key} here, see `keys`"
            case TsigError.BADSIG:
                return f"BADSIG, the key {key} has another secret there than here"
            case TsigError.BADTIME:
                return f"BADTIME, it was signed {record.signed - self._now() // _SECOND:+} s from now by our clock"
            case TsigError.BADTRUNC:
                return "BADTRUNC, its signature is cut short, and only whole ones are taken"
            case _:
                assert_never(rejected.error)

    def _fail(self, host: str) -> NoReply:
        # One query never stops the server: what goes wrong here is a fault of ours in answering, and the next query
        # is another one. `tests/services/authority/test_server.py` makes one.
        self.refusals["internal"] += 1
        self._failures += 1
        if self._failures <= _REPORTED_FAILURES:
            self._log.exception("no answer to a query from %s, because of a fault in tapir", host)
        return NoReply("internal")


@attrs.frozen
class _Asked:
    """A message, what its signature proves, and what its sender may ask."""

    query: Query | Malformed | NoReply
    proof: Proof
    host: str
    grant: Grant
    feed: Judgement | None = None
    """of a NOTIFY of a zone that is transferred in"""

    @property
    def is_granted(self) -> bool:
        """Whether it is a query that access control lets pass."""
        query = self.query
        return isinstance(query, Query) and not isinstance(self.proof, Rejected) and self.grant.allows(query.kind)


def _changes(view: ZoneView, query: Query | Malformed | NoReply, most: int) -> int:
    """How many changes an IXFR would have to net; counted to a little more than `most` only."""
    if not isinstance(query, Query) or query.kind is not QueryKind.IXFR or query.client_serial is None:
        return 0
    changes = 0
    for step in view.journal.since(query.client_serial) or ():
        # A step costs something by itself.
        changes += 1 + len(step.delta)
        if changes > most:
            break
    return changes
