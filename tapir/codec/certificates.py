"""X.509 certificates in PEM (RFC 7468, RFC 5280): what an operator wants to know of them. Nothing is verified here."""

from datetime import UTC, datetime, timedelta
from typing import Final

import attrs
from cryptography import x509
from cryptography.x509.oid import NameOID

from tapir.model.errors import TapirError

MAX_DOCUMENT: Final = 4 << 20
"""octets of a file of certificates; the bundles of operating systems have some 250,000"""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class CertificateError(TapirError):
    """The document holds no certificate, or none that can be read; the text shows nothing of it."""


@attrs.frozen(kw_only=True)
class Certificate:
    """Whose it is, and until when; times are microseconds since the epoch."""

    common_name: str
    """of the subject; empty for none"""
    serial: int
    not_before: int
    not_after: int


def parse_certificates(pem: bytes) -> tuple[Certificate, ...]:
    """The certificates of `pem`, in order; the first is the owner's. Raises CertificateError."""
    if len(pem) > MAX_DOCUMENT:
        raise CertificateError(f"it has {len(pem)} octets, {MAX_DOCUMENT} are allowed")
    try:
        return tuple(_facts(certificate) for certificate in x509.load_pem_x509_certificates(pem))
    except ValueError:
        raise CertificateError("it holds no certificate in PEM") from None


def _facts(certificate: x509.Certificate) -> Certificate:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    name = names[0].value if names else ""
    return Certificate(
        common_name=name if isinstance(name, str) else "",
        serial=certificate.serial_number,
        not_before=_microseconds(certificate.not_valid_before_utc),
        not_after=_microseconds(certificate.not_valid_after_utc),
    )


def _microseconds(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(microseconds=1)
