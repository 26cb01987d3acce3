"""What is known of each secondary, from what it asked and how it answered NOTIFY; pure, `now` is an argument.

A secondary that is configured (a downstream) has an address and a port, but asks from a port of the moment: what it
asks is known by its address alone. Two downstreams on one address share what was asked from there. What a downstream
answers when it is asked is known of it alone, and counts as long as nothing later came from its address.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

import attrs

from tapir.model.messages.zone import SecondaryStatus
from tapir.services.authority.messages import SecondarySeen
from tapir.transport.streams import Address, format_address, unmap_address
from tapir.zone.serial import is_newer

_REMEMBERED: Final = 256


@attrs.frozen(kw_only=True)
class NotifyStatus:
    """How the last NOTIFY to a downstream stands; `state` is in the words of `SecondaryStatus.notify_state`."""

    serial: int
    state: str
    at: int


@attrs.frozen(kw_only=True)
class _Asked:
    query: str
    at: int
    serial: int | None
    ahead: bool


@attrs.frozen(kw_only=True)
class _Found:
    serial: int
    ahead: bool


class Secondaries:
    """What each secondary asked for last; addresses that are not configured are forgotten, oldest first."""

    def __init__(self) -> None:
        self._asked: OrderedDict[str, _Asked] = OrderedDict()
        self._found: dict[Address, _Found] = {}

    def note_found(self, downstream: Address, serial: int, *, current: int | None) -> int | None:
        """Remember that `downstream` answered that it has `serial`; returns that as `note` does."""
        asked = self._asked.get(unmap_address(downstream[0]))
        before = self._found.get(downstream)
        known = bool(asked and asked.ahead) or bool(before and before.ahead)
        ahead = current is not None and is_newer(serial, than=current)
        self._found[downstream] = _Found(serial=serial, ahead=ahead)
        return serial if ahead and not known else None

    def note(self, seen: SecondarySeen, *, current: int | None) -> int | None:
        """Remember what was asked; returns the secondary's serial when this tells for the first time that it is ahead.

        `current` is the serial that we publish. A query without a serial (SOA) says nothing new of it, but when ours
        was set back, the serial that it had before may be ahead now.
        """
        before = self._asked.pop(seen.address, None)
        serial = seen.serial
        if serial is None:
            serial = before.serial if before else None
        else:
            self._found = {
                found: said for found, said in self._found.items() if unmap_address(found[0]) != seen.address
            }
        ahead = serial is not None and current is not None and is_newer(serial, than=current)
        self._asked[seen.address] = _Asked(query=seen.query, at=seen.at, serial=serial, ahead=ahead)
        if len(self._asked) > _REMEMBERED:
            self._asked.popitem(last=False)
        return serial if ahead and not (before and before.ahead) else None

    def published(self, serial: int) -> None:
        """We now publish `serial`: whoever is ahead of it, is; the others are no longer."""
        for address, asked in self._asked.items():
            if asked.serial is not None:
                # Only towards "no longer": a step back of ours is found out, and logged, when the secondary asks.
                ahead = asked.ahead and is_newer(asked.serial, than=serial)
                self._asked[address] = attrs.evolve(asked, ahead=ahead)
        for downstream, found in self._found.items():
            self._found[downstream] = attrs.evolve(found, ahead=found.ahead and is_newer(found.serial, than=serial))

    def forget(self, downstream: Address) -> None:
        """`downstream` is configured no longer."""
        self._found.pop(downstream, None)

    def statuses(
        self, downstreams: Iterable[Address], outcomes: dict[Address, NotifyStatus]
    ) -> tuple[SecondaryStatus, ...]:
        """One status a downstream, in the order configured; then the others that asked, latest first."""
        configured = list(downstreams)
        hosts = {unmap_address(host) for host, _ in configured}
        return (
            *(
                self._status(
                    format_address(downstream),
                    downstream[0],
                    outcomes.get(downstream),
                    self._found.get(downstream),
                    configured=True,
                )
                for downstream in configured
            ),
            *(
                self._status(host, host, None, None, configured=False)
                for host in reversed(self._asked)
                if host not in hosts
            ),
        )

    def _status(
        self, address: str, host: str, outcome: NotifyStatus | None, found: _Found | None, *, configured: bool
    ) -> SecondaryStatus:
        asked = self._asked.get(unmap_address(host))
        known = found or asked
        return SecondaryStatus(
            address=address,
            configured=configured,
            last_serial=known.serial if known else None,
            last_query=asked.query if asked else "",
            last_query_at=asked.at if asked else None,
            ahead=known.ahead if known else False,
            notify_serial=outcome.serial if outcome else None,
            notify_state=outcome.state if outcome else "",
            notify_at=outcome.at if outcome else None,
        )
