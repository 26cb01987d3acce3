"""The global configuration that Core sends to every POP: the payload of a signed message on its own topic.

    {"TapirConfigVersion":"1","Rpz":{"EnvelopeSize":400},
     "Bootstrap":{"Servers":["192.0.2.9:5455"],"BaseUrl":"https://%s/api/v1","ApiToken":"s3cret"},
     "ObservationTopics":[{"Topic":"observations/down/tapir-pop","PubKeyName":"","PrivKeyName":""}],
     "StatusTopics":[]}

Read as Go's decoder does upstream: members in any case, unknown ones ignored. Then every value is looked at before any
is used. `TapirConfigVersion` must be numbers with dots between, where upstream looks at nothing: without an order, an
old message that is sent again could not be told from a new one.
"""

import ipaddress
import json
import re
from typing import Final

import attrs

from tapir.codec.gojson import FieldError, Fields
from tapir.codec.strictjson import JsonError, load_object
from tapir.model.errors import TapirError

MAX_PAYLOAD: Final = 1 << 16
MAX_SERVERS: Final = 32
MAX_TOPICS: Final = 32
MAX_TEXT: Final = 1024
MAX_ENVELOPE: Final = (1 << 31) - 1

_VERSION: Final = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,18}){0,7}", re.ASCII)
# The one %s is the server; Go would take any other percent sign for a verb, too.
_BASE_URL: Final = re.compile(r"https?://%s(?:/[!-$&-~]*)?", re.ASCII)
_SERVER: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9A-Za-z._-]+)):([0-9]{1,5})", re.ASCII)
_TOKEN: Final = re.compile(r"[!-~]*", re.ASCII)


class GlobalConfigurationError(TapirError):
    """The message cannot be applied; `problems` are all that was found, and show no secret."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@attrs.frozen(kw_only=True)
class TopicSettings:
    """A topic, and the names of the keys that go with it."""

    topic: str
    public_key_name: str = ""
    private_key_name: str = ""


@attrs.frozen(kw_only=True)
class BootstrapSettings:
    """Whom to ask for lists: `base_url` has one `%s`, for a server; `token` goes into X-API-Key, and may be empty."""

    servers: tuple[str, ...]
    base_url: str
    token: str = attrs.field(default="", repr=False)

    def url_of(self, server: str) -> str:
        """Where the API of `server` is."""
        return self.base_url.replace("%s", server)


@attrs.frozen(kw_only=True)
class GlobalConfiguration:
    """One message, valid in all of its parts; what it does not say (`bootstrap` None, no topics) it leaves as it is."""

    version: str
    envelope_size: int = 0
    bootstrap: BootstrapSettings | None = None
    observation_topics: tuple[TopicSettings, ...] = ()
    status_topics: tuple[TopicSettings, ...] = ()

    @property
    def order(self) -> tuple[int, ...]:
        """The version as numbers, so that a greater one is a later one: `1.10` after `1.9`, `1.0` the same as `1`."""
        numbers = [int(part) for part in self.version.split(".")]
        while numbers and numbers[-1] == 0:
            numbers.pop()
        return tuple(numbers)


def parse_global_configuration(data: bytes) -> GlobalConfiguration:
    """What the payload `data` says. Raises GlobalConfigurationError, and nothing else whatever the octets."""
    if len(data) > MAX_PAYLOAD:
        raise GlobalConfigurationError((f"it has {len(data)} octets, {MAX_PAYLOAD} are allowed",))
    try:
        found = _read(Fields(load_object(data)))
    except (JsonError, FieldError) as exc:
        raise GlobalConfigurationError((str(exc),)) from None
    problems = _problems(found)
    if problems:
        raise GlobalConfigurationError(tuple(problems))
    return found


def encode_global_configuration(configuration: GlobalConfiguration) -> bytes:
    """The payload that says `configuration`, with the members of upstream's struct in their order."""
    bootstrap = configuration.bootstrap or BootstrapSettings(servers=(), base_url="")
    message = {
        "TapirConfigVersion": configuration.version,
        "Rpz": {"EnvelopeSize": configuration.envelope_size},
        "Bootstrap": {
            "Servers": list(bootstrap.servers),
            "BaseUrl": bootstrap.base_url,
            "ApiToken": bootstrap.token,
        },
        "ObservationTopics": _topics(configuration.observation_topics),
        "StatusTopics": _topics(configuration.status_topics),
    }
    return json.dumps(message, separators=(",", ":")).encode()


def _topics(topics: tuple[TopicSettings, ...]) -> list[dict[str, str]]:
    return [
        {"Topic": topic.topic, "PubKeyName": topic.public_key_name, "PrivKeyName": topic.private_key_name}
        for topic in topics
    ]


def _read(message: Fields) -> GlobalConfiguration:
    bootstrap = message.inner("Bootstrap")
    servers = tuple(bootstrap.texts("Servers"))
    base_url, token = bootstrap.text("BaseUrl"), bootstrap.text("ApiToken")
    return GlobalConfiguration(
        version=message.text("TapirConfigVersion"),
        envelope_size=message.inner("Rpz").integer("EnvelopeSize", 0, MAX_ENVELOPE),
        # A bootstrap without servers is one that is not meant, as upstream has it.
        bootstrap=BootstrapSettings(servers=servers, base_url=base_url, token=token) if servers else None,
        observation_topics=_read_topics(message, "ObservationTopics"),
        status_topics=_read_topics(message, "StatusTopics"),
    )


def _read_topics(message: Fields, member: str) -> tuple[TopicSettings, ...]:
    entries = message.array(member)
    if len(entries) > MAX_TOPICS:
        raise FieldError(f"`{member}` has {len(entries)} topics, {MAX_TOPICS} are allowed")
    found = []
    for position, entry in enumerate(entries, 1):
        fields = Fields(entry, f"{member}[{position}]")
        found.append(
            TopicSettings(
                topic=fields.text("Topic"),
                public_key_name=fields.text("PubKeyName"),
                private_key_name=fields.text("PrivKeyName"),
            )
        )
    return tuple(found)


def _problems(found: GlobalConfiguration) -> list[str]:
    problems = []
    if not _VERSION.fullmatch(found.version):
        problems.append("`TapirConfigVersion` is not numbers with dots between")
    if found.bootstrap is not None:
        problems += _bootstrap_problems(found.bootstrap)
    for member, topics in (("ObservationTopics", found.observation_topics), ("StatusTopics", found.status_topics)):
        for position, topic in enumerate(topics, 1):
            problem = _topic_problem(topic)
            if problem:
                problems.append(f"`{member}[{position}].{problem}")
    return problems


def _bootstrap_problems(bootstrap: BootstrapSettings) -> list[str]:
    problems = []
    if len(bootstrap.servers) > MAX_SERVERS:
        problems.append(f"`Bootstrap.Servers` has {len(bootstrap.servers)} servers, {MAX_SERVERS} are allowed")
    for position, server in enumerate(bootstrap.servers[:MAX_SERVERS], 1):
        if not _is_server(server):
            problems.append(f"`Bootstrap.Servers[{position}]` is not an address and a port, as 192.0.2.9:5455")
    if len(bootstrap.base_url) > MAX_TEXT or not _BASE_URL.fullmatch(bootstrap.base_url):
        problems.append("`Bootstrap.BaseUrl` is not a URL with %s for the server, as https://%s/api/v1")
    if len(bootstrap.token) > MAX_TEXT or not _TOKEN.fullmatch(bootstrap.token):
        problems.append("`Bootstrap.ApiToken` is not what a header of HTTP may hold")
    return problems


def _is_server(text: str) -> bool:
    found = _SERVER.fullmatch(text)
    if found is None or len(text) > MAX_TEXT or not 0 < int(found[3]) <= 0xFFFF:
        return False
    if found[1] is None:
        return True
    try:
        ipaddress.IPv6Address(found[1])
    except ValueError:
        return False
    return True


def _topic_problem(topic: TopicSettings) -> str | None:
    text = topic.topic
    if not text or len(text) > MAX_TEXT:
        return f"Topic` has {len(text)} characters, 1 to {MAX_TEXT} are allowed"
    if not text.isprintable():
        return "Topic` has characters that a topic may not have"
    if "+" in text or "#" in text:
        return "Topic` has a wildcard, where one topic is wanted"
    if len(topic.public_key_name) > MAX_TEXT or len(topic.private_key_name) > MAX_TEXT:
        return f"PubKeyName` or `PrivKeyName` is longer than {MAX_TEXT} characters"
    return None
