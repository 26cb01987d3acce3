"""Uploads are signed as the existing EDM signs them, Core's receiver takes them, and nothing that was changed."""

import json

import httpx
import pytest
from aggregate_receiver import DAY, SKEW, AggregateReceiver
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from http_servers import serving
from hypothesis import given
from hypothesis import strategies as st
from josepy.jwk import JWKEC

from tapir.codec.aggregates import (
    AggregateRequest,
    AggregateUrlError,
    NoReceipt,
    Receipt,
    Refusal,
    aggregate_url,
    build_request,
    format_duration,
    format_interval,
    judge_answer,
    parse_aggregate_key,
    user_agent,
)
from tapir.codec.edmnames import FileName
from tapir.codec.jose import KeyDocumentError

SECOND = 1_000_000
NOW = 1_780_000_000
START = 1_779_971_696  # 2026-05-28T12:34:56Z
PATH = "/api/v1/aggregate/histogram"
URL = f"https://aggregates.example.org{PATH}"

# The key of RFC 8037, appendix A.1.
JWK = {
    "kty": "OKP",
    "crv": "Ed25519",
    "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    "kid": "test-key",
}
KEY = parse_aggregate_key(json.dumps(JWK).encode())
NAME = FileName(kind="dns_histogram", start=START * SECOND, stop=(START + 120) * SECOND)


def request(body: bytes = b"payload", *, now: float = NOW) -> AggregateRequest:
    return build_request(body, NAME, url=URL, key=KEY, agent="edm/1.2.3 linux/amd64", now=int(now * SECOND))


def sent(made: AggregateRequest) -> dict[str, str]:
    return {name.lower(): value for name, value in made.headers}


@pytest.fixture
def receiver() -> AggregateReceiver:
    return AggregateReceiver({"test-key": KEY.public_key().jwk.key}, lambda: NOW)


def test_the_worked_example() -> None:
    assert request().headers == (
        ("Content-Type", "application/vnd.apache.parquet"),
        ("Content-Length", "7"),
        ("Aggregate-Interval", "2026-05-28T12:34:56Z/PT2M"),
        ("User-Agent", "edm/1.2.3 linux/amd64"),
        ("Content-Digest", "sha-256=:I59Z7VXnN8dxR89VrQwbAwttfudIp0JpUvm4UtWpNeU=:"),
        (
            "Signature-Input",
            'sig1=("content-type" "content-length" "content-digest");created=1780000000;alg="ed25519";keyid="test-key"',
        ),
        (
            "Signature",
            "sig1=:CsDYsk91BQ2caxzyrh6QE/pUPdJVOlM0pV7X0IfeljNRxTGifp3as5DL+o2hisNz6KpUjm744LudGGY3eB2gCQ==:",
        ),
    )
    assert request().url == URL
    assert "payload" not in repr(request())


def test_the_receiver_takes_it_once_and_says_where_it_is(receiver: AggregateReceiver) -> None:
    for _ in range(2):
        answer = receiver.receive("POST", PATH, sent(request()), b"payload")
        assert (answer.status, answer.location) == (201, "/api/v1/aggregates/" + 24 * "0")
    assert receiver.duplicates == 1
    (stored,) = receiver.stored
    assert (stored.creator, stored.body, stored.seconds) == ("test-key", b"payload", 120)
    assert stored.start is not None
    assert stored.start.timestamp() == START


def test_the_receiver_refuses_a_changed_body(receiver: AggregateReceiver) -> None:
    answer = receiver.receive("POST", PATH, sent(request()), b"Payload")
    assert (answer.status, answer.detail) == (401, "Content-Digest verification failed")
    assert not receiver.stored


OTHER = sent(request(b"payloads"))


@pytest.mark.parametrize(
    "changed",
    [
        {"content-type": "application/binary"},
        {"content-length": "8"},
        {"content-digest": OTHER["content-digest"]},
        {"signature": OTHER["signature"]},
        {"signature-input": sent(request())["signature-input"].replace("1780000000", "1780000001")},
        {"signature-input": sent(request())["signature-input"].replace(' "content-length"', "")},
    ],
    ids=["type", "length", "digest", "signature", "created", "components"],
)
def test_the_receiver_refuses_a_changed_header(receiver: AggregateReceiver, changed: dict[str, str]) -> None:
    answer = receiver.receive("POST", PATH, sent(request()) | changed, b"payload")
    assert (answer.status, answer.detail) == (401, "Invalid HTTP signature")
    assert not receiver.stored


@pytest.mark.parametrize(
    ("age", "status"), [(0, 201), (DAY, 201), (DAY + SKEW, 201), (DAY + SKEW + 1, 401), (-SKEW, 201), (-SKEW - 1, 401)]
)
def test_the_receiver_refuses_an_old_date(receiver: AggregateReceiver, age: float, status: int) -> None:
    assert receiver.receive("POST", PATH, sent(request(now=NOW - age)), b"payload").status == status


def test_the_receiver_refuses_an_unknown_key() -> None:
    answer = AggregateReceiver({}, lambda: NOW).receive("POST", PATH, sent(request()), b"payload")
    assert (answer.status, answer.detail) == (401, "Unknown HTTP signature key")


@pytest.mark.parametrize("header", ["aggregate-interval", "content-length", "signature", "content-digest"])
def test_the_receiver_needs_each_header(receiver: AggregateReceiver, header: str) -> None:
    headers = sent(request())
    del headers[header]
    assert receiver.receive("POST", PATH, headers, b"payload").status == 422


@given(st.binary(max_size=200), st.integers(0, 4_000_000_000))
def test_whatever_is_sent_verifies(body: bytes, now: int) -> None:
    receiver = AggregateReceiver({"test-key": KEY.public_key().jwk.key}, lambda: now)
    assert receiver.receive("POST", PATH, sent(request(body, now=now)), body).status == 201


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "PT0S"),
        (45, "PT45S"),
        (60, "PT1M"),
        (3723, "PT1H2M3S"),
        (1.5, "PT1.5S"),
        (-1, "PT0S"),
        (5400, "PT1H30M"),
        (7200, "PT2H"),
        (60.000001, "PT1M0.000001S"),
        (90061, "PT25H1M1S"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert format_duration(round(seconds * SECOND)) == text


def test_intervals() -> None:
    start = 1_777_466_085 * SECOND
    assert format_interval(start, start + 45 * SECOND) == "2026-04-29T12:34:45Z/PT45S"
    assert format_interval(start, start - SECOND) == "2026-04-29T12:34:45Z/PT0S"


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("https://127.0.0.1:8443", f"https://127.0.0.1:8443{PATH}"),
        ("https://core.example/", f"https://core.example{PATH}"),
        ("http://[::1]:80/some//base/", f"http://[::1]:80/some/base{PATH}"),
        ("https://core.example/a%20b", f"https://core.example/a%20b{PATH}"),
    ],
)
def test_urls(base: str, url: str) -> None:
    assert aggregate_url(base) == url


@pytest.mark.parametrize(
    "base",
    [
        "",
        "core.example",
        "ftp://core.example",
        "https://",
        "https://:8443",
        "https://core.example:port",
        "https://[::1",
        "https://user:hunter2@core.example",
        "https://core.example/?hunter2",
        "https://core.example/#hunter2",
        "https://core.example/hunter2/%zz",
        "https://core.example/../x",
        "https://core.example/ hunter2",
        "https://core.example/\n",
        "https://cöre.example/",
    ],
)
def test_what_is_no_url_to_send_to(base: str) -> None:
    with pytest.raises(AggregateUrlError) as caught:
        aggregate_url(base)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("location", "resolved", "aggregate_id"),
    [
        (None, "", None),
        ("", "", None),
        (
            "/api/v1/aggregates/0123456789abcdef01234567",
            "https://aggregates.example.org/api/v1/aggregates/0123456789abcdef01234567",
            "0123456789abcdef01234567",
        ),
        ("https://other.example/x", "https://other.example/x", None),
    ],
)
def test_201_is_a_receipt(location: str | None, resolved: str, aggregate_id: str | None) -> None:
    assert judge_answer(201, location, url=URL) == Receipt(location=resolved, aggregate_id=aggregate_id)


@pytest.mark.parametrize(
    "location",
    ["https://[::1", ":bad", "/%zz", "/\x1b[2J", "/\n", "/ä", "https://h:99999/", "javascript:1", 3000 * "x", "http:"],
)
def test_201_with_a_bad_location_is_none(location: str) -> None:
    assert judge_answer(201, location, url=URL) == NoReceipt(refusal=Refusal.BAD_LOCATION, status=201)


@given(st.text())
def test_whatever_the_location_it_is_judged(location: str) -> None:
    verdict = judge_answer(201, location, url=URL)
    assert isinstance(verdict, NoReceipt) or (verdict.location.isascii() and verdict.location.isprintable())


@pytest.mark.parametrize(
    ("status", "refusal"),
    [
        (200, Refusal.UNEXPECTED),
        (202, Refusal.UNEXPECTED),
        (100, Refusal.UNEXPECTED),
        (307, Refusal.REDIRECTED),
        (400, Refusal.REJECTED),
        (422, Refusal.REJECTED),
        (401, Refusal.UNAUTHORISED),
        (403, Refusal.UNAUTHORISED),
        (429, Refusal.OVERLOADED),
        (503, Refusal.OVERLOADED),
        (500, Refusal.SERVER_ERROR),
    ],
)
def test_everything_else_is_a_refusal(status: int, refusal: Refusal) -> None:
    assert judge_answer(status, "/x", url=URL) == NoReceipt(refusal=refusal, status=status)


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"kid": None}, "no `kid`"),
        ({"kid": 'a"b'}, "other characters"),
        ({"kid": "käy"}, "other characters"),
        ({"d": None}, "public key"),
        ({"d": "AAAA"}, "the key"),
        ({"kty": "oct"}, "the key"),
    ],
)
def test_keys_that_cannot_sign(changed: dict[str, str | None], text: str) -> None:
    document = {name: value for name, value in (JWK | changed).items() if value is not None}
    with pytest.raises(KeyDocumentError, match=text) as caught:
        parse_aggregate_key(json.dumps(document).encode())
    assert JWK["d"] not in str(caught.value)


def test_only_ed25519_signs() -> None:

    document = JWKEC(key=generate_private_key(SECP256R1())).to_json() | {"kid": "test-key", "alg": "ES256"}
    with pytest.raises(KeyDocumentError, match="not of Ed25519"):
        parse_aggregate_key(json.dumps(document).encode())


def test_who_we_say_we_are() -> None:
    assert user_agent(version="1.2.3", system="Linux", machine="x86_64") == "edm/1.2.3 linux/amd64"
    assert user_agent(version="1.2.3", system="Linux", machine="riscv64") == "edm/1.2.3 linux/riscv64"


async def test_it_arrives_as_it_was_made(receiver: AggregateReceiver) -> None:
    async with serving(receiver.script) as server, httpx.AsyncClient(trust_env=False) as client:
        url = aggregate_url(f"http://{server.address}/")
        made = build_request(b"payload", NAME, url=url, key=KEY, agent="edm/1 linux/amd64", now=NOW * SECOND)
        answer = await client.post(made.url, content=made.body, headers=made.headers)
        verdict = judge_answer(answer.status_code, answer.headers.get("location"), url=made.url)
        assert verdict == Receipt(
            location=f"http://{server.address}/api/v1/aggregates/{'0' * 24}", aggregate_id="0" * 24
        )
    (asked,) = server.asked
    assert [asked.headers[name.lower()] for name, _ in made.headers] == [value for _, value in made.headers]
    assert "transfer-encoding" not in asked.headers
