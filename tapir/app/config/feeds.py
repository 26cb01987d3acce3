"""`sources.ID` with `source: xfr`: a feed, its primaries, and how much and how long it may take."""

from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import attrs

from tapir.app.config.access import parse_key_of
from tapir.app.config.files import FeedTlsFile, SourceFile
from tapir.app.config.report import Invalid, Section
from tapir.app.config.settings import FeedConfig, FeedPrimaryConfig, FeedTlsConfig, Prefix
from tapir.app.config.strict import shown
from tapir.app.config.values import between, listed, one_of, parse_domain, parse_prefix, path_in
from tapir.codec.tsig import TsigKey
from tapir.model.names import NameSyntaxError, format_name, parse_name
from tapir.transport.tls import TlsError, client_context

_WANTED_ADDRESS: Final = "needed is the primary's address, HOST:port, such as 192.0.2.53:53"
_MAX_OCTETS: Final = 2 << 30
_MAX_RECORDS: Final = 20_000_000
_PATIENCE: Final = 3600
_COUNT: Final = "count"
_FORWARD: Final = "pass"


@attrs.frozen(kw_only=True)
class FeedDefaults:
    """What a feed takes from the rest of the files."""

    keys: Sequence[TsigKey] = ()
    max_refresh: int | None = None
    """seconds; None where a feed's own timer counts"""


def map_feed(section: Section, source: SourceFile, folder: Path, defaults: FeedDefaults) -> FeedConfig | None:
    """What one entry says of its feed; None where it says too little, which is then an error."""
    zone = section.require("zone", source.zone, parse_domain, wanted="needed is the zone to transfer", fallback=None)
    primaries = _primaries(section, source, folder, defaults.keys)
    if source.match is not None and source.match.lower() != "exact":
        section.error("match", "a feed says itself, by wildcards, what is below a name; allowed is exact")
    triggers = section.parse("other-triggers", source.other_triggers, one_of(_COUNT, _FORWARD), _COUNT)
    if source.feed_actions:
        section.error("feed-actions", "not supported by this version: the policy says what becomes of a name")
    max_octets = section.parse("max-octets", source.max_octets, between(1024), _MAX_OCTETS)
    max_records = section.parse("max-records", source.max_records, between(1), _MAX_RECORDS)
    timeout = section.parse("transfer-timeout", source.transfer_timeout, between(1, 86400, unit="seconds"), _PATIENCE)
    notify_from = _notify_from(section, source, primaries)
    if zone is None or not primaries:
        return None
    return FeedConfig(
        zone=zone,
        primaries=primaries,
        notify_from=notify_from,
        max_octets=max_octets,
        max_records=max_records,
        transfer_timeout=timeout,
        max_refresh=defaults.max_refresh,
        forward=triggers == _FORWARD,
    )


def _primaries(
    section: Section, source: SourceFile, folder: Path, keys: Sequence[TsigKey]
) -> tuple[FeedPrimaryConfig, ...]:
    """`upstream` with its key and TLS, and then `primaries`."""
    found: dict[tuple[str, int], FeedPrimaryConfig] = {}
    entries = [
        (section.at("primaries", index), entry.address, "key", entry.key, entry.tls)
        for index, entry in enumerate(source.primaries or ())
    ]
    if source.upstream is not None or not entries:
        entries.insert(0, (section, source.upstream, "tsig-key", source.tsig_key, source.tls))
    elif source.tsig_key is not None or source.tls is not None:
        section.warn("tsig-key" if source.tsig_key is not None else "tls", "counts for `upstream`, which is not given")
    for place, text, key_word, key, tls in entries:
        word = "upstream" if place is section else "address"
        address = place.require(word, text, _parse_address(tls is not None), wanted=_WANTED_ADDRESS, fallback=None)
        signed_by = place.parse(key_word, key, parse_key_of(section.report, keys), None)
        secured = _tls_of(place.at("tls"), tls, address[0], folder) if tls is not None and address else None
        if address is None:
            continue
        if address in found:
            place.error(word, f"{shown(text)} is given twice; a primary is given once")
        found[address] = FeedPrimaryConfig(host=address[0], port=address[1], key=signed_by, tls=secured)
    return tuple(found.values())


def _notify_from(
    section: Section, source: SourceFile, primaries: Sequence[FeedPrimaryConfig]
) -> tuple[Prefix, ...] | None:
    if source.notify_from is not None:
        wanted = "an item is an IP address or a prefix, such as 192.0.2.0/24"
        return section.parse_each("notify-from", source.notify_from, parse_prefix, wanted=wanted)
    named = [primary.host for primary in primaries if not is_address(primary.host)]
    if named:
        # An address that is looked up now need not be the one that the primary has when it speaks.
        text = f"NOTIFY is not taken from {listed(named)}, which is a name; say from which addresses it comes"
        section.note("notify-from", text)
    return None


def _tls_of(section: Section, tls: FeedTlsFile, host: str, folder: Path) -> FeedTlsConfig:
    parse = path_in(folder)
    ca, cert, key = (
        section.parse(word, path, parse, None) for word, path in (("ca", tls.ca), ("cert", tls.cert), ("key", tls.key))
    )
    if key is not None and cert is None:
        section.error("key", "is the key of a certificate, and there is no cert; give both or none")
    else:
        try:
            client_context(ca=ca, certificate=cert, key=key)
        except TlsError as exc:
            section.report.error(section.path, str(exc))
    return FeedTlsConfig(
        hostname=section.parse("hostname", tls.hostname, _parse_host, host),
        ca=ca,
        certificate=cert,
        key=key,
        require_alpn=tls.require_alpn is not False,
    )


def _parse_address(secured: bool) -> Callable[[str], tuple[str, int]]:
    default = 853 if secured else 53

    def parse(text: str) -> tuple[str, int]:
        host, port = _split(text)
        if port and not (port.isascii() and port.isdecimal() and len(port) <= 5 and 1 <= int(port) <= 65535):
            raise Invalid(f"{shown(text)} has no such port; allowed is 1 to 65535")
        return _parse_host(host), int(port or default)

    return parse


def _split(text: str) -> tuple[str, str]:
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        if ":" in host and (not rest or rest.startswith(":")):
            return host, rest[1:]
    elif text.count(":") <= 1:
        host, _, port = text.partition(":")
        return host, port
    raise Invalid(f"{shown(text)} is no address; allowed is HOST:port, and for IPv6 [ADDRESS]:port")


def is_address(host: str) -> bool:
    """Whether `host` is an IP literal."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _parse_host(text: str) -> str:
    """An IP literal, or the name of a host, as it is looked up."""
    if is_address(text):
        return str(ip_address(text))
    try:
        if not text or text.replace(".", "").isdecimal():
            raise Invalid(f"{shown(text)} is neither an IP address nor the name of a host; {_WANTED_ADDRESS}")
        return format_name(parse_name(text)).removesuffix(".")
    except NameSyntaxError as exc:
        raise Invalid(str(exc)) from exc
