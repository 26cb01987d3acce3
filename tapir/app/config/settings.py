"""What the configuration comes to: one frozen `Config`, every default filled in, every path absolute.

These values say what the operator wants in the operator's words. `tapir.app.tree` maps them onto the settings of
the actors; nothing below `tapir.app` sees them.
"""

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import attrs

from tapir.app.config.problems import Notice
from tapir.codec.globalconfig import GlobalConfiguration
from tapir.codec.tsig import TsigKey
from tapir.model.actions import Action, ListKind
from tapir.model.names import Name
from tapir.policy.settings import PolicySettings
from tapir.zone.settings import ZoneSettings

Prefix = IPv4Network | IPv6Network


@attrs.frozen
class SocketAddress:
    """An IP literal and a port; `str()` is `IP:port`, IPv6 in brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@attrs.frozen(kw_only=True)
class ZoneBrakeConfig:
    """A version that changes more than `change` of the records (0.25 is 25 %) and `minimum` of them is held."""

    change: float
    minimum: int


@attrs.frozen(kw_only=True)
class LimitsConfig:
    """How many TCP connections the zone server holds, and for how many seconds an idle one."""

    connections: int
    connections_per_address: int
    idle_timeout: int


@attrs.frozen(kw_only=True)
class AccessConfig:
    """What one rule asks of a query, and which kinds of it (`soa`, `ixfr`, `axfr`, `lookup`) it then allows."""

    key: str
    """where the rule stands in the files"""
    prefixes: tuple[Prefix, ...]
    signed_by: tuple[Name, ...]
    """one of these keys; none: unsigned will do"""
    tls: bool
    client_certificate: bool
    allow: frozenset[str]


@attrs.frozen(kw_only=True)
class TlsConfig:
    """Where transfers over TLS are served, and by which files."""

    addresses: tuple[SocketAddress, ...]
    certificate: Path
    key: Path
    client_ca: Path | None
    require_client_certificate: bool
    require_alpn: bool


@attrs.frozen(kw_only=True)
class ServerConfig:
    """The zone server; not started at all unless `active`."""

    active: bool
    addresses: tuple[SocketAddress, ...]
    allow_transfer: tuple[Prefix, ...]
    access: tuple[AccessConfig, ...]
    tls: TlsConfig | None
    limits: LimitsConfig


@attrs.frozen(kw_only=True)
class SourceBrakeConfig:
    """Shares of a source's size (0.5 is 50 %): content that loses or gains more is held.

    A source with fewer than `minimum` names is never held.
    """

    shrink: float
    grow: float
    minimum: int


@attrs.frozen(kw_only=True)
class BootstrapConfig:
    """Where a list is fetched from to begin with; `url` has one `%s` for the server, and servers are asked in order.

    Without servers it is fetched from nowhere, unless the global configuration names some: the certificates hold there.
    """

    servers: tuple[str, ...] = ()
    url: str = ""
    key: str = attrs.field(default="", repr=False)
    key_file: Path | None = None
    """holds the key, which `key` then does not"""
    verify: bool = True
    ca: Path | None = None
    """None is what the system trusts"""
    certificate: Path | None = None
    private_key: Path | None = None


@attrs.frozen(kw_only=True)
class ObservationsConfig:
    """What an mqtt source goes by; unless it is `immutable`, the global configuration may name another topic."""

    topic: str
    immutable: bool = False
    signers: tuple[str, ...] | None = None
    """the `kid`s that may sign for it; None: every key of the keystore"""
    reaper_interval: int = 60
    """seconds; names whose time is over leave at the ends of such intervals"""
    bootstrap: BootstrapConfig = BootstrapConfig()


@attrs.frozen(kw_only=True)
class FeedTlsConfig:
    """How a primary is spoken to over TLS; no `ca` is what the system trusts."""

    hostname: str
    ca: Path | None
    certificate: Path | None
    key: Path | None
    require_alpn: bool


@attrs.frozen(kw_only=True)
class FeedPrimaryConfig:
    """Where a feed comes from: an IP literal or a name, and by which key it is signed."""

    host: str
    port: int
    key: Name | None
    tls: FeedTlsConfig | None

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@attrs.frozen(kw_only=True)
class FeedConfig:
    """What is transferred from where; times in seconds."""

    zone: Name
    primaries: tuple[FeedPrimaryConfig, ...]
    notify_from: tuple[Prefix, ...] | None
    """who may say that it has changed; None for its primaries"""
    max_octets: int
    max_records: int
    transfer_timeout: int
    max_refresh: int | None
    forward: bool = False
    """whether what is not evaluated is passed through"""


@attrs.frozen(kw_only=True)
class SourceConfig:
    """One entry of `pop-sources.yaml`.

    Only a source that is `active` and `supported` gets an actor; the others are shown in `tapir status`.
    """

    id: str
    name: str
    description: str
    kind: ListKind
    origin: str
    """`file`, `mqtt` or `xfr`"""
    format: str
    active: bool
    supported: bool
    required: bool
    """nothing new is published while it has neither content nor stored content"""
    broad: bool
    path: Path | None
    """the list file; set whenever the source is supported"""
    column: str | None
    """of a csv file: the title of the column with the names; None for the second column"""
    match: str
    """what a plain `name` in the list stands for: `exact`ly that name, or its `subtree`"""
    poll_interval: int
    brake: SourceBrakeConfig
    action: Action | None = None
    """what becomes of its names instead of what the policy says; never on an allowlist"""
    weight: int = 1
    """how many doubtlists it counts as in `numsources`"""
    feed: FeedConfig | None = None
    """set whenever an xfr source is supported"""
    observations: ObservationsConfig | None = None
    """set whenever an mqtt source is supported"""


@attrs.frozen(kw_only=True)
class OutputConfig:
    """One active output: whom NOTIFY goes to."""

    id: str
    address: SocketAddress
    access: AccessConfig | None = None
    """what its address may, which is then judged by nothing else"""
    keys: tuple[Name, ...] = ()
    """the first one signs what we ask of it"""


@attrs.frozen(kw_only=True)
class LogConfig:
    """Logging always goes to stderr; `files` (component, path) are written only with `to_files`."""

    level: str
    """`debug`, `info`, `warning` or `error`"""
    format: str
    """`text` or `json`"""
    source_lines: bool
    """add file:line to each record (`log.mode: debug`)"""
    to_files: bool
    files: tuple[tuple[str, Path], ...]
    """(`main` | `dnsengine` | `mqtt` | `policy`, path)"""


@attrs.frozen
class BrokerAddress:
    """Where the broker is; `str()` is the URL in its shortest form."""

    host: str
    port: int
    tls: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"


@attrs.frozen(kw_only=True)
class MqttConfig:
    """The one connection with the broker; times in seconds, sizes in octets."""

    broker: BrokerAddress
    ca: Path | None
    """who vouches for the broker; None: whom the system trusts"""
    certificate: Path | None
    key: Path | None
    qos: int
    """0, 1 or 2: of subscriptions, and (as 1 at most) of what is published"""
    keepalive: int
    session_expiry: int
    receive_maximum: int
    max_message: int


@attrs.frozen(kw_only=True)
class GlobalConfig:
    """The topic that the global configuration comes on."""

    topic: str


@attrs.frozen(kw_only=True)
class TelemetryConfig:
    """Where the status is published, signed by which key, and how often (s); what has changed sooner than the rest."""

    topic: str
    """`{EdgeId}` in it stands for the name in `certificate`, else for the `kid` of the key"""
    signing_key: Path
    certificate: Path | None
    interval: float
    heartbeat: float


@attrs.frozen(kw_only=True)
class WatchedCertificate:
    """A certificate of ours with its `key`, or, without one, certificates of authorities; `label` is the key of it."""

    label: str
    path: Path
    key: Path | None


@attrs.frozen(kw_only=True)
class CertificatesConfig:
    """Which certificates are looked after; one that ends within `warning_days` is said so."""

    warning_days: int = 30
    watched: tuple[WatchedCertificate, ...] = ()


@attrs.frozen(kw_only=True)
class ApiConfig:
    """Where the management API and the bootstrap server listen, in plain and over TLS, and the key that opens both."""

    key: str = attrs.field(repr=False)
    addresses: tuple[SocketAddress, ...]
    tls_addresses: tuple[SocketAddress, ...]
    bootstrap_addresses: tuple[SocketAddress, ...]
    bootstrap_tls_addresses: tuple[SocketAddress, ...]
    certificate: Path | None
    certificate_key: Path | None
    client_ca: Path | None
    """who may have signed what a client shows; None: no client is asked"""


@attrs.frozen(kw_only=True)
class Config:
    """All that the four files say."""

    config_dir: Path
    state_dir: Path
    start_deadline: int
    zone: ZoneSettings
    zone_brake: ZoneBrakeConfig
    serial_cache: Path | None
    canary: Name | None
    """a harmless name that is always in the zone, to test resolvers with"""
    server: ServerConfig
    sources: tuple[SourceConfig, ...]
    outputs: tuple[OutputConfig, ...]
    keys: tuple[TsigKey, ...]
    policy: PolicySettings
    log: LogConfig
    mqtt: MqttConfig | None = None
    """the connection with the broker; None where nothing needs one"""
    global_config: GlobalConfig | None = None
    telemetry: TelemetryConfig | None = None
    """what is said to Core of this POP; None for nothing"""
    certificates: CertificatesConfig = CertificatesConfig()
    keystore: Path | None = None
    """the public keys that messages are verified with"""
    learned: GlobalConfiguration | None = attrs.field(default=None, repr=False)
    """not of the files: the global configuration that holds for mqtt sources that are not immutable"""
    api: ApiConfig | None = None
    """None where neither the management API nor the bootstrap server listens"""
    notices: tuple[Notice, ...] = attrs.field(default=(), eq=False)
