"""A primary that does whatever a test wants it to do to us: a thread for UDP and one for each connection.

It speaks DNS by itself, so that it can speak it badly; nothing here imports the product.
"""

import contextlib
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

import attrs
import dns.message
import dns.rdatatype
from peers import free_port

FEED: Final = "feed.example"
REFRESH, RETRY, EXPIRE = 3600, 900, 86400
_APEX: Final = b"\x04feed\x07example\0"
_TYPES: Final = {6: "SOA", 251: "IXFR", 252: "AXFR"}
_SOA, _NS, _CNAME = 6, 2, 5
_IN: Final = 1
_ROOM: Final = 15_000

Script = Callable[["Hostile", int, int, int | None], Iterator[bytes]]
"""What goes over a connection: of primary, message ID, type asked for and the client's serial; octets as they are."""


def record(owner: str, rdtype: int, rdata: bytes) -> bytes:
    """A record of the feed; `owner` is relative to it, empty for the apex."""
    labels = b"".join(bytes((len(label),)) + label.encode() for label in owner.split(".") if label)
    return labels + b"\xc0\x0c" + struct.pack("!HHIH", rdtype, _IN, 60, len(rdata)) + rdata


@attrs.define(kw_only=True, eq=False)
class Hostile:
    """Serves the feed on 127.0.0.1; `script` says what a transfer sends, None for what an honest primary would."""

    names: list[str]
    serial: int = 1
    port: int = attrs.field(factory=free_port)
    timers: tuple[int, int, int] = (REFRESH, RETRY, EXPIRE)
    rcode: int = 0
    """of every answer"""
    shown: int | None = None
    """the serial that SOA is answered with, where it is not the true one"""
    script: Script | None = None
    asked: Counter[str] = attrs.field(factory=Counter)
    hung_up: int = 0
    """connections that the other side ended before all was said"""
    _sockets: list[socket.socket] = attrs.field(factory=list)
    _stopped: threading.Event = attrs.field(factory=threading.Event)

    def __enter__(self) -> "Hostile":
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for each in (udp, tcp):
            each.bind(("127.0.0.1", self.port))
        tcp.listen(16)
        self._sockets += [udp, tcp]
        threading.Thread(target=self._answer_datagrams, args=(udp,), daemon=True).start()
        threading.Thread(target=self._accept, args=(tcp,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def pause(self, seconds: float) -> bool:
        """Wait so long; whether to go on then."""
        return not self._stopped.wait(seconds)

    # -- what an honest primary says

    def soa(self, serial: int | None = None) -> bytes:
        """The SOA record."""
        numbers = struct.pack("!5I", (self.serial if serial is None else serial) % 2**32, *self.timers, 60)
        return record("", _SOA, b"\x02ns\xc0\x0c" + b"\0" + numbers)

    def message(self, id_: int, rdtype: int, records: list[bytes], *, rcode: int = 0) -> bytes:
        """A response, with its length before it."""
        head = struct.pack("!6H", id_, 0x8400 | rcode, 1, len(records), 0, 0)
        wire = head + _APEX + struct.pack("!HH", rdtype, _IN) + b"".join(records)
        return struct.pack("!H", len(wire)) + wire

    def messages(self, id_: int, rdtype: int, records: Iterator[bytes]) -> Iterator[bytes]:
        """Responses with all of `records`, each with its length before it."""
        held: list[bytes] = []
        octets = 0
        for each in records:
            held.append(each)
            octets += len(each)
            if octets > _ROOM:
                yield self.message(id_, rdtype, held)
                held, octets = [], 0
        if held:
            yield self.message(id_, rdtype, held)

    def rules(self) -> Iterator[bytes]:
        """What the feed says: NXDOMAIN of each name."""
        return (record(name, _CNAME, b"\0") for name in self.names)

    def zone(self, serial: int | None = None) -> Iterator[bytes]:
        """The records of a whole transfer."""
        yield self.soa(serial)
        yield record("", _NS, b"\x02ns\xc0\x0c")
        yield from self.rules()
        yield self.soa(serial)

    def honest(self, id_: int, rdtype: int, held: int | None) -> Iterator[bytes]:
        """What an honest primary that keeps no differences says."""
        if rdtype == _SOA or (held is not None and held == self.serial):
            yield self.message(id_, rdtype, [self.soa(self.shown if rdtype == _SOA else None)])
        else:
            yield from self.messages(id_, rdtype, self.zone())

    # -- threads

    def _answer_datagrams(self, udp: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while not self._stopped.is_set():
                query, peer = udp.recvfrom(65535)
                if len(query) < 12 or query[2] & 0x80:
                    continue  # an answer to our NOTIFY, or the end
                id_, rdtype, _ = _read(query)
                self.asked[f"udp {_TYPES.get(rdtype, rdtype)}"] += 1
                udp.sendto(self._reply(id_, rdtype)[2:], peer)

    def _reply(self, id_: int, rdtype: int) -> bytes:
        records = [] if self.rcode else [self.soa(self.shown)]
        return self.message(id_, rdtype, records, rcode=self.rcode)

    def _accept(self, tcp: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while not self._stopped.is_set():
                stream, _ = tcp.accept()
                threading.Thread(target=self._converse, args=(stream,), daemon=True).start()

    def _converse(self, stream: socket.socket) -> None:
        with stream, contextlib.suppress(OSError):
            stream.settimeout(30)
            lines = stream.makefile("rb")
            while head := lines.read(2):
                id_, rdtype, held = _read(lines.read(int.from_bytes(head, "big")))
                self.asked[f"tcp {_TYPES.get(rdtype, rdtype)}"] += 1
                if self.rcode or rdtype == _SOA:
                    stream.sendall(self._reply(id_, rdtype))
                    continue
                said = self.script(self, id_, rdtype, held) if self.script else self.honest(id_, rdtype, held)
                try:
                    for octets in said:
                        stream.sendall(octets)
                except OSError:
                    self.hung_up += 1
                    return
                if self.script is not None:
                    return

    # -- and says of itself

    def notify(self, port: int, *, hint: bool = True, count: int = 1, source: str | None = None) -> None:
        """Send a NOTIFY to `port`, so many times, from the port we listen on or from another address."""
        wire = self.notice(hint=hint)
        if source is None:
            for _ in range(count):
                self._sockets[0].sendto(wire, ("127.0.0.1", port))
            return
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind((source, 0))
            for _ in range(count):
                sender.sendto(wire, ("127.0.0.1", port))

    def notice(self, *, hint: bool = True) -> bytes:
        """A NOTIFY of the present serial."""
        head = struct.pack("!6H", 7, 0x2400, 1, 1 if hint else 0, 0, 0)
        soa = self.soa(self.serial if self.shown is None else self.shown)
        return head + _APEX + struct.pack("!HH", _SOA, _IN) + (soa if hint else b"")


def _read(query: bytes) -> tuple[int, int, int | None]:
    """The ID and type of `query`, and the serial that its sender has."""
    message = dns.message.from_wire(query, keyring=False, continue_on_error=True)
    [question] = message.question
    soas = [rrset for rrset in message.authority if rrset.rdtype == dns.rdatatype.SOA]
    return message.id, int(question.rdtype), soas[0][0].serial if soas else None


# -- what it may do to us


def drip(primary: Hostile, id_: int, rdtype: int, held: int | None) -> Iterator[bytes]:
    """One octet a second."""
    for octets in primary.honest(id_, rdtype, held):
        for octet in octets:
            if not primary.pause(1):
                return
            yield bytes((octet,))


def silence(primary: Hostile, id_: int, rdtype: int, held: int | None) -> Iterator[bytes]:
    """Nothing, and no end."""
    primary.pause(600)
    yield from ()


def endless(primary: Hostile, id_: int, rdtype: int, held: int | None) -> Iterator[bytes]:
    """Name after name, for ever."""

    def records() -> Iterator[bytes]:
        yield primary.soa()
        number = 0
        while primary.pause(0):
            number += 1
            yield record(f"e{number}.endless.example", _CNAME, b"\0")

    return primary.messages(id_, rdtype, records())


def storm(primary: Hostile, id_: int, rdtype: int, held: int | None) -> Iterator[bytes]:
    """A million SOA records: in answer to IXFR half a million differences in which nothing changes."""

    def records() -> Iterator[bytes]:
        first = held if held is not None and rdtype == 251 else primary.serial
        last = first + 500_000
        yield primary.soa(last)
        for serial in range(first, last):
            yield primary.soa(serial)
            yield primary.soa(serial + 1)
        yield primary.soa(last)

    return primary.messages(id_, rdtype, records())


def half(primary: Hostile, id_: int, rdtype: int, held: int | None) -> Iterator[bytes]:
    """The first half of the zone, and the end of the stream in the midst of a message."""
    said = b"".join(primary.messages(id_, rdtype, primary.zone()))
    yield said[: len(said) // 2]


def backwards(primary: Hostile, id_: int, rdtype: int, held: int | None) -> Iterator[bytes]:
    """An older version than SOA speaks of."""
    return primary.messages(id_, rdtype, primary.zone(primary.serial - 100))


def garbage(primary: Hostile, id_: int, rdtype: int, held: int | None) -> Iterator[bytes]:
    """Messages that are none."""
    yield struct.pack("!H", 600) + struct.pack("!6H", id_, 0x8400, 1, 50, 0, 0) + b"\xff" * 588


def hang_up(primary: Hostile, id_: int, rdtype: int, held: int | None) -> Iterator[bytes]:
    """Nothing, and the end."""
    yield from ()


def slowly(primary: Hostile, id_: int, rdtype: int, held: int | None) -> Iterator[bytes]:
    """All of the truth, in about a second."""
    for octets in primary.honest(id_, rdtype, held):
        if not primary.pause(0.01):
            return
        yield octets
