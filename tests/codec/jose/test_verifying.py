"""Signed messages: published vectors, the three forms, and one reason for each way to be wrong."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from josepy import jwk

from tapir.codec.jose import (
    Algorithm,
    JwsRejected,
    Keystore,
    Rejection,
    SigningKey,
    parse_keystore,
    parse_signing_key,
    sign_compact,
    sign_flattened,
    verify_jws,
    verifying,
)
from tapir.codec.jose.algorithms import JWKOKP
from tapir.codec.jose.base64url import decode_base64url, encode_base64url
from tapir.codec.jose.verifying import MAX_HEADER, MAX_SIGNATURES

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "jws"
CORE = (
    b'{"use":"sig","kty":"OKP","kid":"dkT85jeVnDuQ_xkhCgf4nfE1pT0LMgbpxduxhpYYjhg","crv":"Ed25519","alg":"EdDSA",'
    b'"x":"ujAA73AWVn8koDwy08ijnRZSL67sqOf1h4eLcf-7LiQ","d":"6-rgMb-lJYzWjDdrmys2-dvA56pYgsUKBj7HrUoNcaw"}'
)


def ed25519(kid, seed=1):
    return SigningKey(
        kid=kid, algorithm=Algorithm.EDDSA, jwk=JWKOKP(key=Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32))
    )


def p256(kid, secret=1):
    return SigningKey(
        kid=kid, algorithm=Algorithm.ES256, jwk=jwk.JWKEC(key=ec.derive_private_key(secret, ec.SECP256R1()))
    )


A, B, E, STRANGER = ed25519("a"), ed25519("b", 2), p256("e"), ed25519("stranger", 3)
STORE = Keystore(tuple(key.public_key() for key in (A, B, E)))
PAYLOAD = b'{"test":1}\n'


def part(value):
    octets = value if isinstance(value, bytes) else json.dumps(value).encode()
    return encode_base64url(octets).decode()


def signature(key, header, payload=PAYLOAD, **members):
    protected = part(header)
    signed = key.sign(f"{protected}.{part(payload)}".encode())
    return {"protected": protected, "signature": part(signed), **members}


def flat(key=A, header=None, payload=PAYLOAD, **members):
    header = {"alg": key.algorithm.value, "kid": key.kid} if header is None else header
    return {"payload": part(payload), **signature(key, header, payload), **members}


def general(*signatures, payload=PAYLOAD):
    return {"payload": part(payload), "signatures": list(signatures)}


def by(key, **members):
    return signature(key, {"alg": key.algorithm.value, "kid": key.kid}, **members)


def reason(message, **options):
    data = message if isinstance(message, bytes) else json.dumps(message).encode()
    with pytest.raises(JwsRejected) as caught:
        verify_jws(data, STORE, **options)
    assert str(caught.value) == f"{caught.value.reason.value}: {caught.value.detail}"
    return caught.value.reason


@pytest.mark.parametrize("name", ["simple", "new_qname_good"])
def test_what_core_has_signed_is_believed_and_written_octet_by_octet(name):
    keystore = parse_keystore((VECTORS / "a.pub.json").read_bytes())
    signed = (VECTORS / f"{name}_signed.json").read_bytes()
    found = verify_jws(signed, keystore)
    assert json.loads(found.payload) == json.loads((VECTORS / f"{name}.json").read_bytes())
    assert found.signers == ("dkT85jeVnDuQ_xkhCgf4nfE1pT0LMgbpxduxhpYYjhg",)
    assert sign_flattened(found.payload, parse_signing_key(CORE)) == signed.strip()
    assert found.signers[0] == keystore.keys[0].thumbprint


def test_es256_as_the_standard_has_it():
    # RFC 7515 appendix A.3: its header has no kid, so the key is asked itself.
    store = parse_keystore(
        b'{"kty":"EC","crv":"P-256","kid":"k","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",'
        b'"y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}'
    )
    message = (
        b"eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0"
        b"cnVlfQ"
    )
    signed = b"DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
    assert store.keys[0].verify(message, decode_base64url(signed) or b"")
    with pytest.raises(JwsRejected) as caught:
        verify_jws(message + b"." + signed, store)
    assert caught.value.reason is Rejection.NO_KID


@pytest.mark.parametrize("key", [A, E])
@pytest.mark.parametrize("make", [sign_compact, sign_flattened])
def test_what_we_sign_we_believe(key, make):
    found = verify_jws(b" " + make(PAYLOAD, key) + b"\n", STORE)
    assert (found.payload, found.signers) == (PAYLOAD, (key.kid,))
    assert "test" not in repr(found)
    assert reason(make(PAYLOAD, key, with_kid=False)) is Rejection.NO_KID


def test_several_signatures_hold_together():
    def signers(*signatures, **options):
        return verify_jws(json.dumps(general(*signatures)).encode(), STORE, **options).signers

    assert signers(by(A)) == ("a",)
    assert signers(by(A), by(E)) == ("a", "e")
    assert signers(by(STRANGER), by(B)) == ("b",), "a sender changes keys, and signs with both"
    assert signers(by(A), by(E), allowed={"e"}) == ("e",)
    broken = {**by(B), "signature": by(A)["signature"]}
    assert reason(general(by(A), broken)) is Rejection.BAD_SIGNATURE
    assert signers(by(A), broken, allowed={"a"}) == ("a",)
    assert reason(general(by(STRANGER), by(A)), allowed={"e"}) is Rejection.UNKNOWN_KID
    assert reason(general(by(A)), allowed=()) is Rejection.KEY_NOT_ALLOWED


def test_an_unprotected_header_may_say_what_does_not_matter():
    found = verify_jws(json.dumps(flat(header=None) | {"header": {"typ": "JWT"}, "more": [1]}).encode(), STORE)
    assert found.signers == ("a",)


GOOD = sign_compact(PAYLOAD, A)
HEADER, BODY, SIGNED = GOOD.split(b".")
KID = {"alg": "EdDSA", "kid": "a"}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"", Rejection.MALFORMED),
        (b"..", Rejection.MALFORMED),
        (b"{", Rejection.MALFORMED),
        (b"[]", Rejection.MALFORMED),
        (b"{}", Rejection.MALFORMED),
        (b"\xef\xbb\xbf" + sign_flattened(PAYLOAD, A), Rejection.MALFORMED),
        (sign_flattened(PAYLOAD, A).decode().encode("utf-16"), Rejection.MALFORMED),
        (GOOD + b".", Rejection.MALFORMED),
        (GOOD + b"=", Rejection.MALFORMED),
        (GOOD.replace(b".", b".!!", 1), Rejection.MALFORMED),
        (GOOD.replace(b".", b"\n.", 1), Rejection.MALFORMED),
        (HEADER + b"." + BODY[:-1] + b"p." + SIGNED, Rejection.MALFORMED),  # a spare bit
        (sign_flattened(PAYLOAD, A)[:-1] + b',"payload":"AA"}', Rejection.MALFORMED),  # a member twice
        (sign_flattened(PAYLOAD, A)[:-1] + b',"more":' + b"[" * 100_000 + b"}", Rejection.TOO_LARGE),
        (sign_flattened(PAYLOAD, A)[:-1] + b',"more":' + b"1" * 10_000 + b"}", Rejection.MALFORMED),
        (sign_flattened(PAYLOAD, A)[:-1] + b',"more":NaN}', Rejection.MALFORMED),
        ({"payload": 1}, Rejection.MALFORMED),
        ({"payload": "\ud800"}, Rejection.MALFORMED),
        (general(), Rejection.MALFORMED),
        (flat() | {"signatures": [by(A)]}, Rejection.MALFORMED),
        (general("text"), Rejection.MALFORMED),
        ({"payload": "", "signatures": {}}, Rejection.MALFORMED),
        (flat() | {"header": "text"}, Rejection.MALFORMED),
        (flat() | {"header": {"kid": "a"}}, Rejection.MALFORMED),
        (flat(header=b"[]"), Rejection.MALFORMED),
        (flat(header=b'{"alg":"EdDSA","kid":"a","kid":"b"}'), Rejection.MALFORMED),
        (flat(header={**KID, "kid": 1}), Rejection.MALFORMED),
        (flat(header={"kid": "a"}) | {"header": {"alg": "EdDSA"}}, Rejection.FORBIDDEN_HEADER),
        (flat(header={**KID, "jwk": {}}), Rejection.FORBIDDEN_HEADER),
        (flat(header={**KID, "crit": ["b64"], "b64": False}), Rejection.FORBIDDEN_HEADER),
        (flat() | {"header": {"jku": "https://example/"}}, Rejection.FORBIDDEN_HEADER),
        (flat(header={"kid": "a"}), Rejection.NO_ALGORITHM),
        (flat(header={"alg": "EdDSA"}), Rejection.NO_KID),
        (flat(header={"alg": "EdDSA"}) | {"header": {"kid": "a"}}, Rejection.NO_KID),
        (flat(header={**KID, "kid": None}), Rejection.MALFORMED),
        (flat(STRANGER), Rejection.UNKNOWN_KID),
        (flat(header={**KID, "kid": "A"}), Rejection.UNKNOWN_KID),
        (flat(header={**KID, "alg": "none"}), Rejection.UNSUPPORTED_ALGORITHM),
        (flat(header={**KID, "alg": "HS256"}), Rejection.UNSUPPORTED_ALGORITHM),
        (flat(header={**KID, "alg": "ES256"}), Rejection.WRONG_ALGORITHM),
        (flat() | {"payload": part(b"{}")}, Rejection.BAD_SIGNATURE),
        (flat() | {"signature": ""}, Rejection.BAD_SIGNATURE),
        (flat(E) | {"signature": part(bytes(64))}, Rejection.BAD_SIGNATURE),
        (flat(E) | {"signature": part(bytes(63))}, Rejection.BAD_SIGNATURE),
        (flat() | {"signature": "A" * (MAX_HEADER + 4)}, Rejection.TOO_LARGE),
        (general(*[by(A)] * (MAX_SIGNATURES + 1)), Rejection.TOO_LARGE),
        (b"{" + b",".join(b'"%d":0' % number for number in range(2000)) + b"}", Rejection.TOO_LARGE),
        (b" " * (5 << 20), Rejection.TOO_LARGE),
    ],
)
def test_each_way_to_be_wrong_has_one_reason(message, expected):
    assert reason(message) is expected


def test_what_anybody_may_send_is_refused_before_it_is_read(monkeypatch):
    def read(data):
        raise AssertionError("it was read")

    monkeypatch.setattr(verifying, "load_object", read)
    assert reason(b'{"payload":[' + b"[]," * 1000 + b"[]]}") is Rejection.TOO_LARGE


def test_the_size_is_the_callers_to_bound():
    assert reason(GOOD, max_size=len(GOOD) - 1) is Rejection.TOO_LARGE
    assert verify_jws(GOOD, STORE, max_size=len(GOOD)).payload == PAYLOAD


@given(st.binary(max_size=300), st.sampled_from([A, B, E]), st.sampled_from([sign_compact, sign_flattened]))
def test_any_payload_comes_back(payload, key, make):
    assert verify_jws(make(payload, key), STORE).payload == payload


@given(st.data())
def test_any_other_octet_is_refused(data):
    message = bytearray(data.draw(st.sampled_from([GOOD, sign_flattened(PAYLOAD, E)])))
    place = data.draw(st.integers(0, len(message) - 1))
    octet = data.draw(st.integers(0, 255).filter(lambda octet: octet != message[place]))
    message[place] = octet
    try:
        found = verify_jws(bytes(message), STORE)
    except JwsRejected:
        return
    raise AssertionError(f"believed {bytes(message)!r} as {found.payload!r}")


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
MEMBERS = st.dictionaries(
    st.sampled_from(["payload", "protected", "signature", "signatures", "header"]),
    JSON_VALUES | st.sampled_from([part(PAYLOAD), part(KID), [by(A)], [by(STRANGER), {}]]),
)


@given(st.binary(max_size=200) | MEMBERS.map(lambda members: json.dumps(members).encode()))
def test_garbage_is_refused_and_nothing_else(data):
    with pytest.raises(JwsRejected):
        verify_jws(data, STORE)


@given(st.binary(max_size=60))
def test_base64url_has_one_text_for_one_value(octets):
    text = encode_base64url(octets)
    assert decode_base64url(text) == octets
    found = decode_base64url(octets)
    assert found is None or encode_base64url(found) == octets
