"""`dnsengine` and `outputs`: where the zone is served, to whom, and who hears of changes."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Final

from tapir.app.config.access import KINDS, check_ways, map_access, map_output_access, map_tls
from tapir.app.config.files import DnsEngineFile, OutputFile
from tapir.app.config.problems import format_key
from tapir.app.config.report import Report, Section
from tapir.app.config.settings import AccessConfig, LimitsConfig, OutputConfig, Prefix, ServerConfig, SocketAddress
from tapir.app.config.strict import shown
from tapir.app.config.values import between, parse_downstream, parse_listen, parse_prefix
from tapir.codec.tsig import TsigKey

_LOOPBACK: Final[tuple[Prefix, ...]] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
_WANTED: Final = "needed is a list of IP:port, such as [127.0.0.1:5359]"


def map_outputs(
    report: Report, outputs: dict[str, OutputFile] | None, keys: Sequence[TsigKey]
) -> tuple[OutputConfig, ...]:
    """The active outputs; two with one address are one."""
    found: dict[SocketAddress, OutputConfig] = {}
    for name, output in (outputs or {}).items():
        section = Section(report, ("outputs", name))
        if not output.active:
            if output.active is None and not report.is_broken(("outputs", name)):
                section.warn("active", "missing, so this output is not active; allowed is true or false")
            continue
        if output.format is not None and output.format.lower() != "rpz":
            section.warn("format", f"{shown(output.format)} is not supported, this output is ignored; allowed is rpz")
            continue
        address = section.require(
            "downstream",
            output.downstream,
            parse_downstream,
            wanted="edit it: needed is the address that NOTIFY goes to, IP:port, such as 192.0.2.53:53",
            fallback=None,
        )
        if address in found:
            section.warn(
                "downstream", f"{format_key(('outputs', found[address].id))} has this address too; it is notified once"
            )
        elif address is not None:
            access = map_output_access(section, output, address.host, keys)
            signed_by = access.signed_by if access is not None else ()
            found[address] = OutputConfig(id=name, address=address, access=access, keys=signed_by)
    return tuple(found.values())


def map_server(
    report: Report,
    engine: DnsEngineFile,
    outputs: tuple[OutputConfig, ...],
    keys: Sequence[TsigKey],
    folder: Path,
) -> ServerConfig:
    """The zone server; it listens nowhere when `dnsengine.active` is false."""
    section = Section(report, ("dnsengine",))
    active = engine.active is not False
    if active and engine.addresses is None:
        report.missing(("dnsengine", "addresses"), _WANTED)
    addresses = section.parse_each("addresses", engine.addresses, parse_listen, wanted=_WANTED)
    if active and engine.addresses == ():
        section.warn("addresses", "empty, so that the zone is served nowhere")
    for index, address in enumerate(addresses):
        if address.port and address in addresses[:index]:
            section.error("addresses", f"{address} is given twice; an address is given once")
    access = map_access(report, engine.access, keys)
    tls = map_tls(report, engine.tls, folder)
    check_ways(report, (*(output.access for output in outputs if output.access is not None), *access), tls)
    limits = section.at("limits")
    return ServerConfig(
        active=active,
        addresses=addresses,
        allow_transfer=_allowed(section, engine, outputs, access),
        access=access,
        tls=tls,
        limits=LimitsConfig(
            connections=limits.parse("connections", engine.limits.connections, between(1), 512),
            connections_per_address=limits.parse(
                "connections-per-address", engine.limits.connections_per_address, between(1), 64
            ),
            idle_timeout=limits.parse("idle-timeout", engine.limits.idle_timeout, between(1, unit="seconds"), 10),
        ),
    )


def _allowed(
    section: Section, engine: DnsEngineFile, outputs: tuple[OutputConfig, ...], access: tuple[AccessConfig, ...]
) -> tuple[Prefix, ...]:
    """Who may ask everything, signed or not; the default is wide only where nothing says who may ask."""
    if engine.allow_transfer is None and engine.access is None:
        hosts = (ip_network(output.address.host.partition("%")[0]) for output in outputs)
        return tuple(dict.fromkeys((*_LOOPBACK, *hosts)))
    wanted = "an item is an IP address or a prefix, such as 192.0.2.0/24"
    prefixes = section.parse_each("allow-transfer", engine.allow_transfer, parse_prefix, wanted=wanted)
    covered = (*prefixes, *(prefix for rule in access if rule.allow for prefix in rule.prefixes))
    for output in outputs:
        address = ip_address(output.address.host.partition("%")[0])
        if output.access is None and not any(address in prefix for prefix in covered):
            section.warn(
                "allow-transfer" if engine.allow_transfer is not None else "access",
                f"leaves out {address}, which {format_key(('outputs', output.id))} notifies and which may not transfer",
            )
    for rule in access:
        strict = rule.signed_by or rule.tls or len(rule.allow) < len(KINDS)
        both = [prefix for prefix in prefixes for other in rule.prefixes if _overlap(prefix, other)]
        if strict and both:
            section.warn("allow-transfer", f"lets {both[0]} ask everything, so {rule.key} holds nobody there back")
    return prefixes


def _overlap(one: Prefix, other: Prefix) -> bool:
    if isinstance(one, IPv4Network):
        return isinstance(other, IPv4Network) and one.overlaps(other)
    return isinstance(other, IPv6Network) and one.overlaps(other)
