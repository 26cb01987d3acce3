"""What goes to the author, in its order: the evaluator's contents and changes, and the operator's orders."""

import attrs

from actors import Reply
from tapir.model.blocks import RecordDelta
from tapir.model.errors import TapirError
from tapir.model.messages.zone import AcceptZone, HoldZone, PauseZone, ResumeZone, RollBackZone, SetSerial
from tapir.services.authority.draft import Content


class Refused(TapirError):
    """What the operator asked for was not done; the text says why."""


Wish = HoldZone | ResumeZone | AcceptZone | SetSerial | RollBackZone | PauseZone


@attrs.frozen(kw_only=True, eq=False)
class Order:
    """What the operator wants, and where the answer goes."""

    request: Wish
    reply: Reply


Item = Content | RecordDelta | Order
