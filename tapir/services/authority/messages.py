"""What keeper, server and notifier say to each other; the views of a zone that they hand on stay in this group."""

import attrs

from actors import Request
from tapir.zone.view import ZoneView


@attrs.frozen(kw_only=True, eq=False)
class Publish:
    """`view` is committed, and is what the zone is from now on."""

    view: ZoneView


@attrs.frozen(kw_only=True)
class GetView(Request[ZoneView | None]):
    """The server or the notifier has just started: what is the zone? None until there is a first version."""


@attrs.frozen(kw_only=True)
class SecondarySeen:
    """A secondary at `address` asked by `query` (`SOA`, `AXFR`, `IXFR`).

    `serial` is the one that it said it has (IXFR), or took with a transfer just finished; None when it said none.
    """

    address: str
    query: str
    serial: int | None
    at: int
