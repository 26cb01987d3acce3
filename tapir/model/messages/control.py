"""What the health actor is told, and what the console asks of it."""

from typing import Final

import attrs

from actors import Request


@attrs.frozen(kw_only=True)
class VersionPublished:
    """The zone keeper published `serial`; secondaries can see it from now on."""

    zone: str
    serial: int
    records: int


OF_EDM: Final = "EDM: "
"""how a warning begins that is about EDM, where that stands beside a POP or is run alone"""


@attrs.frozen(kw_only=True)
class HealthStatus:
    """Whether the service is ready, and if not, why; each reason is a sentence."""

    ready: bool
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]


@attrs.frozen(kw_only=True)
class GetHealth(Request[HealthStatus]):
    """Is the service ready, and what is wrong with it?"""


@attrs.frozen(kw_only=True)
class ApiListener:
    """One address that the management API, or the bootstrap server, is to be reached at."""

    address: str
    surface: str
    """`api` or `bootstrap`"""
    tls: bool
    listening: bool
    error: str
    """why it does not listen, in words; it is tried again"""


@attrs.frozen(kw_only=True)
class ApiStatus:
    """How the management API stands; `certificate_error` says why the files of TLS are not used as they are now."""

    listeners: tuple[ApiListener, ...]
    certificate_error: str
    connections: int
    counters: tuple[tuple[str, int], ...]
    """requests, and what became of connections and requests that were not answered, by name"""


@attrs.frozen(kw_only=True)
class GetApi(Request[ApiStatus]):
    """How does the management API stand?"""
