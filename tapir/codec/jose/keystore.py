"""Documents of keys: a JWK or a JWK Set (RFC 7517) as `validation-keys.json` and `datakey-priv.json` hold them.

A key that is malformed fails the document, as upstream: half a keystore is no keystore. One that is well formed but of
another type, curve, algorithm or use is passed over and reported (RFC 7517 §5), for Core may publish such keys too.
"""

from typing import Any, Final, cast

from josepy import errors, jwk

from tapir.codec.jose.algorithms import ALGORITHMS, KEY_ALGORITHMS, Algorithm
from tapir.codec.jose.base64url import decode_base64url
from tapir.codec.jose.keys import KeyDocumentError, Keystore, SigningKey, UnusableKey, VerificationKey
from tapir.codec.strictjson import JsonError, load_object, type_word

MAX_DOCUMENT: Final = 1 << 20
MAX_KEYS: Final = 1000
MAX_KID: Final = 256

_COORDINATE: Final = 32
_MEMBERS: Final = {Algorithm.EDDSA: ("x",), Algorithm.ES256: ("x", "y")}
_TEXTS: Final = ("kty", "crv", "alg", "use", "kid")


class _Unusable(Exception):
    """The key is in order, and not for us."""


def parse_keystore(data: bytes) -> Keystore:
    """The public keys of a JWK or JWK Set. Raises KeyDocumentError, also where no key of it can verify anything."""
    document = _load(data)
    entries = document.get("keys", [document])
    if not isinstance(entries, list):
        raise KeyDocumentError(f"`keys` is {type_word(entries)}, not an array")
    if len(entries) > MAX_KEYS:
        raise KeyDocumentError(f"it has {len(entries)} keys, {MAX_KEYS} are allowed")
    single = "keys" not in document
    keys: dict[str, VerificationKey] = {}
    unusable: list[UnusableKey] = []
    private: list[str] = []
    for position, entry in enumerate(entries, 1):
        where = "the key" if single else f"key {position}"
        if not isinstance(entry, dict):
            raise KeyDocumentError(f"{where} is {type_word(entry)}, not an object")
        try:
            key = _parse_public(entry, where)
        except _Unusable as exc:
            unusable.append(UnusableKey(position=position, kid=entry.get("kid"), reason=str(exc)))
            continue
        if keys.setdefault(key.kid, key) != key:
            raise KeyDocumentError(f"{where} has the `kid` of an earlier one, and is another")
        if "d" in entry:
            private.append(key.kid)
    if not keys:
        told = "; ".join(f"key {key.position}: {key.reason}" for key in unusable[:5])
        raise KeyDocumentError("it has no key that could verify" + (f": {told}" if told else ""))
    return Keystore(tuple(keys.values()), unusable=tuple(unusable), with_private_part=tuple(private))


def parse_signing_key(data: bytes) -> SigningKey:
    """The private key of a JWK, or of a JWK Set of one. Raises KeyDocumentError."""
    document = _load(data)
    if "keys" in document:
        entries = document["keys"]
        if not isinstance(entries, list) or len(entries) != 1 or not isinstance(entries[0], dict):
            raise KeyDocumentError("it is a set, and not of one key: which one would sign?")
        document = entries[0]
    where = "the key"
    try:
        algorithm = _algorithm(document, where, operation="sign")
    except _Unusable as exc:
        raise KeyDocumentError(f"{where} cannot sign: {exc}") from None
    if "d" not in document:
        raise KeyDocumentError(f"{where} has no `d`: it is a public key, and cannot sign")
    return SigningKey(
        kid=document.get("kid"), algorithm=algorithm, jwk=_material(document, algorithm, where, private=True)
    )


def _load(data: bytes) -> dict[str, Any]:
    if len(data) > MAX_DOCUMENT:
        raise KeyDocumentError(f"it has {len(data)} octets, {MAX_DOCUMENT} are allowed")
    try:
        return load_object(data)
    except JsonError as exc:
        raise KeyDocumentError(str(exc)) from None


def _parse_public(entry: dict[str, Any], where: str) -> VerificationKey:
    algorithm = _algorithm(entry, where, operation="verify")
    material = _material(entry, algorithm, where, private="d" in entry)
    if "kid" not in entry:
        raise _Unusable("it has no `kid`, by which messages name their key")
    return VerificationKey(kid=entry["kid"], algorithm=algorithm, jwk=material.public_key())


def _algorithm(entry: dict[str, Any], where: str, *, operation: str) -> Algorithm:
    """What the key signs with; the document need not say it. Raises _Unusable where it is none of ours."""
    for member in _TEXTS:
        value = entry.get(member, "")
        if not isinstance(value, str):
            raise KeyDocumentError(f"`{member}` of {where} is {type_word(value)}, not a string")
    if "kty" not in entry:
        raise KeyDocumentError(f"{where} has no `kty`")
    if "kid" in entry and not 0 < len(entry["kid"]) <= MAX_KID:
        raise KeyDocumentError(f"`kid` of {where} has {len(entry['kid'])} characters, 1 to {MAX_KID} are allowed")
    algorithm = KEY_ALGORITHMS.get((entry["kty"], entry.get("crv", "")))
    if algorithm is None:
        raise _Unusable("it is neither Ed25519 (`kty` OKP) nor P-256 (`kty` EC)")
    if "alg" in entry and ALGORITHMS.get(entry["alg"]) is not algorithm:
        raise _Unusable(f"`alg` is not {algorithm.value}, which keys of its curve are for")
    if entry.get("use", "sig") != "sig":
        raise _Unusable("`use` is not `sig`")
    operations = entry.get("key_ops")
    if operations is not None:
        if not isinstance(operations, list) or not all(isinstance(known, str) for known in operations):
            raise KeyDocumentError(f"`key_ops` of {where} is not an array of strings")
        # A private key that may only sign has a public half that may verify.
        if operation not in operations and not (operation == "verify" and "sign" in operations):
            raise _Unusable(f"`key_ops` does not allow to {operation}")
    return algorithm


def _material(entry: dict[str, Any], algorithm: Algorithm, where: str, *, private: bool) -> jwk.JWK:
    wanted = _MEMBERS[algorithm] + (("d",) if private else ())
    for member in wanted:
        value = entry.get(member)
        octets = decode_base64url(value.encode("utf-8", "replace")) if isinstance(value, str) else None
        if octets is None or len(octets) != _COORDINATE:
            raise KeyDocumentError(f"`{member}` of {where} is not {_COORDINATE} octets in base64url")
    try:
        key = jwk.JWK.from_json({member: entry[member] for member in ("kty", "crv", *wanted)})
    except (errors.Error, ValueError, TypeError, KeyError):
        # Their texts may show what they read.
        raise KeyDocumentError(f"{where} is no key: its point is not on the curve, or its halves are of two") from None
    return cast("jwk.JWK", key)
