"""JWS made: flattened JSON as Core's bridge writes it, and compact. The header is compact JSON with sorted members."""

import json

from tapir.codec.jose.base64url import encode_base64url
from tapir.codec.jose.keys import SigningKey


def sign_compact(payload: bytes, key: SigningKey, *, with_kid: bool = True) -> bytes:
    """`payload` as compact JWS (RFC 7515 §7.1)."""
    return b".".join(_parts(payload, key, with_kid))


def sign_flattened(payload: bytes, key: SigningKey, *, with_kid: bool = True) -> bytes:
    """`payload` as flattened JWS in JSON (§7.2.2), members in the order of RFC and Core, no white space."""
    protected, body, signature = _parts(payload, key, with_kid)
    return b'{"payload":"%b","protected":"%b","signature":"%b"}' % (body, protected, signature)


def _parts(payload: bytes, key: SigningKey, with_kid: bool) -> tuple[bytes, bytes, bytes]:
    header = {"alg": key.algorithm.value}
    if with_kid and key.kid is not None:
        header["kid"] = key.kid
    # Not by josepy's JWS, which writes spaces into the header: valid, but no other library's octets.
    protected = encode_base64url(json.dumps(header, separators=(",", ":")).encode())
    body = encode_base64url(payload)
    return protected, body, encode_base64url(key.sign(protected + b"." + body))
