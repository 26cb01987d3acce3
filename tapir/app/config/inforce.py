"""What a running process goes by, handed to whoever plans a reload: no key, certificate or other secret is in it."""

import json
from pathlib import Path
from typing import Any, Final

import attrs
from cattrs.preconf.json import make_converter

from tapir.app.config.settings import Config, SocketAddress, SourceConfig, ZoneBrakeConfig
from tapir.model.errors import TapirError
from tapir.model.names import Name
from tapir.policy.settings import PolicySettings
from tapir.zone.settings import ZoneSettings

_CONVERTER: Final = make_converter()


class ForeignConfigError(TapirError):
    """The process goes by something that this version of tapir does not understand."""


@attrs.frozen(kw_only=True)
class InForce:
    """What of a configuration says whether and how a reload changes the zone."""

    zone: ZoneSettings
    zone_brake: ZoneBrakeConfig
    serial_cache: Path | None
    state_dir: Path
    canary: Name | None
    server_active: bool
    addresses: tuple[SocketAddress, ...]
    sources: tuple[SourceConfig, ...]
    policy: PolicySettings


def pack_in_force(config: Config) -> dict[str, Any]:
    """What JSON can say of `config`."""
    packed = _CONVERTER.dumps(
        InForce(
            zone=config.zone,
            zone_brake=config.zone_brake,
            serial_cache=config.serial_cache,
            state_dir=config.state_dir,
            canary=config.canary,
            server_active=config.server.active,
            addresses=config.server.addresses,
            sources=tuple(map(_without_secret, config.sources)),
            policy=config.policy,
        )
    )
    # Through its text: what is left of it then is nothing but numbers, strings, lists and objects.
    plain: dict[str, Any] = json.loads(packed)
    return plain


def _without_secret(source: SourceConfig) -> SourceConfig:
    observed = source.observations
    if observed is None:
        return source
    bootstrap = attrs.evolve(observed.bootstrap, key="")
    return attrs.evolve(source, observations=attrs.evolve(observed, bootstrap=bootstrap))


def restore_in_force(packed: Any, new: Config) -> Config:
    """The configuration that the process goes by; what was not packed is as in `new`. Raises ForeignConfigError."""
    try:
        old = _CONVERTER.structure(packed, InForce)
    except Exception as exc:  # whatever cattrs finds, it is not what this version packs
        raise ForeignConfigError(
            "the process that runs is of another version: what it goes by cannot be read, restart it first"
        ) from exc
    return attrs.evolve(
        new,
        zone=old.zone,
        zone_brake=old.zone_brake,
        serial_cache=old.serial_cache,
        state_dir=old.state_dir,
        canary=old.canary,
        server=attrs.evolve(new.server, active=old.server_active, addresses=old.addresses),
        sources=old.sources,
        policy=old.policy,
    )
