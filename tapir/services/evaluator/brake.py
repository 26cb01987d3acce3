"""The brake on a source: a list that suddenly loses or gains most of its names waits for the operator (pure)."""

import attrs


@attrs.frozen(kw_only=True)
class BrakeSettings:
    """Which change of a source is too large to be believed.

    A source of `minimum` names or more is held when it loses more than the share `shrink` of them, or gains more than
    `grow` times as many as it had.
    """

    shrink: float = 0.5
    grow: float = 2.0
    minimum: int = 1000


def judge_size(brake: BrakeSettings, *, before: int, after: int) -> str:
    """Why a list of `before` names may not become one of `after` names by itself, or the empty string."""
    if before < brake.minimum:
        return ""
    if before - after > before * brake.shrink:
        return f"shrinks from {before} to {after} names, by more than {brake.shrink:.0%}"
    if after - before > before * brake.grow:
        return f"grows from {before} to {after} names, by more than {brake.grow:.0%}"
    return ""
