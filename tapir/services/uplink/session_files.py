"""Certificates and keys of the connection: which state of the files is in use, and whether another one could be."""

import hashlib
import ssl
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.x509.oid import NameOID

from tapir.services.uplink.session_settings import BrokerSettings
from tapir.transport.tls import TlsError, client_context

Signs = tuple[tuple[int, ...] | None, ...]
"""What tells one state of the files from another, as `stat` sees it; None for a file that is not there."""


@attrs.frozen(kw_only=True)
class Material:
    """One state of the files."""

    signs: Signs
    digest: bytes
    """of their contents; empty where one cannot be read"""


class TlsFiles:
    """The files of one broker's settings. Blocking, for worker threads; one call at a time."""

    def __init__(self, broker: BrokerSettings) -> None:
        self._broker = broker
        self._paths = tuple(path for path in (broker.ca, broker.certificate, broker.key) if path is not None)
        self.used: Material | None = None
        """what the last connection was attempted with"""

    def context(self) -> ssl.SSLContext:
        """TLS with the files as they are now, which are `used` from then on. Raises TlsError."""
        # The signs come first: what changes while it is read then differs from what is in use, and is looked at again.
        self.used = self.look()
        return self._build()

    def look(self) -> Material:
        """The files as they are now; nothing of them is kept but a digest."""
        signs = self.signs()
        digest = hashlib.sha256()
        try:
            for path in self._paths:
                digest.update(hashlib.sha256(path.read_bytes()).digest())
        except OSError:
            return Material(signs=signs, digest=b"")
        return Material(signs=signs, digest=digest.digest())

    def signs(self) -> Signs:
        """The signs of the files as they are now."""
        return tuple(_sign_of(path) for path in self._paths)

    def try_out(self) -> str:
        """Why a connection could not be made with the files as they are now; empty where it could."""
        try:
            self._build()
        except TlsError as exc:
            return str(exc)
        return ""

    def _build(self) -> ssl.SSLContext:
        return client_context(ca=self._broker.ca, certificate=self._broker.certificate, key=self._broker.key)


def common_name(certificate: Path) -> str:
    """The CN of the first certificate in the file. Blocks. Raises TlsError."""
    try:
        subject = x509.load_pem_x509_certificate(certificate.read_bytes()).subject
    except OSError as exc:
        raise TlsError(f"the certificate {certificate}: {exc.strerror or exc}") from exc
    except ValueError as exc:
        raise TlsError(f"the certificate {certificate}: not PEM, or damaged") from exc
    names = [str(attribute.value) for attribute in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if not names or not names[0].strip() or not names[0].isprintable():
        raise TlsError(f"the certificate {certificate} has no common name, which our client identifier begins with")
    return names[0].strip()


def _sign_of(path: Path) -> tuple[int, ...] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
