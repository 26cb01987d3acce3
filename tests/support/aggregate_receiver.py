"""Core's receiver of aggregates, as far as a sender can tell (core.md §2): what it takes, and how it says no.

Signatures are verified by `http-message-signatures`, as Core does, but with the test's clock. A signature may be a day
old, and five seconds more; five seconds it may be in the future. Only `content-digest` must be covered.
"""

import base64
import datetime as dt
import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from http_message_signatures import HTTPMessageVerifier, HTTPSignatureKeyResolver, InvalidSignature
from http_message_signatures.algorithms import ED25519
from http_servers import Exchange

TYPES = ("histogram", "vector", "test")
MEDIA = ("application/vnd.apache.parquet", "application/binary")
NEEDED = ("content-type", "aggregate-interval", "content-digest", "content-length", "signature", "signature-input")
DAY = 86400.0
SKEW = 5.0

_DURATION = re.compile(r"PT(?=\d)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:\.\d+)?S)?")


@attrs.frozen
class Answer:
    """A status and its detail, and of a 201 where the aggregate is."""

    status: int
    detail: str = ""
    location: str | None = None


@attrs.frozen
class Stored:
    """An aggregate that was taken."""

    creator: str
    kind: str
    headers: Mapping[str, str]
    body: bytes
    start: dt.datetime | None
    seconds: int


@attrs.frozen
class _Message:
    method: str
    url: str
    headers: Mapping[str, str]


class _Keys(HTTPSignatureKeyResolver):
    def __init__(self, keys: Mapping[str, Ed25519PublicKey]) -> None:
        self._keys = keys

    def resolve_public_key(self, key_id: str) -> Ed25519PublicKey | None:
        return self._keys.get(key_id)


class _Verifier(HTTPMessageVerifier):
    """The library's, with a clock that can be set."""

    now = 0.0

    def validate_created_and_expires(self, sig_input: Any, max_age: object = None) -> None:
        created, expires = sig_input.params.get("created"), sig_input.params.get("expires")
        if type(created) is not int or not self.now - DAY - SKEW <= created <= self.now + SKEW:
            raise InvalidSignature("created")
        if expires is not None and expires < self.now - SKEW:
            raise InvalidSignature("expires")


@attrs.define
class AggregateReceiver:
    """Takes aggregates signed by `keys`; `now` is the time, in seconds since the epoch."""

    keys: dict[str, Ed25519PublicKey]
    now: Callable[[], float]
    stored: list[Stored] = attrs.Factory(list)
    duplicates: int = 0

    async def script(self, exchange: Exchange) -> None:
        """What `http_servers.serving` runs for each request."""
        asked = exchange.asked
        answer = self.receive(asked.method, asked.path, asked.headers, asked.body)
        head = "" if answer.location is None else f"Location: {answer.location}\r\n"
        await exchange.answer(answer.status, answer.detail.encode(), head=head)

    def receive(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Judge one request; the names of `headers` are in lower case."""
        kind = path.removeprefix("/api/v1/aggregate/")
        if method != "POST" or kind == path:
            return Answer(404)
        missing = [name for name in NEEDED if name not in headers]
        if kind not in TYPES or missing or headers["content-type"] not in MEDIA:
            return Answer(422, f"missing: {missing}")
        if not headers["content-length"].isdecimal():
            return Answer(422, "Content-Length")
        if refused := self._verify(path, headers, body):
            return refused
        if found := [n for n, other in enumerate(self.stored) if _digest(other.headers) == _digest(headers)]:
            self.duplicates += 1
            return Answer(201, location=self._location(found[0]))
        try:
            start, seconds = parse_interval(headers["aggregate-interval"])
        except ValueError as exc:
            return Answer(422, str(exc))
        if int(headers["content-length"]) != len(body):
            return Answer(400, "Content-Length does not match")
        (creator,) = re.findall(r'keyid="([^"]*)"', headers["signature-input"])
        self.stored.append(Stored(creator, kind, dict(headers), body, start, seconds))
        return Answer(201, location=self._location(len(self.stored) - 1))

    def _location(self, number: int) -> str:
        return f"/api/v1/aggregates/{number:024x}"

    def _verify(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer | None:
        if not re.search(r';alg="ed25519"', headers["signature-input"]):
            return Answer(500, "alg")
        key_id = re.search(r'keyid="([^"]*)"', headers["signature-input"])
        if key_id is None:
            return Answer(401, "Unknown HTTP signature key")
        if not re.fullmatch(r"[a-zA-Z0-9_\-.]+", key_id[1]):
            return Answer(400, "Unable to verify HTTP signature")
        if key_id[1] not in self.keys:
            return Answer(401, "Unknown HTTP signature key")
        verifier = _Verifier(signature_algorithm=ED25519, key_resolver=_Keys(self.keys))
        verifier.now = self.now()
        message = _Message("POST", f"https://receiver.example{path}", headers)
        try:
            (result,) = verifier.verify(message, max_age=None)
        except InvalidSignature:
            return Answer(401, "Invalid HTTP signature")
        if '"content-digest"' not in result.covered_components:
            return Answer(401, "Unable to verify Content-Digest")
        if _digest(headers) not in (_digest_of("sha-256", body), _digest_of("sha-512", body)):
            return Answer(401, "Content-Digest verification failed")
        return None


def parse_interval(text: str) -> tuple[dt.datetime | None, int]:
    """Start and whole seconds of an `Aggregate-Interval`, which may be empty. Raises ValueError."""
    if not text:
        return None, 0
    first, _, second = text.partition("/")
    start = dt.datetime.fromisoformat(first)
    if start.tzinfo is None:
        raise ValueError("the interval has no time zone")
    if match := _DURATION.fullmatch(second):
        hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return start.astimezone(dt.UTC), 3600 * hours + 60 * minutes + seconds
    stop = dt.datetime.fromisoformat(second)
    if stop.tzinfo is None or stop < start:
        raise ValueError("the interval is negative or has no time zone")
    return start.astimezone(dt.UTC), int((stop - start).total_seconds())


def _digest(headers: Mapping[str, str]) -> str:
    return headers["content-digest"]


def _digest_of(algorithm: str, body: bytes) -> str:
    digest = hashlib.new(algorithm.replace("-", ""), body).digest()
    return f"{algorithm}=:{base64.b64encode(digest).decode()}:"
