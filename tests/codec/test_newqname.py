"""Events are those of the existing EDM, octet by octet, and what receivers ask for."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dns.name
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sightings import MAY, sightings_of

from tapir.codec.jose.keys import Keystore
from tapir.codec.jose.keystore import parse_keystore, parse_signing_key
from tapir.codec.jose.verifying import verify_jws
from tapir.codec.newqname import encode_events, join_sightings, sign_event, topic_of

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
SCHEMA = json.loads((VECTORS / "schema" / "new_qname.schema.json").read_text())
EXAMPLE = (
    b'{"flags":33152,"qclass":1,"qname":"Example.COM.","qtype":28,'
    b'"timestamp":"2026-05-28T12:13:00Z","type":"new_qname","version":0}'
)
# RFC 8037 A.1.
KEY = parse_signing_key(
    b'{"kty":"OKP","crv":"Ed25519","kid":"test-key","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",'
    b'"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}'
)


def check(event: Any) -> None:
    """Assert what the schema of the receivers says, by the words that it uses."""
    assert set(SCHEMA["required"]) <= set(event)
    for member, value in event.items():
        rule = SCHEMA["properties"][member]  # analysts refuse what is not in it
        assert set(rule) <= {"type", "const", "enum", "minimum", "format", "description"}
        assert type(value) is {"integer": int, "string": str}[rule.get("type", "string")]
        assert value == rule.get("const", value)
        assert value in rule.get("enum", [value])
        assert rule.get("minimum") is None or value >= rule["minimum"]
        if rule.get("format") == "date-time":
            assert datetime.fromisoformat(str(value)).tzinfo is not None


def wire(*labels: bytes) -> bytes:
    return b"".join([bytes((len(label),)) + label for label in labels]) + b"\0"


def text_of(name: bytes) -> str:
    (event,) = encode_events(sightings_of([name]))
    text: str = json.loads(event)["qname"]
    return text


def test_the_worked_example() -> None:
    (event,) = encode_events(sightings_of([wire(b"Example", b"COM")], flags=33152, qtype=28))
    assert event == EXAMPLE
    assert sign_event(event, KEY) == (
        b'{"payload":"eyJmbGFncyI6MzMxNTIsInFjbGFzcyI6MSwicW5hbWUiOiJFeGFtcGxlLkNPTS4iLCJxdHlwZSI6MjgsInRpbWVzdGFtcCI6'
        b'IjIwMjYtMDUtMjhUMTI6MTM6MDBaIiwidHlwZSI6Im5ld19xbmFtZSIsInZlcnNpb24iOjB9",'
        b'"protected":"eyJhbGciOiJFZERTQSIsImtpZCI6InRlc3Qta2V5In0",'
        b'"signature":"Nayn-838oNLzMdsGiELJmMbywZ3z2b9LtMAFuzxJSiRQ8LFyAQHjgA4xacI4Llt1h2bBId0ZyI13A12dfvK1Cg"}'
    )
    assert topic_of("test-key") == "events/up/test-key/new_qname"


def test_what_is_signed_verifies() -> None:
    event = encode_events(sightings_of([wire(b"a")]))[0]
    verified = verify_jws(sign_event(event, KEY), Keystore((KEY.public_key(),)))
    assert (verified.payload, verified.signers) == (event, ("test-key",))


def test_a_message_that_receivers_took_has_our_members_in_our_order() -> None:
    signed = (VECTORS / "jws" / "new_qname_good_signed.json").read_bytes()
    payload = verify_jws(signed, parse_keystore((VECTORS / "jws" / "a.pub.json").read_bytes())).payload
    sample = json.loads(payload)
    check(sample)
    assert list(sample) == list(json.loads(EXAMPLE))
    protected = json.loads(sign_event(EXAMPLE, KEY))
    assert list(protected) == list(json.loads(signed))


@pytest.mark.parametrize(
    ("label", "text"),
    [
        (b"a-b_C9*", "a-b_C9*."),
        (b"a.b", r"a\.b."),
        (b" '@;()\"\\", r"\ \'\@\;\(\)\"\\."),
        (b"\0\x1f\x7f\xff", r"\000\031\127\255."),
        (b"<&>", "<&>."),
        (b"$/:,~!", "$/:,~!."),
    ],
)
def test_presentation_form(label: bytes, text: str) -> None:
    assert text_of(wire(label)) == text


def test_json_is_escaped_as_go_does_it() -> None:
    (event,) = encode_events(sightings_of([wire(b'<a>&"\\ \0')]))
    assert rb'"qname":"\u003ca\u003e\u0026\\\"\\\\\\ \\000."' in event


def test_the_root() -> None:
    assert text_of(b"\0") == "."


LABELS = st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=10)


@given(
    LABELS,
    st.integers(0, 65535),
    st.integers(0, 65535),
    st.integers(0, 65535),
    st.integers(-(2**63), 2**63 - 1),
)
def test_every_event_is_what_receivers_want(
    labels: list[bytes], flags: int, qtype: int, qclass: int, time: int
) -> None:
    (event,) = encode_events(sightings_of([wire(*labels)], flags=flags, qtype=qtype, qclass=qclass, time=time))
    assert event.isascii()
    said = json.loads(event)
    check(said)
    assert list(said) == sorted(said)
    assert dns.name.from_text(said["qname"]).labels == (*labels, b"")
    assert (said["flags"], said["qtype"], said["qclass"]) == (flags, qtype, qclass)
    usable = 0 <= time < 253_402_300_800_000_000
    stamp = datetime.fromtimestamp(time // 60_000_000 * 60 if usable else 0, tz=UTC)
    assert said["timestamp"] == stamp.strftime("%Y-%m-%dT%H:%M:00Z")
    # Go's encoder with nothing to escape is ours without white space.
    if not any(char in said["qname"] for char in "<>&"):
        assert event == json.dumps(said, separators=(",", ":")).encode()


def test_rows_are_taken_and_joined() -> None:
    first = sightings_of([wire(b"a"), wire(b"b")])
    second = sightings_of([wire(b"c")], flags=1, qtype=2, qclass=3, time=0)
    both = join_sightings([first, second])
    assert len(both) == 3
    assert repr(both) == "<Sightings: 3 rows>"
    assert encode_events(both) == encode_events(first) + encode_events(second)
    assert encode_events(both.rows(np.array([2, 0], np.uint32))) == encode_events(second) + encode_events(first)[:1]
    assert join_sightings([first]) is first
    assert len(join_sightings([])) == 0
    assert encode_events(join_sightings([])) == []
    assert b'"timestamp":"1970-01-01T00:00:00Z"' in encode_events(second)[0]
    assert MAY % 60_000_000


@pytest.mark.parametrize("kid", ["", "a/b", "a+", "#", "\0"])
def test_no_topic_without_a_level_of_its_own(kid: str) -> None:
    with pytest.raises(ValueError, match="key identifier"):
        topic_of(kid)
