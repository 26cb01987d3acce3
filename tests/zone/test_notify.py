import dns.flags
import dns.message
import dns.opcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.zone.notify import NotifyOutcome, encode_notify, judge_notify_answer
from tapir.zone.version import ZoneVersion


@pytest.fixture(scope="module")
def version(settings):
    return ZoneVersion.build(settings, 77)


def response_to(wire, rcode="NOERROR"):
    response = dns.message.make_response(dns.message.from_wire(wire))
    response.set_rcode(dns.rcode.from_text(rcode))
    return response


def test_a_notify_asks_for_the_soa_and_shows_it(version):
    notify = dns.message.from_wire(encode_notify(version, id_=4711))
    assert (notify.id, notify.opcode(), notify.rcode()) == (4711, dns.opcode.NOTIFY, 0)
    assert notify.flags & dns.flags.AA
    assert not notify.flags & dns.flags.QR
    assert [question.to_text() for question in notify.question] == ["rpz.example. IN SOA"]
    assert [rrset.to_text() for rrset in notify.answer] == [
        "rpz.example. 3600 IN SOA mname. hostmaster.dnstapir.se. 77 60 60 86400 60"
    ]


def test_noerror_acknowledges(version):
    answer = judge_notify_answer(response_to(encode_notify(version, id_=1)).to_wire(), version=version, id_=1)
    assert (answer.outcome, answer.reason) == (NotifyOutcome.ACKNOWLEDGED, "")


@pytest.mark.parametrize(("rcode", "reason"), [("REFUSED", "REFUSED"), ("NOTAUTH", "NOTAUTH"), ("YXDOMAIN", "rcode 6")])
def test_an_error_refuses(version, rcode, reason):
    response = response_to(encode_notify(version, id_=1), rcode)
    answer = judge_notify_answer(response.to_wire(), version=version, id_=1)
    assert (answer.outcome, answer.reason) == (NotifyOutcome.REFUSED, reason)
    response.question = []
    answer = judge_notify_answer(response.to_wire(), version=version, id_=1)
    assert (answer.outcome, answer.reason) == (NotifyOutcome.REFUSED, reason)


def test_anything_else_is_not_the_answer(version):
    notify = encode_notify(version, id_=1)
    other = encode_notify(version, id_=1).replace(b"\3rpz", b"\3xyz", 1)
    query = dns.message.make_response(dns.message.make_query("rpz.example", "SOA", id=1))
    for wire in (notify, response_to(other).to_wire(), query.to_wire(), b"short"):
        assert judge_notify_answer(wire, version=version, id_=1).outcome is NotifyOutcome.UNRELATED
    assert judge_notify_answer(response_to(notify).to_wire(), version=version, id_=2).outcome is NotifyOutcome.UNRELATED
    cut = response_to(notify).to_wire()[:20]
    assert judge_notify_answer(cut, version=version, id_=1).outcome is NotifyOutcome.UNRELATED


@given(wire=st.binary(max_size=80))
def test_garbage_is_not_the_answer(version, wire):
    assert judge_notify_answer(b"\0\1" + wire, version=version, id_=1).outcome in NotifyOutcome
