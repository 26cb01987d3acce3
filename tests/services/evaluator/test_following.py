from tapir.model.messages.lists import StreamPosition
from tapir.services.evaluator.following import Following, Step


def at(sequence: int, epoch: str = "e") -> StreamPosition:
    return StreamPosition(epoch=epoch, sequence=sequence)


def test_changes_that_follow_the_base_are_applied() -> None:
    following, overtaken = Following().arrive(at(5))
    assert not overtaken
    following, step = following.hear(at(6))
    assert (step, following.base) == (Step.APPLY, at(6))


def test_a_change_that_the_base_has_is_dropped() -> None:
    following, _ = Following().arrive(at(5))
    assert following.hear(at(4)) == (following, Step.DROP)
    assert following.hear(at(5)) == (following, Step.DROP)


def test_a_gap_and_a_new_epoch_ask() -> None:
    following, _ = Following().arrive(at(5))
    for position in (at(7), at(6, "f"), at(1, "f")):
        after, step = following.hear(position)
        assert step is Step.ASK
        assert after.base is None


def test_a_change_that_overtook_the_base_makes_us_ask_again() -> None:
    following, step = Following().ask().hear(at(6))
    assert step is Step.ASK
    after, overtaken = following.arrive(at(5))
    assert overtaken
    assert after.base is None
    assert not following.arrive(at(6))[1]
    assert not following.arrive(at(7))[1]


def test_an_epoch_that_began_meanwhile_makes_us_ask_once_more_and_not_for_ever() -> None:
    following, _ = Following().hear(at(9, "old"))
    following, overtaken = following.arrive(at(0, "new"))
    assert overtaken
    following, overtaken = following.ask().arrive(at(0, "new"))
    assert (overtaken, following.base) == (False, at(0, "new"))
