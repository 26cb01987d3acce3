"""What only the tree and the session itself tell the session."""

import attrs

from actors import Down, Request
from tapir.services.uplink.session_settings import MqttSettings


@attrs.frozen(kw_only=True)
class ConfigureSession(Request[None]):
    """Go by `settings` from now on; a connection that they do not change stays."""

    settings: MqttSettings


@attrs.frozen(kw_only=True)
class Tick:
    """Time to see whether somebody who did not take his block takes it now."""


@attrs.frozen(kw_only=True)
class ConsumerEnded:
    """An incarnation of `consumer` ended."""

    consumer: str
    down: Down
