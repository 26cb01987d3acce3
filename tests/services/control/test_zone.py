"""The console's pages of a difference, and who gave an order."""

from collections.abc import Callable
from typing import Any

import pytest

from tapir.model.actions import Action
from tapir.model.blocks import NameBlock
from tapir.model.messages.zone import (
    GetZoneDifference,
    GetZoneHistory,
    HoldZone,
    PauseZone,
    ResumeZone,
    RollBackZone,
    SetSerial,
    ZoneDifference,
)
from tapir.model.names import Name
from tapir.services.control.protocol import ConsoleRequest, ProtocolError
from tapir.services.control.zone import MAX_PAGE, ZonePart


def request(op: str, **arguments: Any) -> ConsoleRequest:
    return ConsoleRequest(id=1, op=op, arguments=arguments)


class Keeper:
    """Answers with the difference that it is given, and notes what it was asked."""

    def __init__(self, names: int = 0) -> None:
        self.asked: list[Any] = []
        self.names = NameBlock.of(Name(b"\x07n%06d\x00" % number) for number in range(names))

    async def ask(self, ref: Any, question: Any) -> Any:
        self.asked.append(question)
        if not isinstance(question, GetZoneDifference):
            return "done"
        count = len(self.names)
        return ZoneDifference(
            from_serial=question.from_serial,
            to_serial=question.to_serial,
            removed=count,
            added=0,
            names=self.names,
            before=bytes([Action.DROP]) * count,
            after=bytes(count),
        )


async def alice() -> str:
    return "alice"


@pytest.fixture
def part() -> Callable[[], ZonePart]:
    keeper: Any = None
    return lambda: ZonePart(keeper, alice)


async def test_a_long_difference_is_asked_for_once_and_read_in_pages(part: Callable[[], ZonePart]) -> None:
    keeper, ours = Keeper(2 * MAX_PAGE + 1), part()
    names: list[str] = []
    page: Any = None
    offset: int | None = 0
    while offset is not None:
        page = await ours.answer(request("zone-diff", **{"from": 3, "to": 9, "offset": offset}), keeper.ask)
        assert len(page["changes"]) <= MAX_PAGE
        assert (page["from"], page["to"], page["removed"], page["names"]) == (3, 9, 2 * MAX_PAGE + 1, 2 * MAX_PAGE + 1)
        names += [change["name"] for change in page["changes"]]
        offset = page["next"]
    assert names == [f"n{number:06d}." for number in range(2 * MAX_PAGE + 1)]
    assert page["changes"] == [{"name": names[-1], "before": "DROP", "after": "NONE"}]
    assert len(keeper.asked) == 1
    await ours.answer(request("zone-diff", **{"from": 3, "to": 9}), keeper.ask)
    await ours.answer(request("zone-diff", **{"from": 9, "to": 3, "offset": MAX_PAGE}), keeper.ask)
    assert len(keeper.asked) == 3, "another one is another question"


async def test_an_offset_past_the_end_is_an_empty_last_page(part: Callable[[], ZonePart]) -> None:
    page: Any = await part().answer(request("zone-diff", **{"from": 3, "to": 9, "offset": 7}), Keeper(2).ask)
    assert (page["changes"], page["next"], page["names"]) == ([], None, 2)


async def test_orders_carry_who_gave_them(part: Callable[[], ZonePart]) -> None:
    keeper, ours = Keeper(), part()
    for order in (
        request("zone-hold"),
        request("zone-resume"),
        request("zone-pause", seconds=60),
        request("zone-rollback", serial=7),
        request("zone-set-serial", serial=8),
        request("zone-history"),
    ):
        assert await ours.answer(order, keeper.ask) == "done"
    assert keeper.asked == [
        HoldZone(user="alice"),
        ResumeZone(user="alice"),
        PauseZone(seconds=60, user="alice"),
        RollBackZone(serial=7, user="alice"),
        SetSerial(serial=8, user="alice"),
        GetZoneHistory(count=20),
    ]


@pytest.mark.parametrize(
    ("op", "arguments"),
    [
        ("zone-pause", {}),
        ("zone-pause", {"seconds": 0}),
        ("zone-pause", {"seconds": 7 * 86400 + 1}),
        ("zone-rollback", {"serial": 2**32}),
        ("zone-rollback", {}),
        ("zone-diff", {"from": 1}),
        ("zone-diff", {"from": 1, "to": 2, "count": MAX_PAGE + 1}),
        ("zone-diff", {"from": 1, "to": 2, "offset": -1}),
        ("zone-history", {"count": 0}),
    ],
)
async def test_what_makes_no_sense_is_not_asked(
    part: Callable[[], ZonePart], op: str, arguments: dict[str, Any]
) -> None:
    keeper = Keeper()
    with pytest.raises(ProtocolError):
        await part().answer(request(op, **arguments), keeper.ask)
    assert keeper.asked == []
