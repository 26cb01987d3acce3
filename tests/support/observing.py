"""Keys, and signed observations as Core sends them."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tapir.codec.jose import Algorithm, SigningKey, sign_compact, sign_flattened
from tapir.codec.jose.algorithms import JWKOKP
from tapir.codec.observations import Observations, encode_observations
from tapir.model.actions import ListKind
from tapir.model.blocks import ObservationBlock, WithdrawalBlock
from tapir.model.names import parse_name

SECOND: Final = 1_000_000
LIST: Final = "dns-tapir"


def make_key(kid: str, seed: int = 1) -> SigningKey:
    """An Ed25519 key, the same for the same `seed`."""
    return SigningKey(
        kid=kid, algorithm=Algorithm.EDDSA, jwk=JWKOKP(key=Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32))
    )


CORE: Final = make_key("core")
OTHER: Final = make_key("other", 2)
STRANGER: Final = make_key("stranger", 3)


def write_keystore(path: Path, *keys: SigningKey) -> Path:
    """A JWK Set of the public halves of `keys` at `path`."""
    entries = [{**key.public_key().jwk.to_json(), "kid": key.kid} for key in keys]
    path.write_text(json.dumps({"keys": entries}))
    return path


def payload(
    added: Iterable[tuple[str, int, int, int]] = (),
    removed: Iterable[str] = (),
    *,
    at: int | None = None,
    source: str = LIST,
    kind: ListKind = ListKind.DOUBT,
) -> bytes:
    """A message that adds (name, tags, observed, seconds) and removes names, made at `at`; times in microseconds."""
    return encode_observations(
        Observations(
            source=source,
            kind=kind,
            added=ObservationBlock.of(
                (parse_name(name), tags, observed, observed + seconds * SECOND)
                for name, tags, observed, seconds in added
            ),
            removed=WithdrawalBlock.of((parse_name(name), 0) for name in removed),
            creator="observation-encoder",
            timestamp=at,
        ),
        trailing_dot=False,
    )


def signed(data: bytes, key: SigningKey = CORE, *, compact: bool = False) -> bytes:
    """`data` as Core's bridge signs it."""
    return sign_compact(data, key) if compact else sign_flattened(data, key)
