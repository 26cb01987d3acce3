"""Documents of keys: what is usable, what is passed over, what is wrong, and that nothing private is ever shown."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from josepy import errors
from josepy.jwk import JWKEC

from tapir.codec.jose import (
    Algorithm,
    KeyDocumentError,
    Keystore,
    SigningKey,
    UnusableKey,
    parse_keystore,
    parse_signing_key,
    sign_compact,
    verify_jws,
)
from tapir.codec.jose.algorithms import JWKOKP
from tapir.codec.jose.keys import EMPTY_KEYSTORE
from tapir.codec.jose.keystore import MAX_DOCUMENT, MAX_KEYS

PRIVATE = JWKOKP(key=Ed25519PrivateKey.from_private_bytes(b"s" * 32))
OTHER = JWKOKP(key=Ed25519PrivateKey.from_private_bytes(b"t" * 32))
OKP = {**PRIVATE.to_json(), "kid": "node.example", "iss": "https://nodeman.example/"}
EC = {**JWKEC(key=ec.derive_private_key(7, ec.SECP256R1())).to_json(), "kid": "ec"}
RSA = {"kty": "RSA", "kid": "r", "n": "AQAB", "e": "AQAB", "d": "AQAB"}


def public(key, **members):
    return {name: value for name, value in {**key, **members}.items() if name != "d" and value is not None}


def text(document):
    return json.dumps(document).encode()


def test_a_set_and_a_single_key_are_keystores():
    store = parse_keystore(text({"keys": [public(OKP), EC]}))
    assert [(key.kid, key.algorithm) for key in store] == [
        ("node.example", Algorithm.EDDSA),
        ("ec", Algorithm.ES256),
    ]
    assert store.with_private_part == ("ec",)
    assert store.find("ec") is store.keys[1]
    assert store.find("EC") is None
    assert len(store) == 2
    assert parse_keystore(text(public(OKP))).keys == store.keys[:1]
    assert parse_keystore(text({"keys": [public(OKP), public(OKP)]})).keys == store.keys[:1], (
        "the same key twice is one"
    )
    assert not EMPTY_KEYSTORE
    assert parse_keystore(text({"keys": [EC, public(OKP)]})) != store


def test_the_private_half_verifies_only_what_the_public_half_would():
    store = parse_keystore(text(OKP))
    assert store.keys == parse_keystore(text(public(OKP))).keys
    with pytest.raises(errors.Error):
        SigningKey(kid="ec", algorithm=Algorithm.ES256, jwk=parse_keystore(text(EC)).keys[0].jwk).sign(b"")


def test_what_is_not_for_us_is_told_and_passed_over():
    keys = [
        RSA,
        public(OKP, kid=None),
        public(OKP, kid="x", crv="X25519"),
        public(OKP, alg="RS256"),
        public(OKP, use="enc"),
        public(OKP, key_ops=["encrypt"]),
        public(OKP, key_ops=["verify"], alg="EdDSA", use="sig"),
        {"kty": "oct", "k": "c2VjcmV0", "kid": "o"},
    ]
    store = parse_keystore(text({"keys": keys}))
    assert [key.kid for key in store] == ["node.example"]
    assert [key.position for key in store.unusable] == [1, 2, 3, 4, 5, 6, 8]
    assert store.unusable[0] == UnusableKey(
        position=1, kid="r", reason="it is neither Ed25519 (`kty` OKP) nor P-256 (`kty` EC)"
    )
    assert store.unusable[1].kid is None
    assert "secret" not in repr(store)
    assert "c2VjcmV0" not in repr(store)


FAULTS = [
    (b"", "no JSON"),
    (b"[]", "an array, not an object"),
    (b"\xff", "not UTF-8"),
    (b'{"keys":{}}', "`keys` is an object"),
    (b'{"keys":[]}', "no key that could verify"),
    (text(RSA), "no key that could verify: key 1: it is neither"),
    (text({"keys": [EC, 1]}), "key 2 is a number, not an object"),
    (text({"keys": [EC, {}]}), "key 2 has no `kty`"),
    (text({**OKP, "kty": True}), "`kty` of the key is a boolean, not a string"),
    (text({**OKP, "kid": None}), "`kid` of the key is null, not a string"),
    (text({**OKP, "kid": ""}), "`kid` of the key has 0 characters"),
    (text({**OKP, "kid": "k" * 257}), "`kid` of the key has 257 characters"),
    (text({**OKP, "key_ops": "verify"}), "`key_ops` of the key is not an array of strings"),
    (text({**OKP, "key_ops": [1]}), "`key_ops` of the key is not an array of strings"),
    (text({**OKP, "x": OKP["x"] + "="}), "`x` of the key is not 32 octets in base64url"),
    (text({**OKP, "x": OKP["x"][:-2]}), "`x` of the key is not 32 octets"),
    (text({**OKP, "x": [OKP["x"]]}), "`x` of the key is not 32 octets"),
    (text({**OKP, "d": "\ud800"}), "`d` of the key is not 32 octets"),
    (text({**OKP, "d": OTHER.to_json()["d"]}), "halves are of two"),
    (text({**EC, "d": OKP["d"]}), "halves are of two"),
    (text(public(EC, y=EC["x"])), "not on the curve"),
    (text({name: value for name, value in EC.items() if name != "y"}), "`y` of the key is not 32 octets"),
    (text({"keys": [OKP, public(OTHER.to_json(), kid="node.example")]}), "key 2 has the `kid` of an earlier one"),
    (text({"keys": [{}] * (MAX_KEYS + 1)}), "1001 keys"),
    (b" " * (MAX_DOCUMENT + 1), "octets"),
]


@pytest.mark.parametrize(("document", "told"), FAULTS)
def test_what_is_wrong_is_told_without_what_stands_there(document, told):
    with pytest.raises(KeyDocumentError) as caught:
        parse_keystore(document)
    assert told in str(caught.value)
    assert caught.value.__cause__ is None
    for key in (OKP, EC, OTHER.to_json()):
        assert key["d"] not in str(caught.value)


@pytest.mark.parametrize("document", [OKP, EC, {"keys": [OKP]}, {**OKP, "key_ops": ["sign"]}])
def test_a_private_key_signs(document):
    key = parse_signing_key(text(document))
    expected = document.get("keys", [document])[0]
    assert key.kid == expected["kid"]
    assert expected["d"] not in repr(key)
    assert verify_jws(sign_compact(b"x", key), Keystore((key.public_key(),))).signers == (expected["kid"],)
    if "key_ops" not in expected:
        assert parse_keystore(text(document)).keys == (key.public_key(),)


def test_a_key_without_a_name_is_called_by_its_thumbprint():
    key = parse_signing_key(text({name: value for name, value in EC.items() if name != "kid"}))
    assert key.kid is None
    assert key.public_key().kid == key.public_key().thumbprint
    assert key.public_key(kid="so").kid == "so"


@pytest.mark.parametrize(
    ("document", "told"),
    [
        (public(OKP), "it is a public key"),
        (RSA, "the key cannot sign: it is neither"),
        ({**OKP, "key_ops": ["verify"]}, "`key_ops` does not allow to sign"),
        ({"keys": [OKP, EC]}, "which one would sign"),
        ({"keys": 1}, "which one would sign"),
        ({"keys": [1]}, "which one would sign"),
        ({**OKP, "d": ""}, "`d` of the key is not 32 octets"),
    ],
)
def test_what_cannot_sign_is_told(document, told):
    with pytest.raises(KeyDocumentError, match=told):
        parse_signing_key(text(document))


def test_ed25519_is_a_key_as_josepy_knows_keys():
    assert JWKOKP.from_json(PRIVATE.to_json()) == PRIVATE
    assert JWKOKP.from_json(public(PRIVATE.to_json())) == PRIVATE.public_key() == PRIVATE.public_key().public_key()
    assert PRIVATE.public_key() != PRIVATE
    assert PRIVATE != "key"
    assert len({PRIVATE, JWKOKP(key=PRIVATE.key), OTHER}) == 2
    assert repr(PRIVATE) == "<JWKOKP Ed25519PrivateKey>"
    with pytest.raises(errors.DeserializationError):
        JWKOKP.from_json({**OKP, "crv": "Ed448"})


VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=50) | st.lists(st.text(max_size=5), max_size=3)
KEYS = st.dictionaries(
    st.sampled_from([*EC, *OKP, "alg", "use", "key_ops"]), VALUES | st.sampled_from([*EC.values(), *OKP.values()])
)


@given(st.binary(max_size=200) | KEYS.map(text) | st.lists(KEYS, max_size=3).map(lambda keys: text({"keys": keys})))
def test_any_document_is_keys_or_an_error(document):
    for parse in (parse_keystore, parse_signing_key):
        try:
            parse(document)
        except KeyDocumentError:
            continue
