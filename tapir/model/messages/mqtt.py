"""Consumers of MQTT messages, and those who publish, speak to the actor that owns the broker connection.

    session ── MqttBlock ──▶ consumer      messages of the topics that the consumer is configured for
    session ◀── MqttSettled ── consumer    what the block said is durable: the broker may forget it
    session ◀── ConsumeAgain ── consumer   it (re)started and holds nothing: all that is not settled, once more
    session ◀── MqttHolding ── consumer    it cannot settle now, and waits for what it needs

Whoever crashes on a block twice does not get it a third time: it is counted, and acknowledged unread.
"""

import attrs

from actors import Request


@attrs.frozen(kw_only=True, eq=False)
class MqttBlock:
    """Messages in the order in which the broker sent them; `topics` and `payloads` have the same length."""

    id: int
    topics: tuple[str, ...]
    payloads: tuple[bytes, ...]

    def __len__(self) -> int:
        return len(self.payloads)

    def __repr__(self) -> str:
        return f"<MqttBlock {self.id}, {len(self)} messages, {sum(map(len, self.payloads))} octets>"


@attrs.frozen(kw_only=True)
class MqttSettled:
    """From `consumer`: all that these blocks said is durable, or has been refused for good."""

    consumer: str
    blocks: tuple[int, ...]


@attrs.frozen(kw_only=True)
class ConsumeAgain:
    """From `consumer`, as it starts: send every block of mine that is not settled, in order."""

    consumer: str


@attrs.frozen(kw_only=True)
class MqttHolding:
    """From `consumer`, every minute at least: what it has cannot be made durable now, for a reason that it tells of.

    Its messages are waited for as long as it says so, also where they hold back those of others; nothing is lost.
    """

    consumer: str


@attrs.frozen(kw_only=True, eq=False)
class PublishMessage(Request[None]):
    """Publish; answered when the broker has acknowledged (QoS 1) or when it was sent (QoS 0)."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False

    def __repr__(self) -> str:
        return f"<PublishMessage {self.topic}, {len(self.payload)} octets>"


@attrs.frozen(kw_only=True)
class TopicStatus:
    """One subscription: whose it is, what the broker said to it, and what came; times as everywhere, None for never."""

    filter: str
    consumer: str
    """the id of a source, or `uplink/global`"""
    qos: int
    granted: bool | None
    refused: str
    messages: int
    octets: int
    latest_at: int | None


@attrs.frozen(kw_only=True)
class MqttStatus:
    """How the connection stands; times are microseconds since the epoch."""

    broker: str
    client_id: str
    state: str
    """`off`, `connecting`, `connected`, `waiting`"""
    version: str
    since: int | None
    trouble: str
    """why the last connection ended or none came about, in words; empty while connected"""
    retry_at: int | None
    connections: int
    topics: tuple[TopicStatus, ...]
    published: int
    unacknowledged: int
    """messages of the broker that are not yet durable here"""
    counters: tuple[tuple[str, int], ...]
    """further counters by name"""


@attrs.frozen(kw_only=True)
class GetMqtt(Request[MqttStatus]):
    """How does the MQTT connection stand?"""


@attrs.frozen(kw_only=True)
class SetMqttActive(Request[str]):
    """Connect (again), or disconnect and stay so until told otherwise or restarted; the reply is a sentence."""

    active: bool
    restart: bool = False


@attrs.frozen(kw_only=True)
class GlobalConfigStatus:
    """What the global configuration says and how it came about; times are microseconds since the epoch, None for never.

    No token and no key is in it.
    """

    topic: str
    version: str
    """the version that holds, empty while the configuration files hold alone"""
    received_at: int | None
    checked_at: int | None
    """when the last message came, good or bad"""
    observation_topic: str
    """empty where it says none"""
    bootstrap_servers: tuple[str, ...]
    bootstrap_url: str
    refused: tuple[tuple[str, int], ...]
    """messages that were refused, by reason"""
    error: str
    """why the last message was refused, or what is wrong with the keystore; else empty"""


@attrs.frozen(kw_only=True)
class GetGlobalConfig(Request[GlobalConfigStatus]):
    """Which global configuration holds?"""
