"""Stands between a secondary and its primary, and counts what transfers take."""

import contextlib
import select
import socket
import threading

import attrs
import dns.flags
import dns.message
import dns.opcode
import dns.rrset
from peers import ZONE, free_port

TRANSFERS = frozenset({251, 252})
"""IXFR, AXFR"""


@attrs.define
class Relay:
    """Carries DNS over UDP and TCP on 127.0.0.1 to `target`, in threads, as long as the block lasts."""

    target: int
    port: int = attrs.field(factory=free_port)
    asked: int = 0
    """queries of the secondary"""
    transferred: int = 0
    """octets that came over connections on which a transfer was asked for"""
    _sockets: list[socket.socket] = attrs.field(factory=list)
    _threads: list[threading.Thread] = attrs.field(factory=list)
    _ending: bool = False

    def __enter__(self) -> "Relay":
        listener = socket.create_server(("127.0.0.1", self.port))
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.bind(("127.0.0.1", self.port))
        for each in (listener, datagrams):
            each.settimeout(0.2)
        self._sockets = [listener, datagrams]
        self._begin(self._accept, listener)
        self._begin(self._pass_datagrams, datagrams)
        return self

    def __exit__(self, *_: object) -> None:
        self._ending = True
        for thread in self._threads:
            thread.join(10)
        for each in self._sockets:
            each.close()

    def _begin(self, run: object, *arguments: object) -> None:
        thread = threading.Thread(target=run, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _pass_datagrams(self, datagrams: socket.socket) -> None:
        while not self._ending:
            with contextlib.suppress(OSError):
                query, peer = datagrams.recvfrom(4096)
                self.asked += 1
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as onward:
                    onward.settimeout(2)
                    onward.connect(("127.0.0.1", self.target))
                    onward.send(query)
                    datagrams.sendto(onward.recv(65535), peer)

    def _accept(self, listener: socket.socket) -> None:
        while not self._ending:
            with contextlib.suppress(TimeoutError):
                self._begin(self._carry, listener.accept()[0])

    def _carry(self, secondary: socket.socket) -> None:
        transfers, asked = False, b""
        with secondary, contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            primary = stack.enter_context(socket.create_connection(("127.0.0.1", self.target), timeout=10))
            secondary.settimeout(10)
            while not self._ending:
                for ready in select.select([secondary, primary], [], [], 0.2)[0]:
                    octets = ready.recv(65536)
                    if not octets:
                        return
                    if ready is primary:
                        self.transferred += transfers * len(octets)
                        secondary.sendall(octets)
                        continue
                    asked += octets
                    while len(asked) >= 2 and len(asked) >= 2 + (length := int.from_bytes(asked[:2], "big")):
                        self.asked += 1
                        transfers |= dns.message.from_wire(asked[2 : 2 + length]).question[0].rdtype in TRANSFERS
                        asked = asked[2 + length :]
                    primary.sendall(octets)


def notify(port: int, *, serial: int) -> None:
    """Tell the secondary at `port` that there is news."""
    message = dns.message.make_query(f"{ZONE}.", "SOA", flags=dns.flags.AA)
    message.set_opcode(dns.opcode.NOTIFY)
    message.answer.append(dns.rrset.from_text(f"{ZONE}.", 0, "IN", "SOA", f". . {serial} 0 0 0 0"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.settimeout(5)
        sender.connect(("127.0.0.1", port))
        sender.send(message.to_wire())
        sender.recv(4096)
