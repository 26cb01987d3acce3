"""The component status table, and when it is worth telling. Pure: each look makes a new one."""

from collections.abc import Mapping
from typing import Final

import attrs

from tapir.model.messages.events import ExceptionalEvent
from tapir.model.messages.telemetry import ComponentState, ComponentStatus, FunctionStatus
from tapir.services.uplink.telemetry_parts import Judgement

MOST_EVENTS: Final = 100
"""in one document; the others follow in the next ones"""


def judge_again(before: ComponentStatus | None, judgement: Judgement, *, now: int) -> ComponentStatus:
    """The component after a look (pop.md §8.2): a failure or warning counts once while it is the same one."""
    status = before or ComponentStatus(state=judgement.state, message="")
    new = before is None or (before.state, before.message) != (judgement.state, judgement.text)
    status = attrs.evolve(status, state=judgement.state, message=judgement.text)
    match judgement.state:
        case ComponentState.OK:
            return attrs.evolve(status, failures=0, warnings=0, succeeded_at=now)
        case ComponentState.FAIL if new:
            return attrs.evolve(status, error=judgement.text, failures=status.failures + 1, failed_at=now)
        case ComponentState.WARN if new:
            return attrs.evolve(status, warning=judgement.text, warnings=status.warnings + 1, warned_at=now)
        case _:
            return status


@attrs.frozen
class StatusTable:
    """All components that were seen, by name."""

    components: Mapping[str, ComponentStatus] = attrs.field(factory=dict)

    def look(self, judgements: Mapping[str, Judgement], *, now: int) -> "StatusTable":
        """The table after a look; a component that said nothing stays as it was."""
        judged = {
            name: judge_again(self.components.get(name), judgement, now=now) for name, judgement in judgements.items()
        }
        return StatusTable({**self.components, **judged})

    @property
    def gist(self) -> frozenset[tuple[str, ComponentState, str]]:
        """What has changed when this has."""
        return frozenset((name, each.state, each.message) for name, each in self.components.items())

    def document(
        self,
        *,
        function: str,
        id_: str,
        version: str,
        now: int,
        counters: tuple[tuple[str, int], ...],
        events: tuple[ExceptionalEvent, ...],
    ) -> FunctionStatus:
        """All of it, as it is told."""
        failures = [each.failed_at for each in self.components.values() if each.failed_at is not None]
        return FunctionStatus(
            function=function,
            id=id_,
            components=tuple(sorted(self.components.items())),
            failures=sum(each.state is ComponentState.FAIL for each in self.components.values()),
            failed_at=max(failures, default=None),
            version=version,
            at=now,
            counters=counters,
            events=events,
        )


@attrs.frozen
class Outbox:
    """Which events the broker has acknowledged, as they were told: (id, text, whether it is over)."""

    told: frozenset[tuple[str, str, bool]] = frozenset()

    def pending(self, events: tuple[ExceptionalEvent, ...]) -> tuple[ExceptionalEvent, ...]:
        """Of `events`, newest first, those to tell, oldest first; not more than a document holds."""
        return tuple(event for event in events[::-1] if _mark(event) not in self.told)[:MOST_EVENTS]

    def letter(self, events: tuple[ExceptionalEvent, ...]) -> tuple[ExceptionalEvent, ...]:
        """What goes into a document: what is pending, and what lasts, for whoever listens from now on."""
        pending = self.pending(events)
        lasting = [event for event in events if event.cleared_at is None and event not in pending]
        return (*pending, *lasting)[:MOST_EVENTS]

    def acknowledge(self, sent: tuple[ExceptionalEvent, ...], *, known: tuple[ExceptionalEvent, ...]) -> "Outbox":
        """`sent` have arrived; of what is no longer among the `known` nothing is remembered."""
        return Outbox((self.told | {_mark(event) for event in sent}) & {_mark(event) for event in known})


def _mark(event: ExceptionalEvent) -> tuple[str, str, bool]:
    return event.id, event.text, event.cleared_at is not None
