"""The wrong place to log is found by many responses, and said once, without an address."""

import ipaddress

import numpy as np

from tapir.codec.dnstap import MessageType
from tapir.minimiser.addresses import AddressColumn
from tapir.minimiser.hook import ENOUGH, HookWatch

COUNT = ENOUGH // 4


def column(*addresses: str) -> AddressColumn:
    parts = [ipaddress.ip_address(address).packed if address else b"" for address in addresses]
    parts = (parts * (COUNT // len(parts) + 1))[:COUNT]
    octets = np.frombuffer(b"".join([part.ljust(16, b"\0") for part in parts]), np.uint8).reshape(-1, 16)
    return AddressColumn(octets=octets, sizes=np.array([len(part) for part in parts], np.uint8))


def types(*kinds: MessageType) -> "np.ndarray[tuple[int], np.dtype[np.uint8]]":
    return np.resize(np.array(kinds, np.uint8), COUNT)


CLIENT = types(MessageType.CLIENT_RESPONSE)
USERS = column("192.0.2.1", "192.0.2.2", "2001:db8::1")
SERVER = column("198.51.100.53")


def said(watch: HookWatch, *block: object, blocks: int = 4) -> list[str]:
    found = [watch.observe(*block) for _ in range(blocks)]  # type: ignore[arg-type]
    return [sentence for sentence in found if sentence is not None]


def test_what_clients_get_is_fine() -> None:
    watch = HookWatch()
    assert said(watch, CLIENT, USERS, SERVER, blocks=9) == []
    assert repr(watch) == f"<HookWatch after {COUNT} responses, told: False>"


def test_what_the_resolver_asks_for_is_said_once() -> None:
    watch = HookWatch()
    kinds = types(MessageType.RESOLVER_RESPONSE, MessageType.FORWARDER_RESPONSE, MessageType.CLIENT_RESPONSE)
    (sentence,) = said(watch, kinds, SERVER, USERS, blocks=20)
    assert f" of {ENOUGH} responses are of type RESOLVER_RESPONSE" in sentence
    assert "192.0.2" not in sentence
    assert "198.51" not in sentence


def test_that_it_was_put_right_is_said_and_nothing_in_between() -> None:
    watch = HookWatch()
    wrong, some = types(MessageType.RESOLVER_RESPONSE), types(MessageType.RESOLVER_RESPONSE, *[CLIENT[0]] * 4)
    assert len(said(watch, wrong, SERVER, USERS)) == 1
    assert said(watch, some, SERVER, USERS, blocks=8) == []
    assert said(watch, CLIENT, USERS, SERVER, blocks=8) == [""]
    assert said(watch, some, SERVER, USERS, blocks=8) == []
    assert len(said(watch, wrong, SERVER, USERS, blocks=8)) == 1


def test_an_address_that_asks_itself_is_said_once() -> None:
    assert len(said(HookWatch(), CLIENT, SERVER, SERVER, blocks=20)) == 1
    # Some of each is no mistake: the resolver's own programs ask it, too.
    assert said(HookWatch(), CLIENT, column("192.0.2.1", "198.51.100.53"), SERVER, blocks=8) == []


def test_loopback_and_no_address_say_nothing() -> None:
    for own in ("127.0.0.1", "127.1.2.3", "::1", ""):
        assert said(HookWatch(), CLIENT, column(own), column(own), blocks=8) == []


def test_a_mistake_that_comes_later_is_found_as_well() -> None:
    watch = HookWatch()
    assert said(watch, CLIENT, USERS, SERVER, blocks=40) == []
    assert len(said(watch, types(MessageType.RESOLVER_RESPONSE), SERVER, USERS, blocks=8)) == 1
