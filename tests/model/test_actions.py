"""What stored zones rely on, and the order that the rules go by."""

from tapir.model.actions import RESTRICTIVENESS, Action


def test_the_values_are_those_that_stored_zones_hold() -> None:
    assert {action.name: action.value for action in Action} == {
        "NONE": 0,
        "PASSTHRU": 1,
        "REDIRECT": 2,
        "NODATA": 3,
        "NXDOMAIN": 4,
        "DROP": 5,
        "TCP_ONLY": 6,
    }


def test_every_action_has_a_rank_and_upstreams_keep_their_order() -> None:
    assert sorted(RESTRICTIVENESS) == sorted(Action)
    assert [RESTRICTIVENESS[action.rank] for action in Action] == list(Action)
    upstream = [Action.PASSTHRU, Action.REDIRECT, Action.NODATA, Action.NXDOMAIN, Action.DROP]
    assert sorted(upstream, key=lambda action: action.rank) == upstream
    assert Action.NONE.rank == 0
    assert Action.PASSTHRU.rank < Action.TCP_ONLY.rank < Action.REDIRECT.rank


def test_the_labels_are_the_fields_words() -> None:
    assert [action.label for action in RESTRICTIVENESS] == [
        "NONE",
        "PASSTHRU",
        "TCP-ONLY",
        "REDIRECT",
        "NODATA",
        "NXDOMAIN",
        "DROP",
    ]
