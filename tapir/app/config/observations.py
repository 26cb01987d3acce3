"""`sources.ID` with `source: mqtt`: where observations come from, who may sign them, and where to begin with."""

from pathlib import Path
from typing import Final

import attrs

from tapir.app.config.files import Files, SourceFile
from tapir.app.config.mqtt import parse_topic_filter
from tapir.app.config.report import Invalid, Report, Section
from tapir.app.config.settings import BootstrapConfig, ObservationsConfig
from tapir.app.config.strict import shown
from tapir.app.config.values import between, path_in

FORMAT: Final = "tapir-msg-v1"

_FORMATS: Final = ("", FORMAT, "json")
_REAPER: Final = 60
_WANTED_TOPIC: Final = "needed is the topic of the observations, such as observations/down/tapir-pop"
_WANTED_URL: Final = "needed is where the API is, with %s for the server: https://%s/api/v1"


@attrs.frozen(kw_only=True)
class ObservationDefaults:
    """What an mqtt source takes from the rest of the files."""

    reaper_interval: int
    keystore: bool
    """whether there is a file of keys"""
    ca: Path | None
    certificate: Path | None
    key: Path | None


def observation_defaults(report: Report, files: Files, folder: Path) -> ObservationDefaults:
    """`services.reaper`, `keystore`, and the certificates of `certs` that a bootstrap shows and trusts."""
    path = path_in(folder)
    certs = Section(report, ("certs",))
    pair = certs.at("tapir-pop")
    return ObservationDefaults(
        reaper_interval=Section(report, ("services", "reaper")).parse(
            "interval", files.services.reaper.interval, between(1, 86_400, unit="seconds"), _REAPER
        ),
        keystore=bool(files.keystore.path),
        ca=certs.parse("cacertfile", files.certs.cacertfile or None, path, None),
        certificate=pair.parse("cert", files.certs.tapir_pop.cert or None, path, None),
        key=pair.parse("key", files.certs.tapir_pop.key or None, path, None),
    )


def map_observations(
    section: Section, source: SourceFile, folder: Path, defaults: ObservationDefaults
) -> ObservationsConfig:
    """What one entry says of its observations."""
    if (source.format or "").lower() not in _FORMATS:
        section.warn("format", f"is not looked at: observations are {FORMAT}, and not {shown(source.format or '')}")
    if source.validatorkey:
        section.note("validatorkey", "is not looked at: messages are verified with the keystore, see `signers`")
    topic = section.require("topic", source.topic or None, parse_topic_filter, wanted=_WANTED_TOPIC, fallback="")
    if not defaults.keystore:
        text = "needed is the file of the keys that sign observations, such as certs/validation-keys.json"
        section.report.missing(("keystore", "path"), text)
    return ObservationsConfig(
        topic=topic,
        immutable=bool(source.immutable),
        signers=_signers(section, source),
        reaper_interval=defaults.reaper_interval,
        bootstrap=_bootstrap(section, source, folder, defaults),
    )


def _signers(section: Section, source: SourceFile) -> tuple[str, ...] | None:
    if source.signers is None:
        return None
    found = tuple(kid for kid in source.signers if kid)
    if not found:
        section.error("signers", "nobody could sign for it; allowed are `kid`s of keys of the keystore, or no such key")
    return found


def _bootstrap(section: Section, source: SourceFile, folder: Path, defaults: ObservationDefaults) -> BootstrapConfig:
    """Where to begin; without servers, how to go to those that the global configuration may name."""
    servers = tuple(server for server in source.bootstrap or () if server)
    url = ""
    if servers:
        url = section.require("bootstrapurl", source.bootstrapurl or None, _parse_url, wanted=_WANTED_URL, fallback="")
    key_file = section.parse("bootstrap-key-file", source.bootstrap_key_file or None, path_in(folder), None)
    if source.bootstrapkey and key_file is not None:
        section.warn("bootstrapkey", "is not looked at: `bootstrap-key-file` says where the key is")
    elif servers and not source.bootstrapkey and key_file is None:
        section.report.missing((*section.path, "bootstrapkey"), "needed is the API key of the other POP")
    verify = source.bootstrap_verify is not False
    if not verify:
        section.warn("bootstrap-verify", "is false: whoever is on the way may put names on this list")
    ca = section.parse("bootstrap-ca", source.bootstrap_ca or None, path_in(folder), defaults.ca)
    return BootstrapConfig(
        servers=servers,
        url=url,
        key="" if key_file is not None else source.bootstrapkey or "",
        key_file=key_file,
        verify=verify,
        ca=ca,
        certificate=defaults.certificate if defaults.key is not None else None,
        private_key=defaults.key if defaults.certificate is not None else None,
    )


def _parse_url(text: str) -> str:
    if text.count("%s") != 1 or not text.startswith(("https://", "http://")):
        raise Invalid(f"{shown(text)} is not such an address; allowed is https://%s/api/v1, with one %s for the server")
    return text
