"""What an operator can ask for."""

import pytest

from tapir.model.actions import Action
from tapir.policy.settings import CONFIGURABLE, PolicySettings


@pytest.mark.parametrize("action", sorted(set(Action) - {Action.NONE}))
def test_every_action_that_a_record_can_say_is_to_be_had(action: Action) -> None:
    settings = PolicySettings(denylist_action=action, numsources_action=action, denytapir_action=action)
    assert settings.denylist_action is action


def test_nothing_is_no_action() -> None:
    assert Action.NONE not in CONFIGURABLE
    with pytest.raises(ValueError, match="numtapirtags_action cannot be NONE"):
        PolicySettings(numtapirtags_action=Action.NONE)
