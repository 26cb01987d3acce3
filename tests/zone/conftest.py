"""A small zone, and chunks small enough that a handful of records fills several."""

from collections.abc import Callable, Iterator

import pytest

import tapir.zone.chunk
import tapir.zone.replies
import tapir.zone.version
from tapir.model.actions import Action
from tapir.model.blocks import RecordBlock
from tapir.model.names import parse_name
from tapir.zone.settings import ZoneSettings


@pytest.fixture(scope="session")
def settings() -> ZoneSettings:
    """The settings of the zone `rpz.example`."""
    return ZoneSettings(name=parse_name("rpz.example"), redirect=parse_name("garden.example"))


@pytest.fixture(scope="session")
def records() -> Callable[[dict[str, str]], RecordBlock]:
    """`records({"a.example": "DROP"})` is that RecordBlock."""
    return lambda rules: RecordBlock.of((parse_name(name), Action[action]) for name, action in rules.items())


@pytest.fixture
def tiny_chunks() -> Iterator[None]:
    """Chunks of some ten short records, so that every split and join happens in a small zone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tapir.zone.chunk, "MAX_OCTETS", 240)
        patch.setattr(tapir.zone.chunk, "FILL_OCTETS", 200)
        patch.setattr(tapir.zone.version, "MIN_OCTETS", 80)
        patch.setattr(tapir.zone.replies, "TRANSFER_OCTETS", 500)
        yield
