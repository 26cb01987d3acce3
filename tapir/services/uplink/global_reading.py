"""A message on the topic of the global configuration, judged: what it says, or one reason why it is refused. Pure."""

import attrs

from tapir.codec.globalconfig import (
    MAX_PAYLOAD,
    GlobalConfiguration,
    GlobalConfigurationError,
    parse_global_configuration,
)
from tapir.codec.jose import JwsRejected, Keystore, verify_jws
from tapir.model.errors import TapirError

_MAX_MESSAGE = 4 * MAX_PAYLOAD
"""Octets of the signed message: base64 and several signatures around the payload."""


class ConfigurationRefused(TapirError):
    """The message is not taken; `reason` is the word for the counter, the text shows no secret."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


@attrs.frozen(kw_only=True)
class Accepted:
    """A message that is to be applied; `signers` are the `kid`s that vouch for it."""

    configuration: GlobalConfiguration
    payload: bytes = attrs.field(repr=False)
    signers: tuple[str, ...]


def judge(message: bytes, keystore: Keystore, *, held: GlobalConfiguration | None) -> Accepted:
    """What `message` says, where `held` holds. Raises ConfigurationRefused.

    A version that is not greater than the held one is refused, so that no old message can be played again; the very
    message that holds already is `repeated`, which is how a retained one comes after every connection.
    """
    try:
        verified = verify_jws(message, keystore, max_size=_MAX_MESSAGE)
    except JwsRejected as exc:
        raise ConfigurationRefused(exc.reason.value, str(exc)) from None
    try:
        found = parse_global_configuration(verified.payload)
    except GlobalConfigurationError as exc:
        raise ConfigurationRefused("invalid", str(exc)) from None
    if held is not None and found.order <= held.order:
        if found == held:
            raise ConfigurationRefused("repeated", f"version {found.version} holds already")
        raise ConfigurationRefused(
            "replayed", f"version {found.version} is not greater than {held.version}, which holds"
        )
    return Accepted(configuration=found, payload=verified.payload, signers=verified.signers)
