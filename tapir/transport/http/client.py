"""An HTTP client that believes nothing: one request, one answer of bounded size, over TLS that was verified.

No redirect is followed, no proxy is taken from the environment, nothing is decompressed: an answer with a content
encoding is refused, so what arrives is what was counted. The caller bounds the time of it all with a cancel scope.
"""

import contextlib
import logging
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Final

import attrs
import httpx

from tapir.model.errors import TapirError
from tapir.transport.tls import client_context

_AGENT: Final = "tapir"
_PIECE: Final = 64 * 1024
"""octets of a request's body that are encrypted and written at once, each in its own time"""

# They tell of every request at INFO, and of every header at DEBUG; what a failure comes to is said by who asked.
for _talker in ("httpx", "httpcore"):
    logging.getLogger(_talker).setLevel(logging.WARNING)


class HttpFailed(TapirError):
    """There is no whole answer; the text says why in a few words, without the URL and without any header."""


class NoConnection(HttpFailed):
    """Nobody was reached, or whom we did not believe: nothing was asked."""


@attrs.frozen(kw_only=True)
class Answer:
    """What a server answered; the octets of the body, undecoded, are those of `body` back to back."""

    status: int
    content_type: str
    """without parameters, in lower case; empty for none"""
    body: tuple[bytes, ...]
    location: str = ""
    """that header as it came; empty for none"""

    def __repr__(self) -> str:
        return f"<Answer {self.status}, {self.content_type}, {sum(map(len, self.body))} octets>"


def https_context(
    *, verify: bool = True, ca: Path | None = None, certificate: Path | None = None, key: Path | None = None
) -> ssl.SSLContext:
    """A client's TLS 1.2 or later; `ca` None trusts what the system trusts. Blocks. Raises TlsError.

    Unless `verify`, anybody is believed to be the server.
    """
    context = client_context(ca=ca if verify else None, certificate=certificate, key=key)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class HttpClient:
    """Requests over connections that are kept while it is open; see `open_client`."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def ask(
        self, method: str, url: str, *, limit: int, content: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """The whole answer, of whatever status, with at most `limit` octets of body. Raises HttpFailed.

        `content` is sent with its length and not in chunks; a server that answers before it has all is heard, too.
        """
        sent = {"Accept-Encoding": "identity", **(headers or {})}
        with _translated():
            request = self._client.build_request(method, url, headers=sent)
            if content:
                request.headers["Content-Length"] = str(len(content))
                request.stream = _Pieces(content)
            async with contextlib.aclosing(await self._client.send(request, stream=True)) as response:
                encoding = response.headers.get("content-encoding", "identity").strip().lower()
                if encoding not in ("", "identity"):
                    raise HttpFailed("the answer is compressed, which was not asked for")
                body = await _collect(response, limit)
        return Answer(
            status=response.status_code,
            content_type=response.headers.get("content-type", "").partition(";")[0].strip().lower(),
            body=body,
            location=response.headers.get("location", ""),
        )


@contextlib.asynccontextmanager
async def open_client(
    context: ssl.SSLContext, *, patience: float, connect: float | None = None
) -> AsyncIterator[HttpClient]:
    """A client that waits `connect` seconds for a connection, and `patience` for each piece of what goes and comes.

    Without `connect` it has `patience` for that, too.
    """
    async with httpx.AsyncClient(
        verify=context,
        timeout=httpx.Timeout(patience, connect=patience if connect is None else connect),
        follow_redirects=False,
        trust_env=False,
        headers={"User-Agent": _AGENT},
        limits=httpx.Limits(max_connections=2),
    ) as client:
        yield HttpClient(client)


class _Pieces(httpx.AsyncByteStream):
    """A body piece by piece: each has its own time to leave, and the event loop its turn between two.

    No generator, which nobody would close when the request ends in its middle.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __aiter__(self) -> "AsyncIterator[bytes]":
        return _Cut(self._content)


class _Cut:
    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def __aiter__(self) -> "_Cut":
        return self

    async def __anext__(self) -> bytes:
        piece = self._content[self._at : self._at + _PIECE]
        if not piece:
            raise StopAsyncIteration
        self._at += len(piece)
        return piece


async def _collect(response: httpx.Response, limit: int) -> tuple[bytes, ...]:
    declared = response.headers.get("content-length", "")
    # It may be a very long number, which need not be one that Python reads.
    if declared.isdigit() and (len(declared) > len(str(limit)) or int(declared) > limit):
        raise HttpFailed(f"the answer is larger than {limit} octets")
    pieces: list[bytes] = []
    octets = 0
    try:
        async for piece in response.aiter_raw():
            octets += len(piece)
            if octets <= limit:
                pieces.append(piece)
            elif not response.is_closed:
                # The generators below would be left to the garbage collector if we left; so they run into the end.
                await response.aclose()
    except httpx.TransportError:
        if octets <= limit:
            raise
    if octets > limit:
        raise HttpFailed(f"the answer is larger than {limit} octets")
    return tuple(pieces)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """What httpx raises, in our words."""
    try:
        yield
    except httpx.ConnectTimeout:
        raise NoConnection("no connection came about in time") from None
    except httpx.TimeoutException:
        raise HttpFailed("the answer stalled") from None
    except httpx.ConnectError as exc:
        raise NoConnection(f"no connection: {_reason(exc)}") from exc
    except httpx.RemoteProtocolError as exc:
        raise HttpFailed(f"the answer is cut off, or is no HTTP: {_reason(exc)}") from exc
    except (httpx.NetworkError, httpx.ProtocolError) as exc:
        raise HttpFailed(f"the connection broke: {_reason(exc)}") from exc
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        raise HttpFailed(f"it cannot be asked: {_reason(exc)}") from exc


def _reason(exc: BaseException) -> str:
    """What lies behind `exc`: TLS and the system know best."""
    behind: BaseException | None = exc
    while behind is not None:
        match behind:
            case ssl.SSLCertVerificationError():
                return f"its certificate is not trusted: {behind.verify_message}"
            case ssl.SSLError():
                return (behind.reason or behind.strerror or "TLS").replace("_", " ").lower()
            case OSError() if behind.strerror:
                return behind.strerror.lower()
            case _:
                behind = behind.__cause__ or behind.__context__
    return (str(exc) or type(exc).__name__)[:200]
