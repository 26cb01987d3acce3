import dns.message
import dns.name
import dns.rdataclass
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.dnswire import encode_header, read_question, read_record
from tapir.codec.rpz import RpzError, action_of, encode_record, record_tail, target_of
from tapir.model.actions import Action
from tapir.model.names import ROOT, Name, format_name, parse_name

# draft-vixie-dnsop-dns-rpz-00 §3, and pop.md §5
TARGETS = [
    (Action.NXDOMAIN, "."),
    (Action.NODATA, "*."),
    (Action.PASSTHRU, "rpz-passthru."),
    (Action.DROP, "rpz-drop."),
    (Action.TCP_ONLY, "rpz-tcp-only."),
]
SERVER = parse_name("walled.garden.example")


@pytest.mark.parametrize(("action", "text"), TARGETS)
def test_targets_are_those_of_the_draft(action, text):
    target = target_of(action)
    assert format_name(target) == text
    assert target == dns.name.from_text(text).to_wire()
    assert action_of(target) is action


def test_redirect_leads_to_the_target_of_the_zone():
    assert target_of(Action.REDIRECT, redirect=SERVER) == SERVER
    assert action_of(SERVER) is Action.REDIRECT


def test_redirect_without_a_target_has_no_record():
    with pytest.raises(RpzError, match="REDIRECT"):
        target_of(Action.REDIRECT)


def test_none_has_no_record():
    with pytest.raises(RpzError, match="NONE"):
        target_of(Action.NONE, redirect=SERVER)


@given(
    owner=st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=5),
    action=st.sampled_from([action for action in Action if action is not Action.NONE]),
    ttl=st.integers(0, 2**31 - 1),
)
def test_a_record_reads_back_in_dnspython(owner, action, ttl):
    name = dns.name.Name([*owner, b""])
    tail = record_tail(action, ttl=ttl, redirect=SERVER)
    question = parse_name("rpz.example") + b"\0\x06\0\1"
    message = encode_header(1, 0x8400, (1, 1, 0, 0)) + question + encode_record(Name(name.to_digestable()), tail)
    [rrset] = dns.message.from_wire(message).answer
    assert (rrset.rdtype, rrset.rdclass, rrset.ttl) == (dns.rdatatype.CNAME, dns.rdataclass.IN, ttl)
    assert rrset.name == dns.name.Name([*owner, b"rpz", b"example", b""])
    assert action_of(rrset[0].target.to_wire()) is action
    _, position = read_question(message)
    assert read_record(message, position).end == len(message)


def test_the_root_is_the_target_of_nxdomain_only():
    assert action_of(ROOT) is Action.NXDOMAIN
