"""From what the operator configured to what each actor needs of it."""

import sys
from collections.abc import Iterable
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import Final

import attrs

from tapir.app.config import AccessConfig, Config, SocketAddress, SourceConfig, TlsConfig
from tapir.app.config.feeds import is_address
from tapir.codec.tsig import TsigKey
from tapir.model.actions import ListKind
from tapir.model.messages.feeds import CATCH_ALLS, derived_source
from tapir.model.messages.local import LISTS, SOURCES
from tapir.model.names import Name, format_name
from tapir.services.authority.access import AccessRule, Secured
from tapir.services.authority.feeds import FeedAccess
from tapir.services.authority.notifier import NotifierSettings
from tapir.services.authority.server import ServerSettings, TlsSettings
from tapir.services.evaluator.brake import BrakeSettings
from tapir.services.evaluator.policy import EvaluatorSettings
from tapir.services.evaluator.roster import SourceSettings
from tapir.services.sources.feedstate import FeedIdentity
from tapir.services.sources.file import FileSourceSettings
from tapir.services.sources.transferprimary import PrimarySettings, PrimaryTls
from tapir.services.sources.transfersettings import TransferSettings
from tapir.transport.transfer import Patience
from tapir.zone.faults import TransferLimits
from tapir.zone.query import QueryKind
from tapir.zone.schedule import TimerBounds
from tapir.zone.settings import ZoneSettings

_NEVER_BRAKED: Final = BrakeSettings(minimum=sys.maxsize)


def source_settings(config: Config) -> tuple[SourceSettings, ...]:
    """What the list keeper needs to know of every source, those that nobody configures among them."""
    configured = [_configured(source) for source in config.sources]
    feeds = {source.id for source in config.sources if source.origin == "xfr"}
    derived = (
        attrs.evolve(
            each,
            id=derived_source(each.id, kind),
            name=name,
            kind=kind,
            required=False,
            action=None,
            weight=1,
            internal=True,
            derived=True,
        )
        for each in configured
        for kind, name in CATCH_ALLS.items()
        if each.id in feeds
    )
    kinds = {source: kind for kind, source in SOURCES.items()}
    internal = (
        SourceSettings(
            id=source,
            name=name,
            kind=kinds.get(source, ListKind.DENY),
            origin="this host",
            required=False,
            brake=_NEVER_BRAKED,
            internal=True,
        )
        for source, name in LISTS.items()
    )
    return (*configured, *derived, *internal)


def _configured(source: SourceConfig) -> SourceSettings:
    brake = BrakeSettings(shrink=source.brake.shrink, grow=source.brake.grow, minimum=source.brake.minimum)
    return SourceSettings(
        id=source.id,
        name=source.name,
        kind=source.kind,
        origin=_origin_of(source),
        active=source.active,
        required=source.required,
        supported=source.supported,
        action=source.action,
        weight=source.weight,
        reading=(
            str(source.path) if source.feed is None else format_name(source.feed.zone),
            source.format,
            source.column or "",
            source.match,
            str(source.broad),
        ),
        # Each observation is signed and ends by itself: that many come or go at once is no accident.
        brake=_NEVER_BRAKED if source.origin == "mqtt" else brake,
        format=source.format,
    )


def _origin_of(source: SourceConfig) -> str:
    if source.feed is not None:
        return f"{source.origin} {format_name(source.feed.zone)} from {', '.join(map(str, source.feed.primaries))}"
    return f"{source.origin} {source.path}" if source.path is not None else source.origin


def running_sources(config: Config) -> tuple[SourceConfig, ...]:
    """The sources that get an actor."""
    return tuple(source for source in config.sources if source.active and source.supported)


def evaluator_settings(config: Config, *, zone: Name, redirect: Name | None) -> EvaluatorSettings:
    """What the policy evaluator needs to fill `zone`, which leads what is redirected to `redirect`."""
    feeds = [source for source in running_sources(config) if source.feed is not None and source.feed.forward]
    return EvaluatorSettings(
        zone=format_name(zone),
        policy=config.policy,
        redirect=redirect,
        forwarding=tuple(source.id for source in feeds),
        patience=config.start_deadline,
    )


def file_settings(source: SourceConfig, *, zone: Name, staging: Path | None = None) -> FileSourceSettings:
    """The settings of a list file's actor; copies of files that are mapped go to `staging`."""
    if source.path is None:
        raise AssertionError(f"the supported source {source.id} has no file")  # the configuration sees to that
    return FileSourceSettings(
        id=source.id,
        kind=source.kind,
        path=source.path,
        zone=zone,
        format=source.format,
        column=source.column,
        match=source.match,
        broad=source.broad,
        poll_interval=source.poll_interval,
        staging=staging if source.format == "dawg" else None,
    )


def feed_settings(source: SourceConfig, *, zone: Name, keys: Iterable[TsigKey], store_path: Path) -> TransferSettings:
    """The settings of a feed's actor; `zone` is the one that is made of it."""
    feed = source.feed
    if feed is None:
        raise AssertionError(f"the supported source {source.id} has no feed")  # the configuration sees to that
    known = {key.name: key for key in keys}
    bounds = TimerBounds()
    if feed.max_refresh is not None:
        low, high = bounds.refresh
        bounds = attrs.evolve(bounds, refresh=(min(low, feed.max_refresh), min(high, feed.max_refresh)))
    return TransferSettings(
        feed=FeedIdentity(
            source=source.id,
            zone=feed.zone,
            kind=source.kind,
            output=zone,
            broad=source.broad,
            forward=feed.forward,
        ),
        primaries=tuple(
            PrimarySettings(
                host=primary.host,
                port=primary.port,
                key=known[primary.key] if primary.key is not None else None,
                tls=PrimaryTls(
                    hostname=primary.tls.hostname,
                    ca=primary.tls.ca,
                    certificate=primary.tls.certificate,
                    key=primary.tls.key,
                    require_alpn=primary.tls.require_alpn,
                )
                if primary.tls is not None
                else None,
            )
            for primary in feed.primaries
        ),
        store_path=store_path,
        bounds=bounds,
        limits=TransferLimits(octets=feed.max_octets, records=feed.max_records),
        patience=Patience(overall=float(feed.transfer_timeout)),
    )


def server_settings(
    config: Config, *, zone: ZoneSettings, addresses: tuple[SocketAddress, ...], tls: TlsConfig | None
) -> ServerSettings:
    """The settings of the zone server, for `zone` on `addresses` and over `tls`."""
    outputs = [output.access for output in config.outputs if output.access is not None]
    return ServerSettings(
        zone=zone,
        addresses=_addresses(addresses),
        allow=config.server.allow_transfer,
        rules=(
            *(_access_rule(access, alone=True) for access in outputs),
            *(_access_rule(access, alone=False) for access in config.server.access),
        ),
        keys=config.keys,
        feeds=tuple(_feed_access(source) for source in running_sources(config) if source.feed is not None),
        tls=TlsSettings(
            addresses=_addresses(tls.addresses),
            certificate=tls.certificate,
            key=tls.key,
            client_ca=tls.client_ca,
            require_client_certificate=tls.require_client_certificate,
            require_alpn=tls.require_alpn,
        )
        if tls is not None
        else None,
        max_connections=config.server.limits.connections,
        max_connections_per_address=config.server.limits.connections_per_address,
        idle_timeout=config.server.limits.idle_timeout,
    )


def _feed_access(source: SourceConfig) -> FeedAccess:
    """Who may say that the feed of `source` has changed: its primaries, or whom it names, with a key that it has."""
    feed = source.feed
    if feed is None:
        raise AssertionError(f"{source.id} has no feed")  # who calls sees to that
    label = f"sources.{source.id}"
    make = partial(AccessRule, label=label, kinds=frozenset({QueryKind.NOTIFY}))
    if feed.notify_from is not None:
        keys = frozenset(primary.key for primary in feed.primaries if primary.key is not None)
        rules = [make(networks=feed.notify_from, keys=keys)]
    else:
        rules = [
            make(
                networks=(ip_network(primary.host.partition("%")[0]),),
                keys=frozenset({primary.key} if primary.key is not None else ()),
            )
            for primary in feed.primaries
            if is_address(primary.host)
        ]
    return FeedAccess(source=source.id, zone=feed.zone, label=label, rules=tuple(rules))


def _access_rule(access: AccessConfig, *, alone: bool) -> AccessRule:
    secured = Secured.CLIENT_CERTIFICATE if access.client_certificate else Secured.TLS if access.tls else Secured.NO
    return AccessRule(
        label=access.key,
        networks=access.prefixes,
        keys=frozenset(access.signed_by),
        secured=secured,
        kinds=frozenset(QueryKind[kind.upper()] for kind in access.allow),
        alone=alone,
    )


def _addresses(addresses: Iterable[SocketAddress]) -> tuple[tuple[str, int], ...]:
    return tuple((address.host, address.port) for address in addresses)


def notifier_settings(config: Config) -> NotifierSettings:
    """The settings of the notifier."""
    keys = {key.name: key for key in config.keys}
    return NotifierSettings(
        downstreams=_addresses(output.address for output in config.outputs),
        keys=tuple(
            ((output.address.host, output.address.port), keys[output.keys[0]])
            for output in config.outputs
            if output.keys
        ),
    )
