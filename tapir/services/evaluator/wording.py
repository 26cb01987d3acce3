"""What the list keeper says in the log, so that an operator knows what to do."""

from typing import TYPE_CHECKING

from tapir.model.messages.lists import Refusal
from tapir.services.evaluator.roster import Gate, SourceState

if TYPE_CHECKING:
    import logging

    Log = logging.LoggerAdapter[logging.Logger]


def log_held(log: "Log", state: SourceState) -> None:
    """Note that the brake holds a source back; what warns of it is the exceptional event, which has an identifier."""
    log.info("source %s is held: it %s", state.settings.id, state.held_because)


def log_refusals(log: "Log", refusals: tuple[Refusal, ...], source: str) -> None:
    """Say which lines of a source are not used, a line a reason."""
    for refusal in refusals:
        lines = ", ".join(map(str, refusal.lines)) + (", …" if refusal.count > len(refusal.lines) else "")
        log.warning("source %s: %d lines refused as %s: %s", source, refusal.count, refusal.reason, lines)


def says_more(before: tuple[Refusal, ...], after: tuple[Refusal, ...]) -> bool:
    """Whether lines are refused for a reason for which none was before."""
    return bool({each.reason for each in after} - {each.reason for each in before})


def log_gate(log: "Log", gate: Gate, *, before: Gate | None = None) -> None:
    """Say who is missing, and what that means; that one less is missing than `before` is not worth a line."""
    missing = ", ".join(gate.waiting_for)
    if before is not None and gate.awaited and set(gate.awaited) < set(before.awaited):
        log.debug("still waiting for sources: %s", missing)
        return
    if gate.publish and not missing:
        log.info("every source has delivered or was restored; changes are published")
    elif gate.publish:
        log.warning("changes are published without the sources that did not deliver in time: %s", missing)
    elif gate.awaited:
        log.info("nothing new is published yet; waiting for sources: %s", missing)
    else:
        log.warning(
            "nothing new is published: no content for %s, and a zone made without would do harm"
            " (for an allowlist `required: false` waives that)",
            ", ".join(gate.blocking),
        )
