"""RPZ actions as records (draft-vixie-dnsop-dns-rpz-00 §3): a CNAME at the trigger, the action in its target.

A trigger's owner is the name of the rule followed by the name of the zone. Every message of ours that holds
such records asks for the zone itself, so its name stands at offset 12 and each owner ends in a pointer there
(RFC 1035 §4.1.4): a record is then the rule's name without the root, and a tail that is the same for every
record of one action.
"""

import struct
from typing import Final

from tapir.model.actions import Action
from tapir.model.errors import TapirError
from tapir.model.names import ROOT, Name

TYPE_CNAME: Final = 5
CLASS_IN: Final = 1
QUESTION_POINTER: Final = b"\xc0\x0c"

_TARGETS: Final = {
    Action.NXDOMAIN: ROOT,
    Action.NODATA: Name(b"\x01*\0"),
    Action.PASSTHRU: Name(b"\x0crpz-passthru\0"),
    Action.DROP: Name(b"\x08rpz-drop\0"),
    Action.TCP_ONLY: Name(b"\x0crpz-tcp-only\0"),
}
_ACTIONS: Final = {target: action for action, target in _TARGETS.items()}


class RpzError(TapirError):
    """An action has no record that says it."""

    def __init__(self, *, action: Action, reason: str) -> None:
        super().__init__(f"no record says {action.label}: {reason}")
        self.action = action


def target_of(action: Action, *, redirect: Name | None = None) -> Name:
    """The CNAME target that says `action`; `redirect` is where REDIRECT leads.

    Raises RpzError for NONE, and for REDIRECT without a target.
    """
    if action is Action.REDIRECT:
        if redirect is None:
            raise RpzError(action=action, reason="the zone has no redirect target")
        return redirect
    try:
        return _TARGETS[action]
    except KeyError:
        raise RpzError(action=action, reason="it means that there is no record") from None


def action_of(target: Name) -> Action:
    """The action that a CNAME to `target` (lower case) says; any target of no other meaning is REDIRECT."""
    return _ACTIONS.get(target, Action.REDIRECT)


def record_tail(action: Action, *, ttl: int, redirect: Name | None = None) -> bytes:
    """What follows the rule's name in a record: pointer to the zone, CNAME, IN, TTL and the target."""
    target = target_of(action, redirect=redirect)
    return QUESTION_POINTER + struct.pack("!HHIH", TYPE_CNAME, CLASS_IN, ttl, len(target)) + target


def encode_record(name: Name, tail: bytes) -> bytes:
    """The record of rule `name` as it stands in a message whose question asks for the zone."""
    return name[:-1] + tail
