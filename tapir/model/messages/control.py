"""What the health actor is told, and what the console asks of it."""

import attrs

from actors import Request


@attrs.frozen(kw_only=True)
class VersionPublished:
    """The zone keeper published `serial`; secondaries can see it from now on."""

    zone: str
    serial: int
    records: int


@attrs.frozen(kw_only=True)
class HealthStatus:
    """Whether the service is ready, and if not, why; each reason is a sentence."""

    ready: bool
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]


@attrs.frozen(kw_only=True)
class GetHealth(Request[HealthStatus]):
    """Is the service ready, and what is wrong with it?"""
