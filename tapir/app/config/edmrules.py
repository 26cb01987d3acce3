"""What keys of EDM ask of each other, and what becomes of them on a reload."""

from collections.abc import Iterator
from typing import Any, Final

import attrs

from tapir.app.config.edmsettings import KEYS, EdmConfig, parse_edm_broker
from tapir.app.config.report import Invalid
from tapir.codec.aggregates import AggregateUrlError, aggregate_url
from tapir.codec.cryptopan import SALT_LEAST

INPUTS: Final = ("input-unix", "input-tcp", "input-tls")

_SENDER: Final = ("http-url", "http-signing-key-file", "http-ca-file")
"""what a sender is made from once; the rest of its keys may change while it is there"""


@attrs.frozen
class Broken:
    """A rule that does not hold, told at `key`."""

    key: str
    text: str


@attrs.frozen(kw_only=True)
class EdmChanges:
    """The keys that differ, in the order of the documentation."""

    honoured: tuple[str, ...]
    restart: tuple[str, ...]
    """those that stay as they are until a restart"""


def check_rules(config: EdmConfig) -> Iterator[Broken]:
    """Every rule that does not hold among values that are each allowed by themselves. No value is in a text."""
    yield from _check_input(config)
    yield from _check_pseudonyms(config)
    yield from _need(config, "always", "well-known-domains-file", "data-dir")
    if not config.disable_mqtt:
        yield from _check_mqtt(config)
    if not config.disable_histogram_sender:
        yield from _check_sender(config)


def compare_edm(running: EdmConfig, loaded: EdmConfig) -> EdmChanges:
    """What a reload changes, of values that are never told."""
    changed = [name for name in KEYS if _get(running, name) != _get(loaded, name)]
    honoured = {name for name in changed if _is_honoured(running, loaded, name)}
    return EdmChanges(
        honoured=tuple(name for name in changed if name in honoured),
        restart=tuple(name for name in changed if name not in honoured),
    )


def edm_after_reload(running: EdmConfig, loaded: EdmConfig) -> EdmConfig:
    """What is in force after a reload: of `loaded` what needs no restart, else what was."""
    taken: dict[str, Any] = {
        name.replace("-", "_"): _get(loaded, name) for name in compare_edm(running, loaded).honoured
    }
    return attrs.evolve(running, notices=loaded.notices, **taken)


def _is_honoured(running: EdmConfig, loaded: EdmConfig, name: str) -> bool:
    # A sender that is switched on is made anew, and its old keys were never looked at.
    begins = running.disable_histogram_sender and not loaded.disable_histogram_sender
    return KEYS[name].reload or (begins and name in _SENDER)


def _check_input(config: EdmConfig) -> Iterator[Broken]:
    given = [name for name in INPUTS if _get(config, name) is not None]
    if not given:
        yield Broken(INPUTS[0], "no input is set; needed is exactly one of input-unix, input-tcp and input-tls")
    for name in given[1:]:
        yield Broken(name, f"{given[0]} is set, too; allowed is exactly one of input-unix, input-tcp and input-tls")
    if config.input_tls is not None:
        yield from _need(config, "with input-tls", "input-tls-cert-file", "input-tls-key-file")


def _check_pseudonyms(config: EdmConfig) -> Iterator[Broken]:
    yield from _need(config, "always", "cryptopan-key")
    salt = len(config.cryptopan_key_salt.encode(errors="surrogateescape"))
    if salt < SALT_LEAST:
        yield Broken(
            "cryptopan-key-salt",
            f"the salt has {salt} octets; needed are {SALT_LEAST} or more (RFC 9106). The existing EDM takes shorter "
            "ones; a longer one makes other pseudonyms, from then on",
        )


def _check_mqtt(config: EdmConfig) -> Iterator[Broken]:
    unless = "unless disable-mqtt is set"
    yield from _need(
        config, unless, "mqtt-server", "mqtt-signing-key-file", "mqtt-client-cert-file", "mqtt-client-key-file"
    )
    if not config.mqtt_keepalive:
        yield Broken("mqtt-keepalive", f"0 is not allowed {unless}; allowed is 1 to 65535 seconds")
    if config.mqtt_server:
        try:
            parse_edm_broker(config.mqtt_server)
        except Invalid as exc:
            yield Broken("mqtt-server", str(exc))


def _check_sender(config: EdmConfig) -> Iterator[Broken]:
    unless = "unless disable-histogram-sender is set"
    yield from _need(
        config, unless, "http-url", "http-signing-key-file", "http-client-cert-file", "http-client-key-file"
    )
    if config.http_url:
        try:
            aggregate_url(config.http_url)
        except AggregateUrlError as exc:
            yield Broken("http-url", str(exc))


def _need(config: EdmConfig, when: str, *names: str) -> Iterator[Broken]:
    for name in names:
        if not _get(config, name):
            yield Broken(name, f"is empty; it is needed {when}")


def _get(config: EdmConfig, name: str) -> object:
    return getattr(config, name.replace("-", "_"))
