"""`dnsengine` and `outputs`: where the zone is served, to whom, and who hears of changes."""

from ipaddress import ip_address, ip_network
from typing import Final

from tapir.app.config.files import DnsEngineFile, OutputFile
from tapir.app.config.problems import format_key
from tapir.app.config.report import Report, Section
from tapir.app.config.settings import LimitsConfig, OutputConfig, Prefix, ServerConfig, SocketAddress
from tapir.app.config.strict import shown
from tapir.app.config.values import between, parse_downstream, parse_listen, parse_prefix

_LOOPBACK: Final[tuple[Prefix, ...]] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
_WANTED: Final = "needed is a list of IP:port, such as [127.0.0.1:5359]"


def map_outputs(report: Report, outputs: dict[str, OutputFile] | None) -> tuple[OutputConfig, ...]:
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
            found[address] = OutputConfig(id=name, address=address)
    return tuple(found.values())


def map_server(report: Report, engine: DnsEngineFile, outputs: tuple[OutputConfig, ...]) -> ServerConfig:
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
    limits = section.at("limits")
    return ServerConfig(
        active=active,
        addresses=addresses,
        allow_transfer=_allowed(section, engine.allow_transfer, outputs),
        limits=LimitsConfig(
            connections=limits.parse("connections", engine.limits.connections, between(1), 512),
            connections_per_address=limits.parse(
                "connections-per-address", engine.limits.connections_per_address, between(1), 64
            ),
            idle_timeout=limits.parse("idle-timeout", engine.limits.idle_timeout, between(1, unit="seconds"), 10),
        ),
    )


def _allowed(
    section: Section, allow: tuple[str | None, ...] | None, outputs: tuple[OutputConfig, ...]
) -> tuple[Prefix, ...]:
    if allow is None:
        hosts = (ip_network(output.address.host.partition("%")[0]) for output in outputs)
        return tuple(dict.fromkeys((*_LOOPBACK, *hosts)))
    wanted = "an item is an IP address or a prefix, such as 192.0.2.0/24"
    prefixes = section.parse_each("allow-transfer", allow, parse_prefix, wanted=wanted)
    for output in outputs:
        address = ip_address(output.address.host.partition("%")[0])
        if not any(address in prefix for prefix in prefixes):
            section.warn(
                "allow-transfer",
                f"leaves out {address}, which {format_key(('outputs', output.id))} notifies and which may not transfer",
            )
    return prefixes
