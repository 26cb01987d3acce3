"""`keys`, `dnsengine.access`, `dnsengine.tls`: by what secrets and over what ways the zone may be asked for."""

import stat
from collections.abc import Callable, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Final

from tapir.app.config.files import AccessFile, KeyFile, OutputFile, TlsFile
from tapir.app.config.problems import format_key
from tapir.app.config.report import Invalid, Report, Section
from tapir.app.config.settings import AccessConfig, Prefix, SocketAddress, TlsConfig
from tapir.app.config.values import listed, one_of, parse_listen, parse_prefix, path_in
from tapir.codec.keyfile import KeyFileError, is_name, read_key
from tapir.codec.tsig import ALGORITHMS, TsigKey, TsigKeyError
from tapir.model.names import Name, NameSyntaxError, format_name, parse_name
from tapir.transport.tls import TlsError, server_context

KINDS: Final = ("soa", "ixfr", "axfr", "lookup")
_MOST_OCTETS: Final = 65536
_SHORT: Final = 16
_WANTED_FROM: Final = "needed is a list of IP addresses or prefixes, such as 192.0.2.0/24"


def map_keys(report: Report, keys: dict[str, KeyFile] | None, folder: Path) -> tuple[TsigKey, ...]:
    """The TSIG keys with their secrets, which are read here."""
    found: list[TsigKey] = []
    for text, entry in (keys or {}).items():
        section = Section(report, ("keys", text))
        path = section.require(
            "secret-file",
            entry.secret_file,
            path_in(folder),
            wanted="needed is the path of a file with the secret, in base64",
            fallback=None,
        )
        if path is None:
            continue
        try:
            name = parse_name(text)
            found.append(_read_key(section, name, entry.algorithm, path))
        except NameSyntaxError as exc:
            report.error(("keys", text), str(exc))
        except (TsigKeyError, Invalid) as exc:
            report.error(("keys", text), str(exc))
        except (KeyFileError, UnicodeDecodeError) as exc:
            section.error("secret-file", f"{path}: {exc if isinstance(exc, KeyFileError) else 'it is no text'}")
        except OSError as exc:
            section.error("secret-file", f"{path} cannot be read: {exc.strerror}")
    return tuple(found)


def _read_key(section: Section, name: Name, algorithm: str | None, path: Path) -> TsigKey:
    with path.open("rb") as file:
        octets = file.read(_MOST_OCTETS)
    said = read_key(octets.decode("ascii"), name)
    _warn_of_mode(section, "secret-file", path)
    wanted = one_of(*ALGORITHMS)
    there = wanted(said.algorithm.rstrip(".")) if said.algorithm is not None else None
    here = section.parse("algorithm", algorithm, wanted, there or "hmac-sha256")
    if there is not None and there != here:
        section.error("algorithm", f"{here} here, and {there} in {path}; both are the same")
    if len(said.secret) < _SHORT:
        section.warn("secret-file", f"the secret has {len(said.secret)} octets, which can be guessed; use 32")
    return TsigKey(name=name, algorithm=here, secret=said.secret)


def _warn_of_mode(section: Section, key: str, path: Path) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o027:
        section.warn(key, f"{path} has mode {mode:04o}: others can read or change it; allowed is 0640 or less")


def map_access(
    report: Report, rules: tuple[AccessFile | None, ...] | None, keys: Sequence[TsigKey]
) -> tuple[AccessConfig, ...]:
    """The rules of `dnsengine.access`, in their order."""
    found: list[AccessConfig] = []
    for index, rule in enumerate(rules or ()):
        section = Section(report, ("dnsengine", "access", index))
        if rule is None:
            report.missing(("dnsengine", "access", index), "an item is a rule, `{ from: [...], ... }`")
            continue
        if rule.prefixes is None:
            report.missing((*section.path, "from"), _WANTED_FROM)
        prefixes = section.parse_each("from", rule.prefixes, parse_prefix, wanted=_WANTED_FROM)
        found.append(_rule(section, rule, prefixes, keys))
    return tuple(found)


def map_output_access(section: Section, output: OutputFile, host: str, keys: Sequence[TsigKey]) -> AccessConfig | None:
    """What the address of one output may, if the output says anything about that."""
    if output.key is None and output.allow is None and not output.tls and not output.client_certificate:
        return None
    return _rule(section, output, (ip_network(host.partition("%")[0]),), keys)


def _rule(
    section: Section, rule: AccessFile | OutputFile, prefixes: tuple[Prefix, ...], keys: Sequence[TsigKey]
) -> AccessConfig:
    signed_by = section.parse_each(
        "key", rule.key, parse_key_of(section.report, keys), wanted="an item is the name of one of `keys`"
    )
    if rule.key == ():
        section.error("key", "empty; leave it out where a signature is not needed")
    allow = section.parse_each("allow", rule.allow, one_of(*KINDS), wanted=f"an item is {listed(KINDS)}")
    return AccessConfig(
        key=format_key(section.path),
        prefixes=prefixes,
        signed_by=signed_by,
        tls=bool(rule.tls) or bool(rule.client_certificate),
        client_certificate=bool(rule.client_certificate),
        allow=frozenset(KINDS if rule.allow is None else allow),
    )


def parse_key_of(report: Report, keys: Sequence[TsigKey]) -> Callable[[str], Name]:
    """A parser of the name of one of `keys`."""
    known = {key.name for key in keys}

    def parse_key(text: str) -> Name:
        try:
            name = parse_name(text)
        except NameSyntaxError as exc:
            raise Invalid(str(exc)) from exc
        if name not in known and not _is_told_of(report, name):
            names = listed([format_name(key.name) for key in keys]) if keys else "none, there are no `keys`"
            raise Invalid(f"no key is called {text!r}; allowed is {names}")
        return name

    return parse_key


def _is_told_of(report: Report, name: Name) -> bool:
    """Whether there is an entry for the key `name`, or may be: why it makes no key is then told there."""
    entries = report.document.values.get("keys")
    texts = [text for text in entries if isinstance(text, str)] if isinstance(entries, dict) else []
    return report.is_broken(("keys",)) or any(is_name(text, name) for text in texts)


def map_tls(report: Report, tls: TlsFile | None, folder: Path) -> TlsConfig | None:
    """Where TLS is served; its files are read here, and once more where they are used."""
    if tls is None:
        return None
    section = Section(report, ("dnsengine", "tls"))
    wanted = "needed is a list of IP:port, such as [192.0.2.5:853]"
    if tls.addresses is None:
        report.missing((*section.path, "addresses"), wanted)
    addresses: tuple[SocketAddress, ...] = section.parse_each("addresses", tls.addresses, parse_listen, wanted=wanted)
    parse = path_in(folder)
    needed = "needed is the path of a PEM file"
    certificate = section.require("certificate", tls.certificate, parse, wanted=needed, fallback=None)
    key = section.require("key", tls.key, parse, wanted=needed, fallback=None)
    client_ca = section.parse("client-ca", tls.client_ca, parse, None)
    if tls.require_client_certificate and client_ca is None:
        section.error("require-client-certificate", "needs client-ca, the PEM file with the CA of the certificates")
    if certificate is None or key is None:
        return None
    try:
        server_context(certificate=certificate, key=key, client_ca=client_ca)
        _warn_of_mode(section, "key", key)
    except TlsError as exc:
        section.error("certificate", str(exc))
    except OSError as exc:
        section.error("key", f"{key} cannot be read: {exc.strerror}")
    return TlsConfig(
        addresses=addresses,
        certificate=certificate,
        key=key,
        client_ca=client_ca,
        require_client_certificate=bool(tls.require_client_certificate),
        require_alpn=tls.require_alpn is not False,
    )


def check_ways(report: Report, rules: Sequence[AccessConfig], tls: TlsConfig | None) -> None:
    """An error for each of `rules` that nobody can meet, because what it asks for is not served."""
    for rule in rules:
        if rule.tls and tls is None:
            report.error(_path_of(rule), "wants TLS, and dnsengine.tls is not there; nobody could ask")
        elif rule.client_certificate and tls is not None and tls.client_ca is None:
            report.error(_path_of(rule), "wants client certificates, and there is no dnsengine.tls.client-ca")


def _path_of(rule: AccessConfig) -> tuple[str | int, ...]:
    return ("outputs", rule.key.partition(".")[2]) if rule.key.startswith("outputs.") else ("dnsengine", "access")
