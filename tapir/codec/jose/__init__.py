"""Signed messages and their keys: JWS (RFC 7515) and JWK (RFC 7517) with EdDSA on Ed25519 and ES256, and nothing else.

The mathematics is `cryptography`'s, keys and algorithms are `josepy`'s; what josepy reads leniently is read here first,
strictly, so that one message has one form and one meaning:

    form        compact, flattened JSON or general JSON; one member once; base64url without padding, line ends or spare
                bits; sizes and the number of signatures are bounded
    header      `alg` and `kid` stand in the protected header; `jwk`, `jku`, `x5u`, `x5c` (a key that comes with what it
                signs) and `crit` stand nowhere
    key         found by `kid` in the keystore, never in the message; its own algorithm must be the header's
    signatures  at least one by a key of the keystore that may sign, and every one by such a key holds

`verify_jws` checks in the order of `Rejection`, so that a message that is wrong in two ways has one reason.
"""

from tapir.codec.jose.algorithms import Algorithm
from tapir.codec.jose.keys import KeyDocumentError, Keystore, SigningKey, UnusableKey, VerificationKey
from tapir.codec.jose.keystore import parse_keystore, parse_signing_key
from tapir.codec.jose.signing import sign_compact, sign_flattened
from tapir.codec.jose.verifying import JwsRejected, Rejection, VerifiedJws, verify_jws

__all__ = [
    "Algorithm",
    "JwsRejected",
    "KeyDocumentError",
    "Keystore",
    "Rejection",
    "SigningKey",
    "UnusableKey",
    "VerificationKey",
    "VerifiedJws",
    "parse_keystore",
    "parse_signing_key",
    "sign_compact",
    "sign_flattened",
    "verify_jws",
]
