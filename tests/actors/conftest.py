"""Messages and actors that the tests of the runtime share."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from actors import ActorSystem, ManualClock, Strategy, SupervisorSpec, SystemSettings


class Tree:
    """Builds systems and trees with the settings of tests: a fixed seed, a virtual wall clock."""

    def system(self, **settings: Any) -> ActorSystem:
        return ActorSystem(clock=ManualClock(), settings=SystemSettings(**{"seed": 0, **settings}))

    def of(self, *children: Any, strategy: Strategy = Strategy.ONE_FOR_ONE, name: str = "test", **spec: Any) -> Any:
        return SupervisorSpec(name=name, strategy=strategy, children=children, **spec)


@pytest.fixture
def tree() -> Tree:
    return Tree()


@pytest.fixture
def log_lines(caplog: pytest.LogCaptureFixture) -> Iterator[Any]:
    """What logger `actors` said so far, as `LEVEL text` lines; a function."""
    with caplog.at_level(logging.DEBUG, logger="actors"):
        yield lambda: [f"{record.levelname} {record.getMessage()}" for record in caplog.records]
