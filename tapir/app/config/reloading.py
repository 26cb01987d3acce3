"""What a reload takes of a new configuration, and what waits for a restart."""

from typing import Final

import attrs

from tapir.app.config.settings import Config, SocketAddress, SourceConfig, TlsConfig
from tapir.model.actions import Action
from tapir.policy.settings import PolicySettings

_ZONE_FIELDS: Final = (
    ("zonename", "name"),
    ("soa.mname", "mname"),
    ("soa.rname", "rname"),
    ("soa.refresh", "refresh"),
    ("soa.retry", "retry"),
    ("soa.expire", "expire"),
    ("soa.minimum", "minimum"),
    ("ns", "ns"),
    ("ttl", "ttl"),
    ("redirect", "redirect"),
    ("journal.max-size", "journal_max_octets"),
    ("journal.max-age", "journal_max_age"),
    ("journal.max-deltas", "journal_max_deltas"),
)


def changes_needing_restart(old: Config, new: Config) -> tuple[str, ...]:
    """The keys whose change a reload does not take, as the files spell them."""
    zone = tuple(
        (f"services.rpz.{key}", getattr(old.zone, field), getattr(new.zone, field)) for key, field in _ZONE_FIELDS
    )
    values = (
        *zone,
        ("services.rpz.brake", old.zone_brake, new.zone_brake),
        ("services.rpz.serialcache", old.serial_cache, new.serial_cache),
        ("dnsengine.active", old.server.active, new.server.active),
        ("dnsengine.addresses", old.server.addresses, new.server.addresses),
        ("dnsengine.tls.addresses", _tls_addresses(old), _tls_addresses(new)),
        ("state-dir", old.state_dir, new.state_dir),
        ("policy", False, _lacks_target(old, new.policy)),
        *((f"sources.{source.id}.action", False, True) for source in _waiting_sources(old, new)),
    )
    # NS names that nobody configured follow the zone's name, which is told already.
    own = {"services.rpz.ns"} if old.zone.name != new.zone.name else set()
    return tuple(key for key, before, after in values if before != after and key not in own)


def after_reload(old: Config, new: Config) -> Config:
    """What is in effect when a process that runs on `old` has taken of `new` what it can.

    The rest stays as in `old`, so that the next reload names it again. What redirects waits for the restart that gives
    the zone its target: until then no version could hold its records. So a policy that does is not taken at all, and
    a source that does goes on with the action that it had, or as one without.
    """
    before = {source.id: source.action for source in old.sources}
    waiting = {source.id for source in _waiting_sources(old, new)}
    return attrs.evolve(
        new,
        zone=old.zone,
        zone_brake=old.zone_brake,
        serial_cache=old.serial_cache,
        state_dir=old.state_dir,
        server=attrs.evolve(
            new.server, active=old.server.active, addresses=old.server.addresses, tls=tls_after_reload(old, new)
        ),
        policy=old.policy if _lacks_target(old, new.policy) else new.policy,
        sources=tuple(
            attrs.evolve(source, action=before.get(source.id)) if source.id in waiting else source
            for source in new.sources
        ),
    )


def _waiting_sources(old: Config, new: Config) -> list[SourceConfig]:
    """The sources that redirect, which the running zone cannot."""
    if old.zone.redirect is not None:
        return []
    return [source for source in new.sources if source.action is Action.REDIRECT]


def _lacks_target(old: Config, policy: PolicySettings) -> bool:
    actions = {policy.denylist_action, policy.numsources_action, policy.numtapirtags_action}
    if policy.denytapir_mask:
        actions.add(policy.denytapir_action)
    return old.zone.redirect is None and Action.REDIRECT in actions


def tls_after_reload(old: Config, new: Config) -> TlsConfig | None:
    """What is served over TLS after a reload: the same addresses, with the files that are configured now."""
    if old.server.tls is None or new.server.tls is None:
        return old.server.tls
    return attrs.evolve(new.server.tls, addresses=old.server.tls.addresses)


def _tls_addresses(config: Config) -> tuple[SocketAddress, ...]:
    return config.server.tls.addresses if config.server.tls is not None else ()
