"""No frame is lost without a line in the account."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.dnstap import Outcome
from tapir.minimiser.account import OUTCOMES, UPSTREAM, Account, Fate, Ledger

FATES = st.dictionaries(st.sampled_from(Fate), st.integers(0, 50))


@given(st.lists(st.integers(0, 100) | FATES, max_size=30))
def test_the_account_always_balances(entries: list[int | dict[Fate, int]]) -> None:
    ledger = Ledger()
    for entry in entries:
        before = ledger.account()
        if isinstance(entry, int):
            ledger.receive(entry)
            continue
        if sum(entry.values()) > before.in_flight:
            with pytest.raises(ValueError, match="in flight"):
                ledger.settle(entry)
            assert ledger.account() == before
        else:
            ledger.settle(entry)
    account = ledger.account()
    kinds = ("minimised", "ignored", "malformed", "dropped")
    assert {fate.kind for fate in Fate} == set(kinds)
    assert account.received == sum(account.total(kind) for kind in kinds) + account.in_flight
    assert account.in_flight >= 0
    assert account.processed == sum(account.total(kind) for kind in kinds[:3])


def test_nothing_is_taken_back() -> None:
    ledger = Ledger()
    ledger.receive(5)
    with pytest.raises(ValueError, match="settled"):
        ledger.settle({Fate.HISTOGRAM: 3, Fate.OTHER: -1})
    assert ledger.account().in_flight == 5


def test_fates_have_names_of_their_own() -> None:
    assert len({(fate.kind, fate.reason) for fate in Fate}) == len(Fate)


def test_every_outcome_of_decoding_has_a_fate() -> None:
    assert set(OUTCOMES) == set(Outcome) - {Outcome.OK}


def test_figures_under_the_names_of_the_existing_edm() -> None:
    account = Account(received=100, settled={fate: 1 << place for place, fate in enumerate(Fate)})
    figures = account.upstream()
    assert figures["edm_processed_dnstap_total"] == sum(
        count for fate, count in account.settled.items() if fate.kind != "dropped"
    )
    assert figures["edm_ignored_dns_parse_error_total"] == account.count(Fate.NO_MESSAGE) + account.count(Fate.DNS)
    assert figures["edm_ignored_client_ip_total"] == account.count(Fate.CLIENT)
    assert set(figures) == {*UPSTREAM, "edm_processed_dnstap_total"}
    # What is no protobuf, and queries, have no counter there.
    assert not {Fate.PROTOBUF, Fate.QUERY} & {fate for fates in UPSTREAM.values() for fate in fates}


def test_threads_may_enter_at_once() -> None:
    ledger = Ledger()

    def work() -> None:
        for _ in range(500):
            ledger.receive(3)
            ledger.settle({Fate.OTHER: 2, Fate.DNS: 1})

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.account() == Account(
        received=6000, settled=dict.fromkeys(Fate, 0) | {Fate.OTHER: 4000, Fate.DNS: 2000}
    )
