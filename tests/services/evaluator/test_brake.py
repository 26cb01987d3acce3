import pytest

from tapir.services.evaluator.brake import BrakeSettings, judge_size


@pytest.mark.parametrize(
    ("before", "after", "held"),
    [
        (999, 0, False),
        (1000, 500, False),
        (1000, 499, True),
        (1000, 0, True),
        (1000, 3000, False),
        (1000, 3001, True),
        (10, 1_000_000, False),
    ],
)
def test_the_brake_of_the_defaults(before: int, after: int, held: bool) -> None:
    assert bool(judge_size(BrakeSettings(), before=before, after=after)) is held


def test_the_brake_says_what_it_saw() -> None:
    assert judge_size(BrakeSettings(), before=2000, after=10) == "shrinks from 2000 to 10 names, by more than 50%"
    reason = judge_size(BrakeSettings(grow=0.1, minimum=10), before=10, after=12)
    assert reason == "grows from 10 to 12 names, by more than 10%"
