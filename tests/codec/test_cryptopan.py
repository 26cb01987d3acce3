"""Pseudonyms are the published ones, those of a plain loop over the bits, and keep prefixes; no key is ever shown."""

import copy
import ipaddress
import pickle

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from tapir.codec.cryptopan import CryptoPan, CryptopanError, derive, derive_spool_key

SALT = "aabbccddeeffgghh"
KEY1 = bytes.fromhex("2be502e9809c222baec21f41799295b5ac4f1c47de7f15b9f90418346bb1c99d")
KEY2 = bytes.fromhex("52c629cc577fdf5fc2570f949b9bad3450ae93de4756c5d9207a2ed509828b7d")
PUBLISHED = [
    ("key1", SALT, "198.51.100.20", "58.92.11.53"),
    ("key1", SALT, "198.51.100.30", "58.92.11.62"),
    ("key1", SALT, "2001:db8:1122:3344:5566:7788:99aa:bbcc", "b780:8dc8:6ed9:cbc5:4d61:a6bb:6255:5a03"),
    ("key1", SALT, "2001:db8:1122:3344:5566:7788:99aa:ddee", "b780:8dc8:6ed9:cbc5:4d61:a6bb:6255:262d"),
    ("key2", SALT, "198.51.100.20", "185.204.164.235"),
    ("key2", SALT, "198.51.100.30", "185.204.164.225"),
    ("key2", SALT, "2001:db8:1122:3344:5566:7788:99aa:bbcc", "3f29:478:21d2:2c44:6915:7ca7:8654:aa28"),
    ("key2", SALT, "2001:db8:1122:3344:5566:7788:99aa:ddee", "3f29:478:21d2:2c44:6915:7ca7:8654:d21f"),
    ("mysecret", "edm-kdf-salt-val", "198.51.100.20", "57.179.102.226"),
    ("mysecret", "edm-kdf-salt-val", "192.0.2.1", "63.239.141.253"),
    ("mysecret", "edm-kdf-salt-val", "127.0.0.1", "158.16.225.249"),
    ("mysecret", "edm-kdf-salt-val", "2001:db8::1", "ef90:f1ca:c007:81ff:c23:e7fe:181c:1f9"),
]


def transformed(cryptopan: CryptoPan, addresses: list[bytes]) -> list[bytes]:
    octets = np.frombuffer(b"".join(addresses), np.uint8).reshape(len(addresses), -1)
    return [row.tobytes() for row in cryptopan.transform(octets)]


def one_by_one(key: bytes, address: bytes) -> bytes:
    """The definition, a bit at a time."""
    encrypt = Cipher(algorithms.AES(key[:16]), modes.ECB()).encryptor().update  # noqa: S305
    pad = int.from_bytes(encrypt(key[16:]))
    bits = 8 * len(address)
    padded = int.from_bytes(address) << (128 - bits)
    flips = 0
    for length in range(bits):
        kept = ((1 << length) - 1) << (128 - length)
        block = (padded & kept) | (pad & ~kept)
        flips = (flips << 1) | (encrypt(block.to_bytes(16))[0] >> 7)
    return (int.from_bytes(address) ^ flips).to_bytes(len(address))


@pytest.fixture(scope="module")
def derived() -> dict[tuple[str, str], CryptoPan]:
    return {(key, salt): derive(key, salt) for key, salt in {row[:2] for row in PUBLISHED}}


@pytest.mark.parametrize(("key", "salt", "address", "pseudonym"), PUBLISHED)
def test_published_values(
    derived: dict[tuple[str, str], CryptoPan], key: str, salt: str, address: str, pseudonym: str
) -> None:
    (octets,) = transformed(derived[key, salt], [ipaddress.ip_address(address).packed])
    assert ipaddress.ip_address(octets) == ipaddress.ip_address(pseudonym)


def test_keys_are_derived_as_published(derived: dict[tuple[str, str], CryptoPan]) -> None:
    addresses = [bytes([n, 1, 2, 3]) for n in range(9)]
    for name, key in (("key1", KEY1), ("key2", KEY2)):
        assert transformed(derived[name, SALT], addresses) == transformed(CryptoPan(key), addresses)


@given(
    st.binary(min_size=32, max_size=32),
    st.lists(st.binary(min_size=4, max_size=4), min_size=1)
    | st.lists(st.binary(min_size=16, max_size=16), min_size=1, max_size=5),
)
def test_a_column_is_what_a_loop_says(key: bytes, addresses: list[bytes]) -> None:
    assert transformed(CryptoPan(key), addresses) == [one_by_one(key, address) for address in addresses]


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_prefixes_are_kept(left: int, right: int) -> None:
    ours = [int.from_bytes(octets) for octets in transformed(CryptoPan(KEY1), [left.to_bytes(4), right.to_bytes(4)])]
    assert (ours[0] ^ ours[1]).bit_length() == (left ^ right).bit_length()


@pytest.mark.parametrize("width", [4, 16])
def test_more_than_one_call_takes_is_the_same(width: int) -> None:
    octets = np.random.default_rng(1).integers(0, 256, (2500 * 4 // width, width), dtype=np.uint8)
    whole = CryptoPan(KEY1).transform(octets)
    assert whole[-3:].tobytes() == CryptoPan(KEY1).transform(octets[-3:]).tobytes()
    assert len(CryptoPan(KEY1).transform(octets[:0])) == 0


def test_other_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="4 or 16 octets, not 5"):
        CryptoPan(KEY1).transform(np.zeros((1, 5), np.uint8))
    with pytest.raises(CryptopanError, match="32 octets, not 4"):
        CryptoPan(b"abcd")


@pytest.mark.parametrize(("key", "salt"), [("", SALT), ("marked-key", "marked"), ("marked-key", "")])
def test_texts_that_make_no_key_are_not_repeated(key: str, salt: str) -> None:
    with pytest.raises(CryptopanError) as caught:
        derive(key, salt)
    assert "marked" not in str(caught.value)


def test_the_key_of_spools_is_another_one() -> None:
    key = derive_spool_key("key1", SALT)
    assert len(key) == 32
    assert key not in (KEY1, derive_spool_key("key2", SALT), derive_spool_key("key1", SALT[::-1]))
    with pytest.raises(CryptopanError):
        derive_spool_key("", SALT)


def test_a_salt_is_as_long_as_its_octets() -> None:
    assert isinstance(derive("key", "åäöå"), CryptoPan)


def test_texts_of_the_environment_count_as_their_octets() -> None:
    octets = b"k\xffy".decode(errors="surrogateescape")
    address = [bytes([192, 0, 2, 1])]
    assert transformed(derive(octets, SALT), address) != transformed(derive("ky", SALT), address)


def test_a_key_is_neither_shown_nor_stored() -> None:
    cryptopan = CryptoPan(KEY1)
    assert repr(cryptopan) == "<CryptoPan>"
    for store in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError):
            store(cryptopan)
