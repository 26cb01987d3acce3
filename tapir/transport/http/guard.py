"""One connection of a client, so that what hypercorn does with it ends: everything that waits for it has a deadline.

hypercorn sends under a shield and without a deadline: a client that reads nothing would hold its task for good, past
every cancellation. And its timer for idle connections does not run for those that began HTTP/2 without TLS. Here each
send has `patience` seconds, so has a client between its requests, and `abort` ends all of it at once.

Nor does hypercorn always notice that a client has left: it waits for its idle timer, and where a further request waits
behind an answer that could not be sent, for ever. So `over` says when nothing can come of a connection any more.
"""

import ssl
from typing import Any, Final

import attrs
import trio

from tapir.transport.streams import unmap_address

_HEARD_AT_ONCE: Final = 4096
"""octets: hypercorn works through all that it is given without a pause, of 64 KiB of small frames for some 150 ms"""
_LAST_WORDS: Final = 0.05
"""seconds in which what the client said last becomes a request"""


@attrs.frozen(kw_only=True)
class HttpPeer:
    """What is known of who is at the other end; the address is for limits and for the one answer that repeats it."""

    local: bool
    """the client came to a loopback address of ours, so it runs on this host"""
    secured: bool
    certificate: str
    """the common name of the certificate that it showed and that was verified, or empty"""


class GuardedStream:
    """A stream of trio's as hypercorn wants it (`socket` makes it plain TCP), with deadlines."""

    def __init__(self, stream: trio.abc.Stream, sock: trio.socket.SocketType, *, patience: float) -> None:
        self._stream = stream
        self._patience = patience
        self._in_hand = 0
        self._quiet_since = trio.current_time()
        self._left = trio.Event()
        """the client says nothing more, or hears nothing more"""
        self._answered = trio.Event()
        self.socket = sock
        self.broken = False

    def begin(self) -> None:
        """A request is in hand."""
        self._in_hand += 1

    def end(self) -> None:
        """A request was answered."""
        self._in_hand -= 1
        self._quiet_since = trio.current_time()
        self._answered.set()

    async def over(self) -> None:
        """Wait until the client has left, and what it asked before has come to an end."""
        await self._left.wait()
        await trio.sleep(_LAST_WORDS)
        while self._in_hand:
            self._answered = trio.Event()
            await self._answered.wait()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """What the client says next. Raises BrokenResourceError when no request became of all that in time."""
        try:
            heard = await self._hear(max_bytes)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._left.set()
            raise
        if not heard:
            self._left.set()
        return heard

    async def _hear(self, max_bytes: int | None) -> bytes | bytearray:
        while True:
            since = trio.current_time() if self._in_hand else self._quiet_since
            with trio.move_on_at(since + self._patience):
                return await self._stream.receive_some(min(_HEARD_AT_ONCE, max_bytes or _HEARD_AT_ONCE))
            if not self._in_hand and trio.current_time() >= self._quiet_since + self._patience:
                raise trio.BrokenResourceError("the client asks nothing")

    async def send_all(self, data: bytes) -> None:
        """Send all of it. Raises trio's errors of broken streams, also when the client took nothing in time."""
        try:
            with trio.fail_after(self._patience):
                await self._stream.send_all(data)
        except trio.TooSlowError:
            self.abort()
            raise trio.BrokenResourceError("the client takes nothing") from None
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._break()
            raise

    async def aclose(self) -> None:
        """Say goodbye, if the client listens, and close."""
        self._break()
        with trio.move_on_after(1) as scope:
            scope.shield = True
            await self._stream.aclose()
        self.socket.close()

    def abort(self) -> None:
        """Close at once, in the midst of whatever is going on."""
        self._break()
        self.socket.close()

    def _break(self) -> None:
        self.broken = True
        self._left.set()


class GuardedTls(GuardedStream):
    """The same over TLS, whose handshake has been done."""

    def __init__(self, stream: "trio.SSLStream[trio.SocketStream]", *, patience: float) -> None:
        super().__init__(stream, stream.transport_stream.socket, patience=patience)
        self.transport_stream = stream.transport_stream
        self._alpn: str | None = stream.selected_alpn_protocol()

    async def do_handshake(self) -> None:
        """Nothing is left to do: it was done before, to have the client's certificate."""
        await trio.lowlevel.checkpoint()

    def selected_alpn_protocol(self) -> str | None:
        """The protocol that both sides agreed on."""
        return self._alpn


def describe_peer(sock: trio.socket.SocketType, certificate: dict[str, Any] | None, *, secured: bool) -> HttpPeer:
    """What the socket and the verified certificate say. Raises OSError when the client is gone already."""
    host = unmap_address(str(sock.getsockname()[0]))
    return HttpPeer(
        local=host == "::1" or host.startswith("127."), secured=secured, certificate=_common_name(certificate or {})
    )


def _common_name(certificate: dict[str, Any]) -> str:
    names = (value for rdn in certificate.get("subject", ()) for kind, value in rdn if kind == "commonName")
    return next(names, "")


async def greet(
    stream: trio.SocketStream, context: ssl.SSLContext | None, *, patience: float
) -> tuple[GuardedStream, HttpPeer] | None:
    """The guarded stream, and who is there; None for a client with whom there is no TLS, or who is gone."""
    try:
        if context is None:
            return (
                GuardedStream(stream, stream.socket, patience=patience),
                describe_peer(stream.socket, None, secured=False),
            )
        tls = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        with trio.fail_after(patience):
            await tls.do_handshake()
        return (
            GuardedTls(tls, patience=patience),
            describe_peer(stream.socket, tls.getpeercert(), secured=True),
        )
    except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError, OSError):
        stream.socket.close()
        return None
