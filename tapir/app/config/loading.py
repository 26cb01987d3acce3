"""From a folder to a `Config`, or to all that is wrong with it."""

from pathlib import Path

import attrs

from tapir.app.config.access import map_keys
from tapir.app.config.api import map_api
from tapir.app.config.document import FILES, read_document
from tapir.app.config.edmkeys import UPSTREAM_FILE
from tapir.app.config.feeds import FeedDefaults
from tapir.app.config.files import Files
from tapir.app.config.keys import warn_of_unknown_keys
from tapir.app.config.mqtt import map_global, map_keystore, map_mqtt
from tapir.app.config.observations import observation_defaults
from tapir.app.config.policy import map_policy
from tapir.app.config.problems import ConfigErrors, Fault, Place
from tapir.app.config.process import map_log, map_state_dir, note_what_is_not_run
from tapir.app.config.report import Report, Section
from tapir.app.config.server import map_outputs, map_server
from tapir.app.config.settings import Config, SourceBrakeConfig
from tapir.app.config.sources import map_source_brake, map_sources
from tapir.app.config.strict import structure
from tapir.app.config.telemetry import map_certificates, map_telemetry
from tapir.app.config.values import between, path_in
from tapir.app.config.zone import map_canary, map_zone, map_zone_brake
from tapir.codec.tsig import TsigKey

SOURCE_BRAKE = SourceBrakeConfig(shrink=0.5, grow=2.0, minimum=1000)


def load(config_dir: Path, state_dir: Path | None = None) -> Config:
    """What the four files in `config_dir` say; `state_dir` overrides their `state-dir`.

    Relative paths in the files start at `config_dir`. Raises ConfigErrors with every fault of all files. Reads files
    and looks at list files, so it blocks as long as the file system does.
    """
    check_folder(config_dir)
    folder = config_dir.absolute()
    report = Report(read_document(config_dir))
    warn_of_unknown_keys(report)
    files = structure(report, Files)
    rpz = files.services.rpz
    top = Section(report, ())
    brake = map_source_brake(top.at("brake"), files.brake, SOURCE_BRAKE)
    zone = map_zone(report, rpz)
    keys = map_keys(report, files.keys, folder)
    outputs = map_outputs(report, files.outputs, keys)
    server = map_server(report, files.dnsengine, outputs, keys, folder)
    note_what_is_not_run(report, files)
    config = Config(
        config_dir=folder,
        state_dir=map_state_dir(report, files, folder, state_dir),
        start_deadline=top.parse("start-deadline", files.start_deadline, between(0, unit="seconds"), 60),
        zone=zone,
        zone_brake=map_zone_brake(report, rpz),
        serial_cache=Section(report, ("services", "rpz")).parse(
            "serialcache", rpz.serialcache or None, path_in(folder), None
        ),
        canary=map_canary(report, rpz, zone),
        server=server,
        sources=map_sources(
            report,
            files.sources,
            folder,
            brake,
            redirect=zone.redirect,
            feeds=_feed_defaults(top, files, keys),
            observations=observation_defaults(report, files, folder),
        ),
        outputs=outputs,
        keys=keys,
        policy=map_policy(report, files.policy, zone.redirect),
        log=map_log(report, files, folder),
        api=map_api(report, files, folder),
        mqtt=map_mqtt(report, files, folder),
        global_config=map_global(report, files),
        telemetry=map_telemetry(report, files, folder),
        certificates=map_certificates(report, files, folder, server),
        keystore=map_keystore(report, files, folder),
    )
    report.raise_faults()
    return attrs.evolve(config, notices=report.notices())


def _feed_defaults(top: Section, files: Files, keys: tuple[TsigKey, ...]) -> FeedDefaults:
    refresh = files.service.maxrefresh
    clamp = top.at("service").parse("maxrefresh", refresh or None, between(1, unit="seconds"), None)
    return FeedDefaults(keys=keys, max_refresh=clamp)


def read_state_dir(config_dir: Path) -> Path | None:
    """The `state-dir` of the files in `config_dir`, or None; what else is wrong there does not matter."""
    document = read_document(config_dir)
    written = document.values.get("state-dir")
    return config_dir.absolute() / written if isinstance(written, str) and written else None


def wants_json_log(config_dir: Path) -> bool:
    """Whether `log.format` asks for JSON; what else is wrong there does not matter, and what cannot be read does not.

    For the records that come before the configuration is judged.
    """
    log = read_document(config_dir).values.get("log")
    written = log.get("format") if isinstance(log, dict) else None
    return isinstance(written, str) and written.lower() == "json"


def check_folder(config_dir: Path) -> None:
    """Raise ConfigErrors where `config_dir` is no folder that can be looked into."""
    try:
        text = "" if config_dir.is_dir() else "this is no folder" if config_dir.exists() else "there is no such folder"
    except OSError as exc:
        text = f"cannot be looked into: {exc.strerror}"
    if text:
        text += f"; allowed is a folder with {', '.join(FILES)}, or with {UPSTREAM_FILE} for EDM"
        raise ConfigErrors(errors=(Fault(place=Place(config_dir), key="", text=text),), notices=())
