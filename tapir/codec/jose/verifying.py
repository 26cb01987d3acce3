"""JWS verified: three forms in, the payload and who signed it out, or one reason why not."""

import enum
from collections.abc import Collection
from typing import Any, Final

import attrs

from tapir.codec.jose.algorithms import ALGORITHMS
from tapir.codec.jose.base64url import decode_base64url
from tapir.codec.jose.keys import Keystore
from tapir.codec.strictjson import JsonError, load_object, type_word
from tapir.model.errors import TapirError

MAX_MESSAGE: Final = 4 << 20
"""Octets of a message in whatever form."""
MAX_HEADER: Final = 4096
"""Characters of a protected header, and of a signature, as they are written."""
MAX_SIGNATURES: Final = 8
MAX_VALUES: Final = 1000
"""How many arrays, objects and members a message may have in all: anybody may send one, and reading JSON takes the
interpreter for itself. The payload is one text, and counts as one."""

_WHITE: Final = b" \t\r\n"
_FOREIGN_KEYS: Final = ("jwk", "jku", "x5u", "x5c")
_NEVER: Final = (*_FOREIGN_KEYS, "crit", "b64")
_NEVER_UNPROTECTED: Final = (*_NEVER, "alg")


class Rejection(enum.Enum):
    """Why a message is not believed, in the order in which it is looked at; the value is the word for counters."""

    TOO_LARGE = "too-large"
    MALFORMED = "malformed"
    FORBIDDEN_HEADER = "forbidden-header"
    """a key or an extension that the message brings along, or `alg` outside the protected header"""
    NO_ALGORITHM = "no-algorithm"
    NO_KID = "no-kid"
    UNKNOWN_KID = "unknown-kid"
    KEY_NOT_ALLOWED = "key-not-allowed"
    """the keystore has the key, and it may not sign for this"""
    UNSUPPORTED_ALGORITHM = "unsupported-algorithm"
    WRONG_ALGORITHM = "wrong-algorithm"
    """an algorithm of ours, and not the key's"""
    BAD_SIGNATURE = "bad-signature"


class JwsRejected(TapirError):
    """The message is not what a key that we trust has signed."""

    def __init__(self, reason: Rejection, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail


@attrs.frozen(kw_only=True)
class VerifiedJws:
    """What was signed, and the `kid` of each key that did; a signature by a key that may not sign is not named."""

    payload: bytes = attrs.field(repr=False)
    signers: tuple[str, ...]


@attrs.frozen
class _Signature:
    """One signature before it is verified; `alg` and `kid` are of the protected header."""

    alg: str
    kid: str
    message: bytes
    signature: bytes


def verify_jws(
    data: bytes, keystore: Keystore, *, allowed: Collection[str] | None = None, max_size: int = MAX_MESSAGE
) -> VerifiedJws:
    """The payload of the JWS `data`, which keys of `keystore` have signed; with `allowed`, keys of these `kid`s only.

    Of several signatures those by other keys count neither way, so that a sender may change keys; all that do count
    must hold. Raises JwsRejected, and nothing else whatever the octets.
    """
    if len(data) > max_size:
        raise JwsRejected(Rejection.TOO_LARGE, f"it has {len(data)} octets, {max_size} are allowed")
    stripped = data.strip(_WHITE)
    payload, signatures = _parse_json(stripped) if stripped.startswith(b"{") else _parse_compact(stripped)
    signers: list[str] = []
    excuse: JwsRejected | None = None
    for signature in signatures:
        try:
            _verify_one(signature, keystore, allowed)
        except JwsRejected as exc:
            if exc.reason not in (Rejection.UNKNOWN_KID, Rejection.KEY_NOT_ALLOWED):
                raise
            excuse = excuse or exc
        else:
            signers.append(signature.kid)
    if excuse is not None and not signers:
        raise excuse
    return VerifiedJws(payload=payload, signers=tuple(signers))


def _verify_one(signature: _Signature, keystore: Keystore, allowed: Collection[str] | None) -> None:
    key = keystore.find(signature.kid)
    if key is None:
        raise JwsRejected(Rejection.UNKNOWN_KID, f"the keystore has no key {_shown(signature.kid)}")
    if allowed is not None and key.kid not in allowed:
        raise JwsRejected(Rejection.KEY_NOT_ALLOWED, f"the key {_shown(key.kid)} may not sign for this")
    algorithm = ALGORITHMS.get(signature.alg)
    if algorithm is None:
        raise JwsRejected(Rejection.UNSUPPORTED_ALGORITHM, f"{_shown(signature.alg)} is not among {list(ALGORITHMS)}")
    if algorithm is not key.algorithm:
        raise JwsRejected(
            Rejection.WRONG_ALGORITHM,
            f"the key {_shown(key.kid)} is for {key.algorithm.value}, the header says {algorithm.value}",
        )
    if not key.verify(signature.message, signature.signature):
        raise JwsRejected(Rejection.BAD_SIGNATURE, f"it is not a signature by the key {_shown(key.kid)}")


def _parse_compact(data: bytes) -> tuple[bytes, list[_Signature]]:
    parts = data.split(b".", 3)
    if len(parts) != 3:
        raise JwsRejected(Rejection.MALFORMED, "it is neither JSON nor three parts with dots between")
    protected, body, signature = parts
    payload = _decode(body, "the payload")
    return payload, [_signature(protected, body, signature, {})]


def _parse_json(data: bytes) -> tuple[bytes, list[_Signature]]:
    if data.count(b",") + data.count(b"[") + data.count(b"{") > MAX_VALUES:
        raise JwsRejected(Rejection.TOO_LARGE, f"it has more than {MAX_VALUES} members and values")
    try:
        members = load_object(data)
    except JsonError as exc:
        raise JwsRejected(Rejection.MALFORMED, str(exc)) from None
    body = _member(members, "payload")
    payload = _decode(body, "the payload")
    if "signatures" not in members:
        return payload, [_json_signature(members, body)]
    entries = members["signatures"]
    if not isinstance(entries, list) or not entries:
        raise JwsRejected(Rejection.MALFORMED, "`signatures` is not an array with something in it")
    if any(member in members for member in ("signature", "protected", "header")):
        raise JwsRejected(Rejection.MALFORMED, "it mixes the flattened form with the general one")
    if len(entries) > MAX_SIGNATURES:
        raise JwsRejected(Rejection.TOO_LARGE, f"it has {len(entries)} signatures, {MAX_SIGNATURES} are allowed")
    for entry in entries:
        if not isinstance(entry, dict):
            raise JwsRejected(Rejection.MALFORMED, f"a signature is {type_word(entry)}, not an object")
    return payload, [_json_signature(entry, body) for entry in entries]


def _json_signature(entry: dict[str, Any], body: bytes) -> _Signature:
    unprotected = entry.get("header", {})
    if not isinstance(unprotected, dict):
        raise JwsRejected(Rejection.MALFORMED, f"`header` is {type_word(unprotected)}, not an object")
    return _signature(_member(entry, "protected"), body, _member(entry, "signature"), unprotected)


def _signature(protected: bytes, body: bytes, signature: bytes, unprotected: dict[str, Any]) -> _Signature:
    if len(protected) > MAX_HEADER or len(signature) > MAX_HEADER:
        raise JwsRejected(Rejection.TOO_LARGE, f"a header or signature has more than {MAX_HEADER} characters")
    octets = _decode(signature, "the signature")
    try:
        header = load_object(_decode(protected, "the protected header"))
    except JsonError as exc:
        raise JwsRejected(Rejection.MALFORMED, f"the protected header: {exc}") from None
    if not header.keys().isdisjoint(unprotected):
        raise JwsRejected(Rejection.MALFORMED, "the two headers have a member in common")
    for member in _NEVER_UNPROTECTED:
        if member in unprotected or (member in header and member != "alg"):
            raise JwsRejected(Rejection.FORBIDDEN_HEADER, f"`{member}` stands where it may not")
    return _Signature(
        _header_text(header, "alg", Rejection.NO_ALGORITHM),
        _header_text(header, "kid", Rejection.NO_KID),
        protected + b"." + body,
        octets,
    )


def _header_text(header: dict[str, Any], member: str, absent: Rejection) -> str:
    value = header.get(member, "")
    if not isinstance(value, str):
        raise JwsRejected(Rejection.MALFORMED, f"`{member}` is {type_word(value)}, not a string")
    if not value:
        raise JwsRejected(absent, f"the protected header has no `{member}`")
    return value


def _member(members: dict[str, Any], member: str) -> bytes:
    value = members.get(member)
    if not isinstance(value, str):
        found = f"is {type_word(value)}, not a string" if member in members else "is missing"
        raise JwsRejected(Rejection.MALFORMED, f"`{member}` {found}")
    return value.encode("utf-8", "replace")  # a lone surrogate becomes a question mark, which is no base64url either


def _decode(text: bytes, what: str) -> bytes:
    octets = decode_base64url(text)
    if octets is None:
        raise JwsRejected(Rejection.MALFORMED, f"{what} is not base64url as it is written without choice")
    return octets


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")
