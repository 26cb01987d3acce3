"""Crypto-PAn: addresses to pseudonyms that share a prefix exactly as far as the addresses do (Xu et al., 2002).

Bit i of a pseudonym is bit i of the address, flipped or not by AES-128 of the address's first i bits, the rest filled
from a secret pad. The key comes from two texts by Argon2id (RFC 9106), as the existing edge derives it.

The key is in no `repr`, message or error of this module.
"""

from typing import Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from numpy.typing import NDArray

from tapir.kernels.prefixes import fold, spread
from tapir.model.errors import TapirError

KEY_SIZE: Final = 32
SALT_LEAST: Final = 8
"""octets; RFC 9106 §3.1 asks for as many, and the library insists"""

_PART: Final = 1 << 19
"""octets to encrypt in one call: they stay in the processor's cache, and the call holds the interpreter"""

Octets = NDArray[np.uint8]


class CryptopanError(TapirError):
    """A text that no key can be derived from; the key that was there stays in use."""


class CryptoPan:
    """One key's pseudonyms. May be used by many threads."""

    __slots__ = ("_cipher", "_layers")

    def __init__(self, key: bytes) -> None:
        """`key` is KEY_SIZE octets: an AES-128 key, and what the pad is encrypted from."""
        if len(key) != KEY_SIZE:
            raise CryptopanError(f"a Crypto-PAn key has {KEY_SIZE} octets, not {len(key)}")
        # One block at a time, each by itself: what Crypto-PAn is defined by. Nothing is kept secret by the mode.
        self._cipher = Cipher(algorithms.AES(key[:16]), modes.ECB())  # noqa: S305
        pad = self._cipher.encryptor().update(key[16:])
        self._layers = {width: _layers(pad, 8 * width) for width in (4, 16)}

    def __repr__(self) -> str:
        return "<CryptoPan>"

    def __reduce__(self) -> str:
        raise TypeError("a Crypto-PAn key is not to be stored")

    def transform(self, addresses: Octets) -> Octets:
        """The pseudonyms of addresses, one a row of 4 octets (IPv4) or 16 (IPv6), in the same form.

        An IPv4 address costs 32 blocks of AES, IPv6 128: give each address once. Raises ValueError for rows of another
        length.
        """
        count, width = addresses.shape
        if width not in self._layers:
            raise ValueError(f"an address has 4 or 16 octets, not {width}")
        bits = 8 * width
        masks, pads = self._layers[width]
        octets = np.ascontiguousarray(addresses)
        words = np.zeros((count, 2), np.uint64)
        words.view(np.uint8)[:, :width] = octets
        pseudonyms = np.empty_like(octets)
        size = max(1, min(count, _PART // (16 * bits)))
        blocks = np.empty(16 * bits * size, np.uint8)
        encrypted = np.empty(len(blocks) + 15, np.uint8)  # the library asks for room for a block begun
        encryptor = self._cipher.encryptor()
        for first in range(0, count, size):
            part = slice(first, first + size)
            own = octets[part].reshape(-1)
            spread(words[part].reshape(-1).data, masks.data, pads.data, blocks.view(np.uint64).data)
            encryptor.update_into(blocks[: 128 * len(own)].data, encrypted.data)
            fold(encrypted.data, own.data, pseudonyms[part].reshape(-1).data)
        return pseudonyms


def derive(key: str, salt: str) -> CryptoPan:
    """The pseudonyms of the key that Argon2id makes of two texts (edm's `cryptopan-key` and `cryptopan-key-salt`).

    Takes a tenth of a second and 64 MiB: not on the event loop. Raises CryptopanError for texts it cannot be made of;
    it says neither.
    """
    return CryptoPan(_derived(key, salt, b""))


def derive_spool_key(key: str, salt: str) -> bytes:
    """A key of KEY_SIZE octets of the same two texts, for what nobody may read who does not have them.

    It tells nothing of the pseudonyms, nor they of it. Takes as long, and raises the same, as `derive`.
    """
    return _derived(key, salt, b"\0tapir edm spool")


def _derived(key: str, salt: str, purpose: bytes) -> bytes:
    if not key:
        raise CryptopanError("the Crypto-PAn key is empty")
    # What comes from the environment may be no UTF-8: it counts as its octets, and no codec's error repeats it.
    octets, secret = (text.encode(errors="surrogateescape") for text in (salt, key))
    if len(octets) < SALT_LEAST:
        # The existing edge takes shorter ones, against RFC 9106; no library that we could use does.
        raise CryptopanError(
            f"the salt of the Crypto-PAn key has {len(octets)} octets: it needs {SALT_LEAST} or more. A longer one "
            "makes other pseudonyms, from then on"
        )
    return Argon2id(salt=octets + purpose, length=KEY_SIZE, iterations=1, lanes=4, memory_cost=65536).derive(secret)


def _layers(pad: bytes, bits: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """For each length of prefix below `bits` the mask of the prefix, and the pad behind it; two words each."""
    every = (1 << 128) - 1
    masks = [every ^ (every >> length) for length in range(bits)]
    filling = int.from_bytes(pad)
    return (
        np.frombuffer(b"".join([mask.to_bytes(16) for mask in masks]), np.uint64),
        np.frombuffer(b"".join([(filling & ~mask).to_bytes(16) for mask in masks]), np.uint64),
    )
