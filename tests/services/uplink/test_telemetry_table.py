from tapir.model.messages.events import EventKind, ExceptionalEvent
from tapir.model.messages.telemetry import ComponentState, ComponentStatus
from tapir.services.uplink.telemetry_parts import Judgement
from tapir.services.uplink.telemetry_table import MOST_EVENTS, Outbox, StatusTable

FAIL, WARN, OK = ComponentState.FAIL, ComponentState.WARN, ComponentState.OK


def event(number: int, *, over: bool = False, text: str = "") -> ExceptionalEvent:
    return ExceptionalEvent(
        id=str(number),
        kind=EventKind.SOURCE_HELD,
        subject="a",
        text=text,
        at=number,
        cleared_at=number + 1 if over else None,
    )


def test_the_rules_of_the_table():
    """pop.md §8.2: a failure counts and is remembered, a success sets both counts to nothing."""
    table = StatusTable().look({"rpz": Judgement(FAIL, "no")}, now=1)
    assert table.components["rpz"] == ComponentStatus(state=FAIL, message="no", error="no", failures=1, failed_at=1)
    table = table.look({"rpz": Judgement(FAIL, "no")}, now=2)
    assert (table.components["rpz"].failures, table.components["rpz"].failed_at) == (1, 1)
    table = table.look({"rpz": Judgement(FAIL, "never")}, now=3)
    table = table.look({"rpz": Judgement(WARN, "hm")}, now=4)
    assert table.components["rpz"] == ComponentStatus(
        state=WARN, message="hm", error="never", warning="hm", failures=2, warnings=1, failed_at=3, warned_at=4
    )
    table = table.look({"rpz": Judgement(WARN, "hm")}, now=5)
    table = table.look({"rpz": Judgement(OK, "well")}, now=6)
    assert table.components["rpz"] == ComponentStatus(
        state=OK,
        message="well",
        error="never",
        warning="hm",
        failed_at=3,
        warned_at=4,
        succeeded_at=6,
    )


def test_who_says_nothing_stays_as_it_was():
    table = StatusTable().look({"rpz": Judgement(OK, "well")}, now=1)
    assert table.look({}, now=2) == table


def test_the_gist_is_what_changed_and_not_when():
    table = StatusTable().look({"rpz": Judgement(OK, "well")}, now=1)
    assert table.look({"rpz": Judgement(OK, "well")}, now=2).gist == table.gist
    assert table.look({"rpz": Judgement(OK, "better")}, now=2).gist != table.gist


def test_the_document():
    table = StatusTable().look({"rpz": Judgement(FAIL, "no"), "cert-status": Judgement(FAIL, "no")}, now=7)
    document = table.look({"rpz": Judgement(OK, "")}, now=8).document(
        function="tapir-pop", id_="edge", version="1", now=9, counters=(("a", 1),), events=(event(1),)
    )
    assert (document.function, document.id, document.version, document.at) == ("tapir-pop", "edge", "1", 9)
    assert [name for name, _ in document.components] == ["cert-status", "rpz"]
    assert (document.failures, document.failed_at) == (1, 7)
    assert StatusTable().document(function="f", id_="", version="", now=1, counters=(), events=()).failed_at is None


def test_an_event_is_told_until_it_is_acknowledged_and_again_when_it_is_over():
    outbox = Outbox()
    first = event(1)
    assert outbox.pending((first,)) == (first,)
    outbox = outbox.acknowledge((first,), known=(first,))
    assert outbox.pending((first,)) == ()
    assert outbox.letter((first,)) == (first,), "it lasts: whoever begins to listen hears of it"
    reworded, over = event(1, text="more"), event(1, over=True)
    assert outbox.pending((reworded,)) == (reworded,)
    assert outbox.pending((over,)) == (over,)
    outbox = outbox.acknowledge((over,), known=(over,))
    assert outbox.letter((over,)) == ()
    assert outbox.acknowledge((), known=()).told == frozenset(), "what is forgotten there is forgotten here"


def test_a_document_is_bounded_and_the_rest_follows():
    newest_first = tuple(event(number, over=True) for number in range(MOST_EVENTS + 20))[::-1]
    outbox = Outbox()
    letter = outbox.letter(newest_first)
    assert [each.id for each in letter] == [str(number) for number in range(MOST_EVENTS)]
    outbox = outbox.acknowledge(letter, known=newest_first)
    assert len(outbox.letter(newest_first)) == 20
