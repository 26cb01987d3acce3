"""What is done with client addresses, a block of frames at a time, against plain Python doing the same one by one.

Plain Python is helped by what an author of it would use: `mmh3` in C, AES by the same library, a dict as the cache, a
set for each row, the networks of `ipaddress`. Its figures are of fewer addresses where more would only take longer.
"""

import ipaddress
import time
from collections.abc import Callable
from functools import partial

import mmh3
import numpy as np
import pytest
from benching import ROUNDS, Ratios
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tapir.codec.cryptopan import CryptoPan
from tapir.kernels import compiled, murmur
from tapir.minimiser.addresses import AddressColumn
from tapir.minimiser.ignoring import parse_ignored_clients
from tapir.minimiser.pseudonyms import Pseudonymiser
from tapir.minimiser.sketches import ClientSketches

BLOCK = 1700
"""frames: 256 KiB of them"""
CLIENTS = 50_000
ROWS = 100_000
NEW_REACH, KNOWN_REACH, SKETCH_REACH, IGNORE_REACH = 0.1, 1.0, 0.3, 0.1
KEY, SEED = bytes(range(32)), bytes(range(16))

pytestmark = pytest.mark.skipif(not compiled(murmur), reason="the kernels are not compiled")


def clients(count: int, *, share: float, seed: int = 1) -> AddressColumn:
    """So many different addresses, this share of them IPv6."""
    generator = np.random.default_rng(seed)
    octets = generator.integers(0, 256, (count, 16), dtype=np.uint8)
    octets[:, 0] = 0x20
    sizes = np.where(generator.random(count) < share, 16, 4).astype(np.uint8)
    octets[sizes == 4, 4:] = 0
    return AddressColumn(octets=octets, sizes=sizes)


def zipf(count: int, size: int, exponent: float, seed: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """So many numbers below `size`, the small ones often."""
    weights = np.cumsum(1 / np.arange(1, size + 1) ** exponent)
    found: np.ndarray[tuple[int], np.dtype[np.intp]] = np.searchsorted(
        weights, np.random.default_rng(seed).random(count) * weights[-1]
    )
    return found


def packed(column: AddressColumn) -> list[bytes]:
    return [octets.tobytes()[:size] for octets, size in zip(column.octets, column.sizes.tolist(), strict=True)]


def blocks(column: AddressColumn) -> list[AddressColumn]:
    return [column.taken(np.arange(first, first + BLOCK)) for first in range(0, len(column) - BLOCK + 1, BLOCK)]


def seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def pseudonym(cipher: Cipher[modes.ECB], pad: int, address: bytes) -> bytes:
    bits = 8 * len(address)
    padded, whole = int.from_bytes(address) << (128 - bits), (1 << 128) - 1
    prefixes = [(padded & ~(whole >> n)) | (pad & (whole >> n)) for n in range(bits)]
    encrypted = cipher.encryptor().update(b"".join([prefix.to_bytes(16) for prefix in prefixes]))
    flips = int("".join(["1" if octet >> 7 else "0" for octet in encrypted[::16]]), 2)
    return (int.from_bytes(address) ^ flips).to_bytes(len(address))


@pytest.mark.parametrize(("name", "share", "aim"), [("IPv4", 0.0, 0.5), ("IPv6", 1.0, 0.15)])
def test_pseudonyms_of_new_addresses(name: str, share: float, aim: float) -> None:
    cipher = Cipher(algorithms.AES(KEY[:16]), modes.ECB())  # noqa: S305
    pad = int.from_bytes(cipher.encryptor().update(KEY[16:]))
    column = clients(10 * BLOCK, share=share)
    parts, plain = blocks(column), packed(column)[:300]
    assert packed(Pseudonymiser(CryptoPan(KEY), octets=0, seed=SEED).pseudonymise(column))[:300] == [
        pseudonym(cipher, pad, address) for address in plain
    ]
    ratios, rates = Ratios(f"{name} pseudonyms, none known, ours / plain Python"), []
    for _ in range(ROUNDS):
        pseudonymiser = Pseudonymiser(CryptoPan(KEY), octets=64 << 20, seed=SEED)
        own = seconds(partial(list, map(pseudonymiser.pseudonymise, parts))) / len(column)
        other = seconds(lambda: [pseudonym(cipher, pad, address) for address in plain]) / len(plain)
        rates.append(1e-6 / own)
        ratios.add(own * 1e6, other * 1e6)
    ratios.show("us", reach=f"{NEW_REACH}")
    print(f"{max(rates):.2f} M/s; aim {aim}")
    assert ratios.median < NEW_REACH


def test_pseudonyms_of_known_addresses() -> None:
    pool = clients(CLIENTS, share=0.4)
    column = pool.taken(zipf(100 * BLOCK, CLIENTS, 1, 2))
    parts, plain = blocks(column), packed(column)
    pseudonymiser = Pseudonymiser(CryptoPan(KEY), octets=64 << 20, seed=SEED)
    known = dict(zip(packed(pool), packed(pseudonymiser.pseudonymise(pool)), strict=True))
    for part in parts:
        pseudonymiser.pseudonymise(part)
    ends = np.cumsum([len(address) for address in plain]).tolist()
    data, places = b"".join(plain), list(zip([0, *ends], ends, strict=False))
    ratios, rates = Ratios("pseudonyms, all known, ours / a dict"), []
    for _ in range(ROUNDS):
        own = seconds(lambda: [pseudonymiser.pseudonymise(part) for part in parts]) / len(column)
        other = seconds(lambda: [known[data[start:end]] for start, end in places]) / len(plain)
        rates.append(1e-6 / own)
        ratios.add(own * 1e6, other * 1e6)
    ratios.show("us", reach=f"{KNOWN_REACH}")
    print(f"{max(rates):.1f} M/s; aim 10")
    assert ratios.median < KNOWN_REACH


def test_sketches_of_clients() -> None:
    column = clients(CLIENTS, share=0.4).taken(zipf(300 * BLOCK, CLIENTS, 1, 2))
    rows = zipf(len(column), ROWS, 0.9, 3).astype(np.uint32)
    parts, plain, plain_rows = blocks(column), packed(column), rows.tolist()

    def ours() -> ClientSketches:
        sketches = ClientSketches(ROWS, threshold=20, seed=SEED)
        for number, part in enumerate(parts):
            sketches.add(rows[number * BLOCK : (number + 1) * BLOCK], *part.clients())
        return sketches

    def python() -> dict[int, set[int]]:
        found: dict[int, set[int]] = {}
        for row, address in zip(plain_rows, plain, strict=True):
            hashed = mmh3.hash64(address, seed=0, x64arch=True, signed=False)[0]
            found.setdefault(row if len(address) == 4 else -1 - row, set()).add(hashed)
        return found

    ratios, rates = Ratios("hash and count clients by row, ours / mmh3 and sets"), []
    for _ in range(ROUNDS):
        own = seconds(ours) / len(column)
        rates.append(1e-6 / own)
        ratios.add(own * 1e6, seconds(python) / len(column) * 1e6)
    ratios.show("us", reach=f"{SKETCH_REACH}")
    sketches, sets = ours(), python()
    every = np.arange(ROWS, dtype=np.uint32)
    begun = time.perf_counter()
    columns = [sketches.column(every, family) for family in (4, 6)]
    took = time.perf_counter() - begun
    told = sum(len(each.data) for each in columns)
    print(f"{max(rates):.1f} M/s, {sketches.octets / 1e6:.1f} MB; stored in {took * 1e3:.0f} ms, {told / 1e6:.2f} MB")
    few = [row for row in range(ROWS) if len(sets.get(row, ())) <= 20]
    assert columns[0].counts[few].tolist() == [len(sets.get(row, ())) for row in few]
    assert ratios.median < SKETCH_REACH


def test_clients_to_ignore() -> None:
    generator = np.random.default_rng(4)
    lines = [f"{ipaddress.IPv4Address(int(value))}/{24 + value % 9}" for value in generator.integers(0, 1 << 32, 100)]
    lines += [f"2001:{value:x}::/32" for value in range(100)]
    listed = parse_ignored_clients("\n".join(lines).encode())
    networks = [ipaddress.ip_network(line, strict=False) for line in lines]
    column = clients(10 * BLOCK, share=0.4)
    parts, plain = blocks(column), packed(column)[:300]

    def python() -> list[bool]:
        addresses = [ipaddress.ip_address(octets) for octets in plain]
        return [any(address in network for network in networks) for address in addresses]

    assert listed.verdicts(column)[:300].astype(bool).tolist() == python()
    ratios, rates = Ratios("clients in a list of 200 networks, ours / ipaddress"), []
    for _ in range(ROUNDS):
        own = seconds(lambda: [listed.verdicts(part) for part in parts]) / len(column)
        rates.append(1e-6 / own)
        ratios.add(own * 1e6, seconds(python) / len(plain) * 1e6)
    ratios.show("us", reach=f"{IGNORE_REACH}")
    print(f"{max(rates):.1f} M/s")
    assert ratios.median < IGNORE_REACH
