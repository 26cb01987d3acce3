"""From the configuration of an mqtt source to what its actor is told."""

from pathlib import Path

import attrs

from tapir.app.config import Config, SourceConfig
from tapir.app.config.settings import BootstrapConfig
from tapir.app.mapping import running_sources
from tapir.app.uplink import learned_bootstrap
from tapir.model.names import Name
from tapir.services.sources.bootstrap import BootstrapSettings
from tapir.services.sources.observations_settings import ObservationSettings


def observation_settings(source: SourceConfig, config: Config, *, zone: Name, store_path: Path) -> ObservationSettings:
    """The settings of an observation source; the global configuration may say where it bootstraps from."""
    observed, keystore = source.observations, config.keystore
    if observed is None or keystore is None:
        raise AssertionError(f"{source.id} has no topic, or no keys")  # the configuration sees to that
    sharing = [
        each
        for each in running_sources(config)
        if each.observations is not None and each.observations.topic == observed.topic
    ]
    own = source.name, source.kind
    return ObservationSettings(
        id=source.id,
        name=source.name,
        kind=source.kind,
        zone=zone,
        topics=(observed.topic,),
        store_path=store_path,
        keystore=keystore,
        signers=observed.signers,
        broad=source.broad,
        neighbours=frozenset((each.name, each.kind) for each in sharing) - {own},
        reaper_interval=observed.reaper_interval,
        bootstrap=_bootstrap(source, config, observed.bootstrap),
    )


def _bootstrap(source: SourceConfig, config: Config, configured: BootstrapConfig) -> BootstrapSettings | None:
    learned = learned_bootstrap(source, config)
    if learned is not None and learned.servers:
        configured = attrs.evolve(
            configured, servers=learned.servers, url=learned.base_url, key=learned.token, key_file=None
        )
    if not configured.servers:
        return None
    return BootstrapSettings(
        servers=configured.servers,
        url=configured.url,
        key=configured.key,
        key_file=configured.key_file,
        verify=configured.verify,
        ca=configured.ca,
        certificate=configured.certificate,
        private_key=configured.private_key,
    )
