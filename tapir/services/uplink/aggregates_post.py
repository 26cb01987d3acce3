"""One histogram on its way to Core: what is read for it, each time anew, and the POST itself.

The signing key, our certificate and the authorities may have been renewed since the last try, so each try reads them,
and has a connection of its own.
"""

import os
import ssl
import stat
from pathlib import Path
from typing import Final

import attrs
import trio

from tapir.codec.aggregates import (
    AggregateRequest,
    NoReceipt,
    Receipt,
    build_request,
    judge_answer,
    parse_aggregate_key,
)
from tapir.codec.jose import KeyDocumentError, SigningKey
from tapir.model.errors import TapirError
from tapir.store.parquetfiles import Retention, StoredFile
from tapir.transport.http.client import HttpFailed, open_client
from tapir.transport.tls import TlsError, client_context

LARGEST: Final = 256 << 20
"""octets of a file that is sent; a million names take some fifty"""
_LARGEST_KEY: Final = 64 << 10
_LARGEST_ANSWER: Final = 64 << 10
_SLOWEST: Final = 16 << 10
"""octets a second, below which a file is given up"""


@attrs.frozen(kw_only=True)
class AggregateSettings:
    """What is sent to where. `url` is from `aggregate_url`, `agent` from `user_agent`; times in seconds.

    The outbox is looked at when somebody says so and each `interval`, what was sent is cleaned up each
    `clean_interval`. The server has `connect` for a connection and `patience` for each piece of what goes and comes,
    and `whole`, and longer for large files, for all of it; at the stop a POST under way has `farewell`. A file that
    waits for `alarm_after` is an exceptional event.
    """

    enabled: bool
    data_dir: Path
    url: str
    signing_key: Path
    client_certificate: Path | None
    client_key: Path | None
    ca: Path | None
    keep_sent: Retention
    agent: str
    interval: float = 10.0
    clean_interval: float = 60.0
    connect: float = 30.0
    patience: float = 30.0
    whole: float = 120.0
    farewell: float = 3.0
    alarm_after: float = 3600.0


class NotReady(TapirError):
    """Nothing can be sent now, whichever file; the text says which setting is at fault, and shows no secret."""


class FileUnusable(TapirError):
    """This file cannot be sent; the text says why."""


@attrs.frozen(kw_only=True)
class Parcel:
    """A request with the connection it is to have; `deadline` is in seconds."""

    request: AggregateRequest
    context: ssl.SSLContext = attrs.field(repr=False)
    connect: float
    patience: float
    deadline: float


def prepare(settings: AggregateSettings, file: StoredFile, now: int) -> Parcel | None:
    """The file, signed as of `now` (µs since the epoch); None when it is not there any more.

    Blocks. Raises NotReady and FileUnusable.
    """
    key = _read_key(settings.signing_key)
    context = _make_context(settings)
    body = _read(file.path)
    if body is None:
        return None
    return Parcel(
        request=build_request(body, file.name, url=settings.url, key=key, agent=settings.agent, now=now),
        context=context,
        connect=settings.connect,
        patience=settings.patience,
        deadline=settings.whole + len(body) / _SLOWEST,
    )


async def post(parcel: Parcel) -> Receipt | NoReceipt:
    """What Core says to it. Raises HttpFailed, and NoConnection when nothing was asked."""
    request = parcel.request
    with trio.move_on_after(parcel.deadline):
        async with open_client(parcel.context, patience=parcel.patience, connect=parcel.connect) as client:
            answer = await client.ask(
                "POST", request.url, limit=_LARGEST_ANSWER, content=request.body, headers=dict(request.headers)
            )
        return judge_answer(answer.status, answer.location, url=request.url)
    raise HttpFailed(f"it was not done within {parcel.deadline:.0f} s")


def _make_context(settings: AggregateSettings) -> ssl.SSLContext:
    if not settings.url.startswith("https:"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # nobody is spoken to with it, and it trusts nobody
    try:
        return client_context(ca=settings.ca, certificate=settings.client_certificate, key=settings.client_key)
    except TlsError as exc:
        raise NotReady(str(exc)) from None


def _read_key(path: Path) -> SigningKey:
    try:
        with path.open("rb") as file:
            return parse_aggregate_key(file.read(_LARGEST_KEY))
    except OSError as exc:
        raise NotReady(f"the signing key {path} cannot be read: {exc.strerror}") from None
    except KeyDocumentError as exc:
        raise NotReady(f"the signing key {path}: {exc}") from None


def _read(path: Path) -> bytes | None:
    """What the file holds; None when it is gone. Waits for nobody, also where somebody put a pipe in its place."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise FileUnusable(f"{path} is no file")
            if not 0 < status.st_size <= LARGEST:
                raise FileUnusable(f"{path} has {status.st_size} octets, which no histogram has")
            body = file.read(LARGEST + 1)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise FileUnusable(f"{path} cannot be read: {exc.strerror}") from None
    if not 0 < len(body) <= LARGEST:
        raise FileUnusable(f"{path} has another length than it had")
    return body
