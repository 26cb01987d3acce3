"""The two algorithms as josepy knows them; Ed25519 (RFC 8037) it lacks, so that is registered where it takes more."""

import enum
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from josepy import errors, json_util, jwa, jwk

_CURVE: Final = "Ed25519"
_OCTETS: Final = 32


@jwk.JWK.register
class JWKOKP(jwk.JWK):
    """An Ed25519 key as JWK (RFC 8037 §2). josepy keeps one class for all curves of a type: other curves are errors."""

    typ = "OKP"
    __slots__ = ("key",)
    required: Sequence[str] = ("crv", "kty", "x")
    cryptography_key_types: tuple[type[Any], ...] = (Ed25519PublicKey, Ed25519PrivateKey)
    key: Ed25519PublicKey | Ed25519PrivateKey

    def public_key(self) -> "JWKOKP":
        """The key without its private half."""
        return self if isinstance(self.key, Ed25519PublicKey) else type(self)(key=self.key.public_key())

    def fields_to_partial_json(self) -> dict[str, str]:
        """The members of the JWK; of a private key, the private one too."""
        fields = {"crv": _CURVE, "x": json_util.encode_b64jose(self._public_octets())}
        if isinstance(self.key, Ed25519PrivateKey):
            fields["d"] = json_util.encode_b64jose(self.key.private_bytes_raw())
        return fields

    @classmethod
    def fields_from_json(cls, jobj: Mapping[str, Any]) -> "JWKOKP":
        """The key of a JWK. Raises josepy's DeserializationError, also where the halves are of two keys."""
        if jobj["crv"] != _CURVE:
            raise errors.DeserializationError(f"the curve is not {_CURVE}")
        public = Ed25519PublicKey.from_public_bytes(json_util.decode_b64jose(jobj["x"], _OCTETS))
        if "d" not in jobj:
            return cls(key=public)
        private = Ed25519PrivateKey.from_private_bytes(json_util.decode_b64jose(jobj["d"], _OCTETS))
        if private.public_key().public_bytes_raw() != public.public_bytes_raw():
            raise errors.DeserializationError("`x` and `d` are of two keys")
        return cls(key=private)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, JWKOKP):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __repr__(self) -> str:  # josepy's shows the key itself
        return f"<JWKOKP {type(self.key).__name__}>"

    def _public_octets(self) -> bytes:
        return cast("Ed25519PublicKey", self.public_key().key).public_bytes_raw()

    def _identity(self) -> tuple[type, bytes]:
        return type(self.key), self._public_octets()


class _EdDSA(jwa.JWASignature):
    """EdDSA with Ed25519 (RFC 8037 §3.1)."""

    kty = JWKOKP

    def sign(self, key: Ed25519PrivateKey, msg: bytes) -> bytes:
        return key.sign(msg)

    def verify(self, key: Ed25519PublicKey, msg: bytes, sig: bytes) -> bool:
        try:
            key.verify(sig, msg)
        except InvalidSignature:
            return False
        return True


_EDDSA: Final = jwa.JWASignature.register(_EdDSA("EdDSA"))


class Algorithm(enum.Enum):
    """How a message may be signed; the value is the name in `alg` (RFC 7518 §3.1, RFC 8037 §3.1)."""

    EDDSA = "EdDSA"
    ES256 = "ES256"

    @property
    def implementation(self) -> jwa.JWASignature:
        """What josepy signs and verifies with."""
        return _IMPLEMENTATIONS[self]


_IMPLEMENTATIONS: Final = {Algorithm.EDDSA: _EDDSA, Algorithm.ES256: jwa.ES256}

ALGORITHMS: Final = {algorithm.value: algorithm for algorithm in Algorithm}

KEY_ALGORITHMS: Final = {("OKP", _CURVE): Algorithm.EDDSA, ("EC", "P-256"): Algorithm.ES256}
"""Which algorithm keys of a type and curve are for: there is one each, so a JWK need not say it."""
