"""Keys as values: what may sign to us, what we sign with. None shows a private part, in whatever is printed of it."""

from collections.abc import Iterator
from typing import Final

import attrs
from josepy.jwk import JWK

from tapir.codec.jose.algorithms import Algorithm
from tapir.codec.jose.base64url import encode_base64url
from tapir.model.errors import TapirError


class KeyDocumentError(TapirError):
    """A document of keys cannot be used; the text says which key and which member of it, and shows no value of one."""


@attrs.frozen(kw_only=True)
class VerificationKey:
    """A public key that may verify, under its `kid`."""

    kid: str
    algorithm: Algorithm
    jwk: JWK = attrs.field(repr=False)

    @property
    def thumbprint(self) -> str:
        """The key's SHA-256 thumbprint (RFC 7638), as base64url."""
        return encode_base64url(self.jwk.thumbprint()).decode()

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether `signature` is this key's over `message`."""
        return self.algorithm.implementation.verify(key=self.jwk.key, msg=message, sig=signature)


@attrs.frozen(kw_only=True)
class SigningKey:
    """A private key; `kid` is None where its document has none."""

    kid: str | None
    algorithm: Algorithm
    jwk: JWK = attrs.field(repr=False)

    def sign(self, message: bytes) -> bytes:
        """The signature over `message`, as JOSE has it (of ES256, r and s)."""
        return self.algorithm.implementation.sign(key=self.jwk.key, msg=message)

    def public_key(self, *, kid: str | None = None) -> VerificationKey:
        """What verifies, under `kid`, else the key's own, else its thumbprint."""
        public = VerificationKey(kid=kid or self.kid or "", algorithm=self.algorithm, jwk=self.jwk.public_key())
        return public if public.kid else attrs.evolve(public, kid=public.thumbprint)


@attrs.frozen(kw_only=True)
class UnusableKey:
    """A key of a keystore that is well formed, and not for us; `position` counts from 1."""

    position: int
    kid: str | None
    reason: str


def _index(keys: tuple[VerificationKey, ...]) -> dict[str, VerificationKey]:
    return {key.kid: key for key in keys}


@attrs.frozen
class Keystore:
    """Public keys, each under a `kid` of its own.

    `unusable` tells of keys that the document has and that verify nothing; `with_private_part` names the keys that
    stood there with their private half, which no verifier needs and which is not kept.
    """

    keys: tuple[VerificationKey, ...]
    unusable: tuple[UnusableKey, ...] = attrs.field(default=(), kw_only=True)
    with_private_part: tuple[str, ...] = attrs.field(default=(), kw_only=True)
    _by_kid: dict[str, VerificationKey] = attrs.field(
        init=False, repr=False, eq=False, default=attrs.Factory(lambda self: _index(self.keys), takes_self=True)
    )

    def find(self, kid: str) -> VerificationKey | None:
        """The key that is called `kid`, to the letter."""
        return self._by_kid.get(kid)

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[VerificationKey]:
        return iter(self.keys)


EMPTY_KEYSTORE: Final = Keystore(())
