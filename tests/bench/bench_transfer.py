"""AXFR of a million records to one reader, next to knotd's of the same zone."""

from collections.abc import Callable

from benching import NAMES, ROUNDS, Knot, Ratios, count_transfer, make_names, read_messages, rules_in
from peers import Pop

REACH = 5.0
AIM = 40.0


def test_whole_zone_goes_out_faster_than_knot_sends_it(
    make_pop: Callable[..., Pop], make_knot: Callable[..., Knot]
) -> None:
    names = make_names(NAMES)
    knot = make_knot()
    knot.write_zone(names)
    knot.start()
    pop = make_pop()
    pop.add_source("blocked", "denylist", names)
    pop.start()

    theirs = rules_in(read_messages(knot.port, records=NAMES)[1])
    assert len(theirs) == NAMES
    assert rules_in(read_messages(pop.port, records=NAMES)[1]) == theirs

    rates = Ratios("AXFR, records a second")
    for _ in range(ROUNDS):
        knot_rate = NAMES / count_transfer(knot.port, records=NAMES)
        rates.add(NAMES / count_transfer(pop.port, records=NAMES), knot_rate)
    rates.show("records/s", reach=f"{REACH}, aim {AIM}")
    assert rates.median >= REACH
