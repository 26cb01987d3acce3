"""What the MQTT session is told by its configuration."""

from pathlib import Path

import attrs

from tapir.codec.mqtt.packets import check_filter
from tapir.transport.mqtt.settings import DAY, Backoff, ClientSettings


def _is_filter(_: object, __: object, value: str) -> None:
    check_filter(value)


@attrs.frozen(kw_only=True)
class MqttSubscription:
    """Messages of topics that match `filter` go to `consumer`, as the session's consumers call themselves."""

    filter: str = attrs.field(validator=_is_filter)
    consumer: str
    qos: int = attrs.field(default=1, validator=attrs.validators.in_((0, 1, 2)))


@attrs.frozen(kw_only=True)
class BrokerSettings:
    """How the broker is reached, and how it is spoken with; a change of any of this makes a new connection."""

    host: str
    port: int
    tls: bool = False
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    keepalive: int = 30
    session_expiry: int = 7 * DAY
    receive_maximum: int = 1000
    max_message: int = 4 << 20
    connect_patience: float = 20.0
    backoff: Backoff = Backoff()

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"

    def client(self, client_id: str) -> ClientSettings:
        """The settings of the client that is called `client_id`."""
        return ClientSettings(
            client_id=client_id,
            keepalive=self.keepalive,
            session_expiry=self.session_expiry,
            receive_maximum=self.receive_maximum,
            # A topic has 64 KiB at most, and its packet a few octets more.
            maximum_packet=self.max_message + (1 << 17),
            backoff=self.backoff,
            connect_patience=self.connect_patience,
            goodbye_patience=1.0,
        )


@attrs.frozen(kw_only=True)
class MqttSettings:
    """The session: one broker, what is subscribed to, and what is remembered where; times in seconds."""

    broker: BrokerSettings
    subscriptions: tuple[MqttSubscription, ...] = ()
    state_path: Path
    """remembers the identifier's suffix, and what the broker's session may hold"""
    role: str = "pop"
    """stands in the identifier, so that the components of one Edge are told apart"""
    tick: float = 1.0
    """how often a consumer that did not take its block is tried again"""
    hold: float = 300.0
    """how long a consumer that does not settle may keep messages of others waiting, once the window is full"""
    file_interval: float = 10.0
    """how often the certificates' files are looked at"""
    reconnect_interval: float = 60.0
    """at least so long from one connection that is made anew for a changed file to the next"""
    settled_after: float = 30.0
    """a connection that held that long ends a trouble, for the log"""
