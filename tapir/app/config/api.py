"""`apiserver`, `bootstrapserver` and the certificate that both show: the management API."""

from ipaddress import ip_address
from pathlib import Path
from typing import Final

import attrs

from tapir.app.config.files import ApiServerFile, BootstrapServerFile, CertsFile, Files
from tapir.app.config.report import Report, Section
from tapir.app.config.settings import ApiConfig, SocketAddress
from tapir.app.config.values import parse_listen, path_in
from tapir.codec.popapi import PUBLISHED_KEY

_WANTED: Final = "an item is IP:port, such as 127.0.0.1:9099"
_LONGEST_KEY: Final = 1024
_FIELDS: Final = ("addresses", "tls_addresses", "bootstrap_addresses", "bootstrap_tls_addresses")

ServerFile = ApiServerFile | BootstrapServerFile


def map_api(report: Report, files: Files, folder: Path) -> ApiConfig | None:
    """Where the management API listens, and with which key; None where nothing of it listens."""
    found = {
        "addresses": _addresses(report, "apiserver", "addresses", files.apiserver),
        "tls_addresses": _addresses(report, "apiserver", "tlsaddresses", files.apiserver),
        "bootstrap_addresses": _addresses(report, "bootstrapserver", "addresses", files.bootstrapserver),
        "bootstrap_tls_addresses": _addresses(report, "bootstrapserver", "tlsaddresses", files.bootstrapserver),
    }
    every = [address for addresses in found.values() for address in addresses]
    for address in {address for address in every if address.port and every.count(address) > 1}:
        report.error(("apiserver", "addresses"), f"{address} is given twice for the API; an address is given once")
    if not every:
        return None
    section = Section(report, ("apiserver",))
    key = _read_key(section, files.apiserver, folder)
    certificate, certificate_key, authorities = _certificate(report, files.certs, folder)
    config = ApiConfig(
        **found, key=key, certificate=certificate, certificate_key=certificate_key, client_ca=authorities
    )
    if key in ("", PUBLISHED_KEY):
        config = _keep_in(section, config, published=bool(key))
    if (config.tls_addresses or config.bootstrap_tls_addresses) and (certificate is None or certificate_key is None):
        report.warn(
            ("certs", "tapir-pop"),
            "without `cert` and `key` the API is not served over TLS; needed are the paths of both",
        )
        return attrs.evolve(config, tls_addresses=(), bootstrap_tls_addresses=())
    return config


def _addresses(report: Report, name: str, key: str, file: ServerFile) -> tuple[SocketAddress, ...]:
    values = file.addresses if key == "addresses" else file.tlsaddresses
    found = Section(report, (name,)).parse_each(key, values, parse_listen, wanted=_WANTED)
    return () if file.active is False else found


def _read_key(section: Section, file: ApiServerFile, folder: Path) -> str:
    """The key as text; what is wrong with its file is a fault, for without it the door would stand open."""
    if file.key_file is None:
        return file.key or ""
    if file.key is not None:
        section.error("key-file", "there is `key`, too; allowed is one of them")
        return ""
    path = section.parse("key-file", file.key_file, path_in(folder), folder)
    try:
        with path.open("rb") as stream:
            text = stream.read(_LONGEST_KEY + 1).decode("ascii").strip()
    except OSError as exc:
        section.error("key-file", f"{path} cannot be read: {exc.strerror}")
        return ""
    except UnicodeDecodeError:
        section.error("key-file", f"{path} is no ASCII text; allowed is one line with the key")
        return ""
    if not text or len(text) > _LONGEST_KEY or not text.isprintable() or " " in text:
        section.error("key-file", f"{path} holds no key; allowed is one line of at most {_LONGEST_KEY} characters")
        return ""
    return text


def _certificate(report: Report, certs: CertsFile, folder: Path) -> tuple[Path | None, Path | None, Path | None]:
    section = Section(report, ("certs",))
    pair = section.at("tapir-pop")
    return (
        pair.parse("cert", certs.tapir_pop.cert or None, path_in(folder), None),
        pair.parse("key", certs.tapir_pop.key or None, path_in(folder), None),
        section.parse("cacertfile", certs.cacertfile or None, path_in(folder), None),
    )


def _keep_in(section: Section, config: ApiConfig, *, published: bool) -> ApiConfig:
    """`config` on this host's loopback alone, for its key keeps nobody out; says so and what to change."""
    kept = {field: tuple(dict.fromkeys(_loopback(address) for address in getattr(config, field))) for field in _FIELDS}
    told = "the key that enrolment writes is known to everybody" if published else "there is no key"
    places = " ".join(dict.fromkeys(str(address) for addresses in kept.values() for address in addresses))
    section.warn(
        "key" if published else "key-file",
        f"{told}, so the API is served on this host alone ({places}); for any other address set `key-file` "
        "to the path of a file with a secret of your own (openssl rand -hex 32), and the same in what asks",
    )
    return attrs.evolve(
        config,
        addresses=kept["addresses"],
        tls_addresses=kept["tls_addresses"],
        bootstrap_addresses=kept["bootstrap_addresses"],
        bootstrap_tls_addresses=kept["bootstrap_tls_addresses"],
    )


def _loopback(address: SocketAddress) -> SocketAddress:
    literal = ip_address(address.host.partition("%")[0])
    if literal.is_loopback:
        return address
    return SocketAddress("127.0.0.1" if literal.version == 4 else "::1", address.port)
