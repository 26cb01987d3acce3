"""A status document on its way out: who we are, on which topic, under which signature. Files are read each time.

An EC key signs as upstream has it, with `{"alg":"ES256"}` and no `kid`; an Ed25519 key, which enrolment makes and
upstream refuses, with `{"alg":"EdDSA","kid":…}`, since a reader could not find the key otherwise.
"""

from pathlib import Path
from typing import Final

import attrs

from tapir.codec.certificates import MAX_DOCUMENT, CertificateError, parse_certificates
from tapir.codec.functionstatus import encode_function_status
from tapir.codec.jose import Algorithm, KeyDocumentError, SigningKey, parse_signing_key, sign_flattened
from tapir.codec.mqtt.packets import MalformedPacket, check_topic
from tapir.model.errors import TapirError
from tapir.model.messages.telemetry import FunctionStatus

EDGE_ID: Final = "{EdgeId}"
_NOT_IN_A_LEVEL: Final = frozenset("/+#\0")


class SigningError(TapirError):
    """The document cannot be signed or addressed; the text says which file is at fault, and shows nothing of it."""


@attrs.frozen(kw_only=True)
class SigningSettings:
    """The topic, in which `{EdgeId}` stands for the name in `certificate`, else for the key's `kid`."""

    topic: str
    key: Path
    certificate: Path | None = None


@attrs.frozen(kw_only=True)
class SealedStatus:
    """What is published."""

    topic: str
    payload: bytes
    edge_id: str


def seal_status(settings: SigningSettings, status: FunctionStatus) -> SealedStatus:
    """`status` in the name of this edge, signed. Blocks. Raises SigningError."""
    key = read_key(settings.key)
    edge_id = _edge_id(settings, key)
    topic = settings.topic
    if EDGE_ID in topic:
        if not edge_id or _NOT_IN_A_LEVEL & set(edge_id):
            raise SigningError(f"{settings.certificate or settings.key} names nobody who could stand in the topic")
        topic = topic.replace(EDGE_ID, edge_id)
    try:
        check_topic(topic)
    except MalformedPacket as exc:
        raise SigningError(f"the topic of the status is none: {exc}") from None
    payload = encode_function_status(attrs.evolve(status, id=edge_id or status.id)) + b"\n"
    signed = sign_flattened(payload, key, with_kid=key.algorithm is Algorithm.EDDSA)
    return SealedStatus(topic=topic, payload=signed, edge_id=edge_id)


def _edge_id(settings: SigningSettings, key: SigningKey) -> str:
    if settings.certificate is None:
        return key.kid or ""
    try:
        return parse_certificates(_read(settings.certificate))[0].common_name
    except CertificateError as exc:
        raise SigningError(f"{settings.certificate}: {exc}") from None


def read_key(path: Path) -> SigningKey:
    """The key in this file. Blocks. Raises SigningError."""
    try:
        return parse_signing_key(_read(path))
    except KeyDocumentError as exc:
        raise SigningError(f"{path}: {exc}") from None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_DOCUMENT + 1)
    except OSError as exc:
        raise SigningError(f"{path}: {exc.strerror}") from None
