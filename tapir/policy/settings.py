"""The operator's policy, as the evaluator needs it (`pop-policy.yaml`, pop.md §2.5)."""

from typing import Any, Final

import attrs

from tapir.model.actions import Action
from tapir.model.tags import MAX_MASK

CONFIGURABLE: Final = frozenset(set(Action) - {Action.NONE})
"""What an operator can ask for; `allowlist` in a file is PASSTHRU."""


def _configurable(_: object, attribute: "attrs.Attribute[Any]", value: Action) -> None:
    if value not in CONFIGURABLE:
        raise ValueError(f"{attribute.name} cannot be {value.label}")


def _action(default: Action) -> Action:
    field: Action = attrs.field(default=default, validator=_configurable)
    return field


def _limit(default: int) -> int:
    field: int = attrs.field(default=default, validator=attrs.validators.ge(1))
    return field


@attrs.frozen(kw_only=True)
class PolicySettings:
    """What to do with names on deny- and doubtlists; the defaults are those of the enrolment template.

    A doubtlist rule whose action is PASSTHRU puts nothing into the zone; as the denylist's action PASSTHRU is
    emitted. `allowlist_action` is what the file says and emits nothing, whatever it is.
    Raises ValueError for an action that cannot be configured and for a limit below 1.
    """

    allowlist_action: Action = _action(Action.PASSTHRU)
    denylist_action: Action = _action(Action.NODATA)
    numsources_limit: int = _limit(2)
    numsources_action: Action = _action(Action.NXDOMAIN)
    numtapirtags_limit: int = _limit(3)
    numtapirtags_action: Action = _action(Action.NXDOMAIN)
    denytapir_mask: int = attrs.field(default=0, validator=[attrs.validators.ge(0), attrs.validators.le(MAX_MASK)])
    denytapir_action: Action = _action(Action.REDIRECT)
