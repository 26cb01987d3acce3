import dns.flags
import dns.message
import dns.opcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.zone.notify import (
    NotifyOutcome,
    answers_soa_query,
    encode_notify,
    encode_soa_query,
    judge_notify_answer,
    read_soa_answer,
)
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


def soa_answer(version, *, id_=9, serial=5000, flags="AA", rcode="NOERROR", owner=None):
    query = dns.message.from_wire(encode_soa_query(version.apex, id_=9))
    response = dns.message.make_response(query)
    response.id = id_
    response.flags |= dns.flags.from_text(flags)
    response.set_rcode(dns.rcode.from_text(rcode))
    response.answer.append(dns.rrset.from_text(owner or "RPZ.example.", 60, "IN", "SOA", f". . {serial} 1 1 1 1"))
    return response.to_wire()


def test_an_authority_says_its_serial(version):
    wire = soa_answer(version)
    assert answers_soa_query(wire, apex=version.apex, id_=9)
    assert not answers_soa_query(wire, apex=version.apex, id_=8)
    assert not answers_soa_query(encode_soa_query(version.apex, id_=9), apex=version.apex, id_=9)
    assert not answers_soa_query(encode_notify(version, id_=9), apex=version.apex, id_=9)
    assert read_soa_answer(wire, apex=version.apex) == 5000


@pytest.mark.parametrize("fields", [{"flags": ""}, {"rcode": "REFUSED"}, {"owner": "other.example."}])
def test_what_is_no_authoritative_soa_says_no_serial(version, fields):
    wire = soa_answer(version, **fields)
    assert answers_soa_query(wire, apex=version.apex, id_=9)
    assert read_soa_answer(wire, apex=version.apex) is None


@given(octets=st.binary(max_size=40), cut=st.integers(0, 80))
def test_any_answer_to_the_soa_query_is_read_without_a_fault(version, octets, cut):
    wire = soa_answer(version)[:cut] + octets
    answers_soa_query(wire, apex=version.apex, id_=9)
    read_soa_answer(wire, apex=version.apex)
