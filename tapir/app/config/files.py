"""What the four files may say: every key of the reference implementation, and ours.

Upstream's keys keep upstream's spelling, ours are hyphenated. Every key may be absent, here; what is needed, and what a
value means, is decided where it is mapped. A key that is here and in no mapping is accepted and not used: it belongs
to a part that this version does not run, or to upstream alone.
"""

from typing import Any, NewType

import attrs

Scalar = NewType("Scalar", object)
"""A number or a text; what it means is decided where it is mapped (`25` and `25%`)."""

Anything = object
"""A key of another program in the same file: not looked at."""


def key_of(attribute: "attrs.Attribute[Any]") -> str:
    """How `attribute` is spelled in the files."""
    key: str = attribute.metadata.get("key") or attribute.name.replace("_", "-")
    return key


@attrs.frozen(kw_only=True)
class LogFile:
    """`log`."""

    file: str | None = None
    verbose: bool | None = None
    debug: bool | None = None
    mode: str | None = None
    filedir: str | None = None
    # ours
    level: str | None = None
    format: str | None = None
    to_files: bool | None = None


@attrs.frozen(kw_only=True)
class SoaFile:
    """`services.rpz.soa`, ours."""

    mname: str | None = None
    rname: str | None = None
    refresh: int | None = None
    retry: int | None = None
    expire: int | None = None
    minimum: int | None = None


@attrs.frozen(kw_only=True)
class JournalFile:
    """`services.rpz.journal`, ours."""

    max_size: int | None = None
    max_age: int | None = None
    max_deltas: int | None = None


@attrs.frozen(kw_only=True)
class ZoneBrakeFile:
    """`services.rpz.brake`, ours."""

    change: Scalar | None = None
    minimum: int | None = None


@attrs.frozen(kw_only=True)
class RpzFile:
    """`services.rpz`."""

    zonename: str | None = None
    serialcache: str | None = None
    # ours
    soa: SoaFile = SoaFile()
    ns: tuple[str | None, ...] | None = None
    ttl: int | None = None
    redirect: str | None = None
    canary: str | None = None
    journal: JournalFile = JournalFile()
    brake: ZoneBrakeFile = ZoneBrakeFile()


@attrs.frozen(kw_only=True)
class ReaperFile:
    """`services.reaper`."""

    interval: int | None = None


@attrs.frozen(kw_only=True)
class RefreshEngineFile:
    """`services.refreshengine`."""

    active: bool | None = None
    name: str | None = None


@attrs.frozen(kw_only=True)
class ServicesFile:
    """`services`."""

    rpz: RpzFile = RpzFile()
    reaper: ReaperFile = ReaperFile()
    refreshengine: RefreshEngineFile = RefreshEngineFile()


@attrs.frozen(kw_only=True)
class ServiceFile:
    """`service`, singular: inbound zones."""

    maxrefresh: int | None = None
    reset_soa_serial: bool | None = attrs.field(default=None, metadata={"key": "reset_soa_serial"})
    debug: bool | None = None


@attrs.frozen(kw_only=True)
class ApiServerFile:
    """`apiserver`."""

    active: bool | None = None
    name: str | None = None
    key: str | None = attrs.field(default=None, repr=False)
    addresses: tuple[str | None, ...] | None = None
    tlsaddresses: tuple[str | None, ...] | None = None
    # ours
    key_file: str | None = None


@attrs.frozen(kw_only=True)
class BootstrapServerFile:
    """`bootstrapserver`."""

    active: bool | None = None
    name: str | None = None
    addresses: tuple[str | None, ...] | None = None
    tlsaddresses: tuple[str | None, ...] | None = None
    logfile: str | None = None


@attrs.frozen(kw_only=True)
class LimitsFile:
    """`dnsengine.limits`, ours."""

    connections: int | None = None
    connections_per_address: int | None = None
    idle_timeout: int | None = None


@attrs.frozen(kw_only=True)
class KeyFile:
    """One entry of `keys`, ours."""

    algorithm: str | None = None
    secret_file: str | None = None


@attrs.frozen(kw_only=True)
class AccessFile:
    """One entry of `dnsengine.access`, ours."""

    prefixes: tuple[str | None, ...] | None = attrs.field(default=None, metadata={"key": "from"})
    key: tuple[str | None, ...] | None = None
    tls: bool | None = None
    client_certificate: bool | None = None
    allow: tuple[str | None, ...] | None = None


@attrs.frozen(kw_only=True)
class TlsFile:
    """`dnsengine.tls`, ours."""

    addresses: tuple[str | None, ...] | None = None
    certificate: str | None = None
    key: str | None = None
    client_ca: str | None = None
    require_client_certificate: bool | None = None
    require_alpn: bool | None = None


@attrs.frozen(kw_only=True)
class DnsEngineFile:
    """`dnsengine`."""

    active: bool | None = None
    name: str | None = None
    addresses: tuple[str | None, ...] | None = None
    logfile: str | None = None
    # ours
    allow_transfer: tuple[str | None, ...] | None = None
    access: tuple[AccessFile | None, ...] | None = None
    tls: TlsFile | None = None
    limits: LimitsFile = LimitsFile()


@attrs.frozen(kw_only=True)
class KeystoreFile:
    """`keystore`."""

    path: str | None = None


@attrs.frozen(kw_only=True)
class MqttFile:
    """`tapir.mqtt`."""

    server: str | None = None
    cacert: str | None = None
    clientcert: str | None = None
    clientkey: str | None = None
    clientid: str | None = None
    qos: int | None = None
    logfile: str | None = None
    # ours
    at_most_once: bool | None = None
    keepalive: int | None = None
    session_expiry: int | None = None
    receive_maximum: int | None = None
    max_message: int | None = None


@attrs.frozen(kw_only=True)
class GlobalConfigFile:
    """`tapir.config`."""

    active: bool | None = None
    topic: str | None = None


@attrs.frozen(kw_only=True)
class StatusFile:
    """`tapir.status`."""

    active: bool | None = None
    topic: str | None = None
    signingkey: str | None = None
    # ours
    interval: int | None = None
    heartbeat: int | None = None


@attrs.frozen(kw_only=True)
class TapirFile:
    """`tapir`."""

    mqtt: MqttFile = MqttFile()
    config: GlobalConfigFile = GlobalConfigFile()
    status: StatusFile = StatusFile()


@attrs.frozen(kw_only=True)
class KeyPairFile:
    """`certs.tapir-pop`."""

    cert: str | None = None
    key: str | None = None


@attrs.frozen(kw_only=True)
class CertsFile:
    """`certs`."""

    certdir: str | None = None
    cacertfile: str | None = None
    expirationwarning: int | None = None
    tapir_pop: KeyPairFile = KeyPairFile()
    # of dnstapir-cli.yaml, which some keep in one file with this
    cert: str | None = None
    key: str | None = None


@attrs.frozen(kw_only=True)
class ExternalFile:
    """`external`."""

    filedir: str | None = None
    tmpdir: str | None = None


@attrs.frozen(kw_only=True)
class SourceBrakeFile:
    """`brake` and `sources.ID.brake`, ours."""

    shrink: Scalar | None = None
    grow: Scalar | None = None
    minimum: int | None = None


@attrs.frozen(kw_only=True)
class FeedTlsFile:
    """`tls` of a primary, ours."""

    hostname: str | None = None
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    require_alpn: bool | None = None


@attrs.frozen(kw_only=True)
class FeedPrimaryFile:
    """One of `sources.ID.primaries`, ours."""

    address: str | None = None
    key: str | None = None
    tls: FeedTlsFile | None = None


@attrs.frozen(kw_only=True)
class SourceFile:
    """One entry of `sources`."""

    active: bool | None = None
    name: str | None = None
    description: str | None = None
    type: str | None = None
    format: str | None = None
    source: str | None = None
    immutable: bool | None = None
    topic: str | None = None
    validatorkey: str | None = None
    bootstrap: tuple[str | None, ...] | None = None
    bootstrapurl: str | None = None
    bootstrapkey: str | None = None
    filename: str | None = None
    upstream: str | None = None
    zone: str | None = None
    # ours
    action: str | None = None
    weight: int | None = None
    column: str | None = None
    match: str | None = None
    broad: bool | None = None
    required: bool | None = None
    poll_interval: int | None = None
    primaries: tuple[FeedPrimaryFile, ...] | None = None
    notify_from: tuple[str | None, ...] | None = None
    tsig_key: str | None = None
    tls: FeedTlsFile | None = None
    max_octets: int | None = None
    max_records: int | None = None
    transfer_timeout: int | None = None
    other_triggers: str | None = None
    feed_actions: bool | None = None
    signers: tuple[str | None, ...] | None = None
    bootstrap_key_file: str | None = None
    bootstrap_verify: bool | None = None
    bootstrap_ca: str | None = None
    brake: SourceBrakeFile = SourceBrakeFile()


@attrs.frozen(kw_only=True)
class SrcFile:
    """`src`."""

    style: str | None = None


@attrs.frozen(kw_only=True)
class OutputFile:
    """One entry of `outputs`."""

    active: bool | None = None
    name: str | None = None
    description: str | None = None
    type: str | None = None
    format: str | None = None
    downstream: str | None = None
    # ours
    key: tuple[str | None, ...] | None = None
    tls: bool | None = None
    client_certificate: bool | None = None
    allow: tuple[str | None, ...] | None = None


@attrs.frozen(kw_only=True)
class ListActionFile:
    """`policy.allowlist` and `policy.denylist`."""

    action: str | None = None


@attrs.frozen(kw_only=True)
class LimitRuleFile:
    """`policy.doubtlist.numsources` and `policy.doubtlist.numtapirtags`."""

    limit: int | None = None
    action: str | None = None


@attrs.frozen(kw_only=True)
class TagRuleFile:
    """`policy.doubtlist.denytapir`."""

    tags: tuple[str | None, ...] | None = None
    action: str | None = None


@attrs.frozen(kw_only=True)
class DoubtlistFile:
    """`policy.doubtlist`."""

    numsources: LimitRuleFile = LimitRuleFile()
    numtapirtags: LimitRuleFile = LimitRuleFile()
    denytapir: TagRuleFile = TagRuleFile()


@attrs.frozen(kw_only=True)
class PolicyFile:
    """`policy`."""

    logfile: str | None = None
    allowlist: ListActionFile = ListActionFile()
    denylist: ListActionFile = ListActionFile()
    doubtlist: DoubtlistFile = DoubtlistFile()


@attrs.frozen(kw_only=True)
class Files:
    """The four files, merged."""

    log: LogFile = LogFile()
    services: ServicesFile = ServicesFile()
    service: ServiceFile = ServiceFile()
    apiserver: ApiServerFile = ApiServerFile()
    bootstrapserver: BootstrapServerFile = BootstrapServerFile()
    dnsengine: DnsEngineFile = DnsEngineFile()
    keystore: KeystoreFile = KeystoreFile()
    tapir: TapirFile = TapirFile()
    certs: CertsFile = CertsFile()
    external: ExternalFile = ExternalFile()
    cli: Anything = None
    src: SrcFile = SrcFile()
    sources: dict[str, SourceFile] | None = None
    outputs: dict[str, OutputFile] | None = None
    policy: PolicyFile = PolicyFile()
    # ours
    state_dir: str | None = None
    start_deadline: int | None = None
    keys: dict[str, KeyFile] | None = None
    brake: SourceBrakeFile = SourceBrakeFile()
