"""TLS over any `ByteStream`, server and client: one read hands out every record that has arrived.

`trio.SSLStream` hands out one record a call, which costs a wake-up each. Here the records of a read are decrypted
together, and those of a write are encrypted some at a time and leave in one call: however much is sent at once, no
more than that lies here for a slow reader. A stream that ends without close_notify is `Truncated`, since an attacker
can end TCP but cannot say that.

One task reads and one writes. Reading may have to write (a key update, tickets), so writes take turns.
"""

import contextlib
import hashlib
import ssl
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import trio

from tapir.model.errors import TapirError
from tapir.transport.streams import Address, Buffer, ByteStream, PeerGone, PeerStalled, format_address

_PLAIN_READ: Final = 256 * 1024
# What a slow reader has not taken lies here encrypted: this much of it, whatever is sent at once.
_PLAIN_WRITE: Final = 128 * 1024
_GOODBYE: Final = 1.0
"""seconds that a peer has for our close_notify"""


class TlsError(TapirError):
    """A certificate, key or CA file cannot be used; the text says which and why, and holds nothing of them."""


class HandshakeFailed(TapirError):
    """The peer and we did not come to terms."""


class Truncated(PeerGone):
    """The stream ended without close_notify: something may be missing."""


def server_context(
    *,
    certificate: Path,
    key: Path,
    client_ca: Path | None = None,
    require_client_certificate: bool = False,
    protocols: Sequence[str] = (),
    tickets: bool = True,
) -> ssl.SSLContext:
    """A server's TLS 1.3 with these files; `protocols` are its ALPN names. Blocks. Raises TlsError.

    With `client_ca` a client may show a certificate, which must then be good. Without `tickets` no session is resumed,
    and a client that has shaken hands hears nothing before it asks.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, protocols)
    if not tickets:
        context.num_tickets = 0
    _load_pair(context, certificate, key)
    if client_ca is not None:
        _load_authorities(context, client_ca)
        context.verify_mode = ssl.CERT_REQUIRED if require_client_certificate else ssl.CERT_OPTIONAL
    return context


def digest_authorities(ca: Path) -> bytes:
    """What tells one state of the CA file from another. Blocks. Raises TlsError."""
    try:
        return hashlib.sha256(ca.read_bytes()).digest()
    except OSError as exc:
        raise TlsError(f"the CA certificates {ca}: {_reason(exc)}") from exc


def client_context(
    *,
    ca: Path | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
    protocols: Sequence[str] = (),
) -> ssl.SSLContext:
    """A client's TLS 1.3 that trusts `ca` (None: what the system trusts), and may show a certificate of its own.

    Blocks. Raises TlsError.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT, protocols)
    if ca is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        _load_authorities(context, ca)
    if certificate is not None:
        _load_pair(context, certificate, key if key is not None else certificate)
    return context


def _context(kind: int, protocols: Sequence[str]) -> ssl.SSLContext:
    context = ssl.SSLContext(kind)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def _load_pair(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    def no_password() -> str:
        raise TlsError(f"the key {key} has a password, and nobody is there to type it")

    try:
        context.load_cert_chain(certificate, key, no_password)
    except OSError as exc:
        raise TlsError(f"the certificate {certificate} with the key {key}: {_reason(exc)}") from exc


def _load_authorities(context: ssl.SSLContext, ca: Path) -> None:
    try:
        context.load_verify_locations(ca)
    except OSError as exc:
        raise TlsError(f"the CA certificates {ca}: {_reason(exc)}") from exc


def _reason(exc: OSError) -> str:
    if isinstance(exc, ssl.SSLError):
        return (exc.reason or "not PEM, or damaged").replace("_", " ").lower()
    return exc.strerror or str(exc)


class TlsStream:
    """A `ByteStream` of what goes in clear over `transport`; `handshake` comes first."""

    def __init__(
        self,
        transport: ByteStream,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        server_hostname: str | None = None,
    ) -> None:
        self._transport = transport
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_hostname
        )
        self._writing = trio.Lock()
        self._held = b""
        self._ended = False
        self._broken = False

    @property
    def peer(self) -> Address:
        """Who is at the other end."""
        return self._transport.peer

    @property
    def protocol(self) -> str | None:
        """The ALPN name that both speak, after the handshake; None for none."""
        return self._tls.selected_alpn_protocol()

    @property
    def peer_certificate(self) -> dict[str, Any] | None:
        """The peer's certificate if it showed one, which then was good; as `ssl.SSLSocket.getpeercert` has it."""
        return self._tls.getpeercert() or None

    async def handshake(self, *, patience: float) -> None:
        """Come to terms with the peer within `patience` seconds; else HandshakeFailed, whose text says why."""
        where = format_address(self.peer)
        failure: ssl.SSLError | None = None
        with trio.move_on_after(patience) as deadline:
            try:
                while not self._shake():
                    await self._flush(patience)
                    await self._feed()
                await self._flush(patience)
            except ssl.SSLError as exc:
                self._broken = True
                failure = exc
            except (PeerGone, PeerStalled) as exc:
                raise HandshakeFailed(f"{where}: it went away during the handshake") from exc
            if failure is not None:
                with contextlib.suppress(PeerGone, PeerStalled):
                    await self._flush(patience)  # the alert that tells the peer why
        if failure is not None:
            raise HandshakeFailed(f"{where}: {_describe(failure)}") from failure
        if deadline.cancelled_caught:
            raise HandshakeFailed(f"{where}: no handshake within {patience:g} s")

    async def receive(self) -> bytes:
        """All that has arrived, at least one octet; nothing once the peer has said that it ends.

        Raises Truncated when it ended without saying so, else PeerGone. Safe to cancel.
        """
        while True:
            # Kept until it is handed over: what is to be answered first may be cancelled.
            self._held = self._held or self._decrypt()
            if self._outgoing.pending:
                await self._flush(_GOODBYE)
            if self._held or self._ended:
                octets, self._held = self._held, b""
                return octets
            await self._feed()

    async def send(self, pieces: Sequence[Buffer], *, patience: float) -> None:
        """Encrypt `pieces` and write them; see `ByteStream.send`."""
        if self._broken:
            raise PeerGone(f"{format_address(self.peer)}: the connection is broken")
        for part in _parts(pieces):
            self._encrypt(part)
            del part  # it may be long before the peer has taken it
            await self._flush(patience)

    async def end(self) -> None:
        """Say close_notify, and close without waiting for the peer's."""
        if not self._broken:
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()
            with trio.move_on_after(_GOODBYE, shield=True), contextlib.suppress(PeerGone, PeerStalled):
                await self._flush(_GOODBYE)
        await self._transport.end()

    def close(self) -> None:
        """Close the connection without a word, which the peer takes for truncation."""
        self._transport.close()

    def abort(self) -> None:
        """Reset the connection."""
        self._transport.abort()

    # -- between the two

    def _shake(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def _encrypt(self, octets: Buffer) -> None:
        rest = memoryview(octets)
        try:
            while rest:
                rest = rest[self._tls.write(rest) :]
        except ssl.SSLError as exc:
            self._broken = True
            raise PeerGone(f"{format_address(self.peer)}: {_describe(exc)}") from exc

    def _decrypt(self) -> bytes:
        pieces: list[bytes] = []
        try:
            while not self._ended:
                octets = self._tls.read(_PLAIN_READ)
                # Nothing, or SSLZeroReturnError, is the peer's close_notify.
                if octets:
                    pieces.append(octets)
                else:
                    self._ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._ended = True
        except ssl.SSLEOFError as exc:
            self._broken = True
            if not pieces:
                raise Truncated(f"{format_address(self.peer)}: ended without close_notify") from exc
        except ssl.SSLError as exc:
            self._broken = True
            if not pieces:
                raise PeerGone(f"{format_address(self.peer)}: {_describe(exc)}") from exc
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _feed(self) -> None:
        """Take what the transport has; its end is an end without close_notify."""
        octets = await self._transport.receive()
        if octets:
            self._incoming.write(octets)
        else:
            self._incoming.write_eof()

    async def _flush(self, patience: float) -> None:
        """Write all that is encrypted; in the order of encryption, whoever calls."""
        async with self._writing:
            while self._outgoing.pending:
                try:
                    await self._transport.send((self._outgoing.read(),), patience=patience)
                except BaseException:
                    # Half a record may be out, also when this was cancelled: nothing that follows would be understood.
                    self._broken = True
                    raise


def _parts(pieces: Iterable[Buffer]) -> Iterator[Buffer]:
    """All of `pieces` in their order, joined and cut so that each part has at most _PLAIN_WRITE octets."""
    gathered: list[Buffer] = []
    octets = 0
    for piece in pieces:
        for start in range(0, len(piece), _PLAIN_WRITE):
            cut = piece if len(piece) <= _PLAIN_WRITE else memoryview(piece)[start : start + _PLAIN_WRITE]
            if octets + len(cut) > _PLAIN_WRITE:
                yield b"".join(gathered)
                gathered.clear()
                octets = 0
            gathered.append(cut)
            octets += len(cut)
    if gathered:
        yield gathered[0] if len(gathered) == 1 else b"".join(gathered)


def _describe(exc: ssl.SSLError) -> str:
    return (exc.reason or exc.strerror or type(exc).__name__).replace("_", " ").lower()
