"""Aggregates on their way to Core: the signed POST of a histogram file, and what its answer comes to (edm.md §10).

    POST /api/v1/aggregate/histogram
    Aggregate-Interval: 2026-05-28T12:34:56Z/PT2M
    Signature-Input: sig1=("content-type" "content-length" "content-digest");created=...;alg="ed25519";keyid="..."

The signature is RFC 9421's. Its base, four lines here, is put together by hand: `http-message-signatures` writes the
parameters in another order than the existing EDM, and this request is to be that one's, octet for octet. In the tests
that library is the one who verifies.

Method, target and `Aggregate-Interval` are not signed, since Core's receiver has it so: that they are not changed on
the way rests on TLS.
"""

import base64
import hashlib
import re
import string
from enum import StrEnum
from typing import Final
from urllib.parse import urljoin, urlsplit

import attrs

from tapir.codec.edmnames import FileName
from tapir.codec.jose import Algorithm, KeyDocumentError, SigningKey, parse_signing_key
from tapir.codec.rfc3339 import format_time
from tapir.model.errors import TapirError

CONTENT_TYPE: Final = "application/vnd.apache.parquet"
TARGET: Final = "api/v1/aggregate/histogram"
LABEL: Final = "sig1"

_SECOND: Final = 1_000_000
_KEY_ID: Final = re.compile(r"[a-zA-Z0-9_\-.]{1,255}", re.ASCII)
_LONGEST_LOCATION: Final = 2048
_AGGREGATE_ID: Final = re.compile(r"/api/v1/aggregates/([0-9a-f]{24})", re.ASCII)
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9a-fA-F]{2})")
_PRINTABLE: Final = frozenset(string.ascii_letters + string.digits + string.punctuation + " ")
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


class AggregateUrlError(TapirError):
    """Nothing can be sent to such a URL; the text says why, and does not show it: there may be a password in it."""


@attrs.frozen(kw_only=True)
class AggregateRequest:
    """A POST, complete: these headers in this order, and no others of their names."""

    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = attrs.field(repr=lambda body: f"<{len(body)} octets>")


@attrs.frozen(kw_only=True)
class Receipt:
    """Core has the aggregate: now, or from an earlier time. It answers both alike, with the place of what it has."""

    location: str
    """where it is, as an absolute URL for logs; empty when Core did not say"""
    aggregate_id: str | None
    """how Core calls it, if the location has Core's form"""


class Refusal(StrEnum):
    """Why an answer is no receipt."""

    REDIRECTED = "redirected"
    """3xx, which is not followed: the signature does not say where to the request goes"""
    UNAUTHORISED = "unauthorised"
    """401, 403: Core does not know our key, or finds the signature wrong or old; time goes wrong, too"""
    REJECTED = "rejected"
    """another 4xx: this file will hardly ever be taken"""
    OVERLOADED = "overloaded"
    """429, 503"""
    SERVER_ERROR = "server-error"
    """another 5xx"""
    UNEXPECTED = "unexpected"
    """success that is not 201, and everything else"""
    BAD_LOCATION = "bad-location"
    """201, with a Location that is no URL"""


@attrs.frozen(kw_only=True)
class NoReceipt:
    """Core does not have the aggregate, as far as can be told: to be sent again. A second copy does no harm."""

    refusal: Refusal
    status: int


_REFUSALS: Final = {
    401: Refusal.UNAUTHORISED,
    403: Refusal.UNAUTHORISED,
    429: Refusal.OVERLOADED,
    503: Refusal.OVERLOADED,
}
_REFUSALS_BY_CLASS: Final = {3: Refusal.REDIRECTED, 4: Refusal.REJECTED, 5: Refusal.SERVER_ERROR}


def parse_aggregate_key(data: bytes) -> SigningKey:
    """The key that signs aggregates: a JWK with Ed25519 and a `kid` that Core looks up. Raises KeyDocumentError."""
    key = parse_signing_key(data)
    if key.algorithm is not Algorithm.EDDSA:
        raise KeyDocumentError("the key is not of Ed25519, with which alone aggregates are signed")
    if key.kid is None:
        raise KeyDocumentError("the key has no `kid`, by which Core would find its public half")
    if _KEY_ID.fullmatch(key.kid) is None:
        raise KeyDocumentError("the key's `kid` has other characters than Core allows: letters, digits, `_`, `-`, `.`")
    return key


def aggregate_url(base: str) -> str:
    """Where histograms are posted to, below `base` (edm's `http-url`). Raises AggregateUrlError."""
    if not set(base) <= _PRINTABLE - {" "}:
        raise AggregateUrlError("it has characters that no URL has")
    try:
        parts = urlsplit(base)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise AggregateUrlError("it is no URL") from None
    if parts.scheme not in ("http", "https") or not host:
        raise AggregateUrlError("allowed is a URL such as https://aggregates.example.org")
    if "@" in parts.netloc:
        raise AggregateUrlError("a user and a password have no place there")
    if "?" in base or "#" in base:
        raise AggregateUrlError("allowed is a URL without `?` and `#`")
    if _BAD_ESCAPE.search(base):
        raise AggregateUrlError("a `%` is not followed by two hexadecimal digits")
    if any(step in (".", "..") for step in parts.path.split("/")):
        raise AggregateUrlError("allowed is a path without `.` and `..`")
    path = "/".join(filter(None, (*parts.path.split("/"), TARGET)))
    return f"{parts.scheme}://{parts.netloc}/{path}"


def user_agent(*, version: str, system: str, machine: str) -> str:
    """Who we say we are: `edm/VERSION OS/ARCH`, the last two as Go calls them."""
    return f"edm/{version} {system.lower()}/{_ARCHITECTURES.get(machine, machine)}"


def build_request(body: bytes, name: FileName, *, url: str, key: SigningKey, agent: str, now: int) -> AggregateRequest:
    """The POST of the file `name` with the content `body` to `url`, signed as of `now`.

    `url` is from `aggregate_url`, `key` from `parse_aggregate_key`. The digest is computed here: for large files this
    takes as long as SHA-256 does, without holding the interpreter.
    """
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    covered = {
        "content-type": CONTENT_TYPE,
        "content-length": str(len(body)),
        "content-digest": f"sha-256=:{digest}:",
    }
    components = " ".join(f'"{name}"' for name in covered)
    parameters = f'({components});created={now // _SECOND};alg="ed25519";keyid="{key.kid}"'
    lines = [*(f'"{name}": {value}' for name, value in covered.items()), f'"@signature-params": {parameters}']
    signature = base64.b64encode(key.sign("\n".join(lines).encode())).decode()
    headers = (
        ("Content-Type", covered["content-type"]),
        ("Content-Length", covered["content-length"]),
        ("Aggregate-Interval", format_interval(name.start, name.stop)),
        ("User-Agent", agent),
        ("Content-Digest", covered["content-digest"]),
        ("Signature-Input", f"{LABEL}={parameters}"),
        ("Signature", f"{LABEL}=:{signature}:"),
    )
    return AggregateRequest(url=url, headers=headers, body=body)


def judge_answer(status: int, location: str | None, *, url: str) -> Receipt | NoReceipt:
    """What an answer means whose body was read to its end; `location` is its header, if it has one.

    `url` is where the request went to; a relative location starts there.
    """
    if status != 201:
        return NoReceipt(refusal=_refusal(status), status=status)
    if not location:
        return Receipt(location="", aggregate_id=None)
    resolved = _resolve(url, location)
    if resolved is None:
        return NoReceipt(refusal=Refusal.BAD_LOCATION, status=status)
    match = _AGGREGATE_ID.search(urlsplit(resolved).path)
    return Receipt(location=resolved, aggregate_id=match and match[1])


def format_interval(start: int, stop: int) -> str:
    """`Aggregate-Interval` from `start` to `stop`, microseconds since the epoch."""
    return f"{format_time(start)}/{format_duration(stop - start)}"


def format_duration(microseconds: int) -> str:
    """An ISO 8601 duration in hours, minutes and seconds, such as `PT1H2M3.5S`; `PT0S` for none and less."""
    if microseconds <= 0:
        return "PT0S"
    seconds, fraction = divmod(microseconds, _SECOND)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{hours}H" * bool(hours), f"{minutes}M" * bool(minutes)]
    if fraction:
        parts.append(f"{seconds}.{fraction:06}".rstrip("0") + "S")
    elif seconds:
        parts.append(f"{seconds}S")
    return "PT" + "".join(parts)


def _refusal(status: int) -> Refusal:
    return _REFUSALS.get(status) or _REFUSALS_BY_CLASS.get(status // 100, Refusal.UNEXPECTED)


def _resolve(url: str, location: str) -> str | None:
    """`location` as an absolute URL that logs can show; None when it is none."""
    if len(location) > _LONGEST_LOCATION or not set(location) <= _PRINTABLE or location.startswith(":"):
        return None
    if _BAD_ESCAPE.search(location):
        return None
    try:
        resolved = urljoin(url, location)
        parts = urlsplit(resolved)
        _ = parts.port
    except ValueError:
        return None
    return resolved if parts.scheme in ("http", "https") and parts.netloc else None
