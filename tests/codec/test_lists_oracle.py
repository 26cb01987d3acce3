"""The list parser against an oracle that is slow, and was written from the description rather than from the parser.

Every line that is no comment and not blank is used or refused, each once, under its own number.
"""

import random
import re
from array import array
from collections.abc import Iterator
from typing import Any, Final

import idna

from tapir.codec.lists import MAX_LINE, parse_domains

SINKS: Final = (
    b"0.0.0.0", b"127.0.0.1", b"::", b"::1", b"0", b"::0", b"0:0:0:0:0:0:0:0", b"0:0:0:0:0:0:0:1",
)  # fmt: skip
PIECES: Final = [
    b"a", b"b1", b"EXAMPLE", b"com", b"xn--bcher-kva", b"_dmarc", b"-x-", b"x" * 63, b"x" * 64, b"*", b"", b"1",
    b"127", b"\\046", b"\\.", b"\\*", b"\\065", b"\\256", b"\\", b"rpz-ip", b"\x00", b"#", b";", b"/",
    b"\xff", b"\x85", b"\x1c",
    *(text.encode() for text in ("bücher", "日本語", "ß", "。", "\u212a", "\u0130", "a\u0308", "\u00a0", "\ufeff",
                                 "\u200d", "\u00ad", "\uff0e")),
]  # fmt: skip


def spell(text: str) -> bytes:
    """The wire form of a name, character by character; ValueError where there is none."""
    if text == ".":
        return b"\0"
    if not text.isascii():
        mapped = idna.uts46_remap(text, std3_rules=False)
        text = ".".join(label if label.isascii() else idna.alabel(label).decode() for label in mapped.split("."))
    labels = [bytearray()]
    for token in re.findall(r"\\[0-9]{3}|\\.|.", text, re.DOTALL):
        if token == ".":
            labels.append(bytearray())
        elif token[0] == "\\":
            if token == "\\" or (len(token) == 2 and token[1] in "0123456789"):
                raise ValueError(text)
            labels[-1].append(int(token[1:]) if len(token) == 4 else ord(token[1:]))  # ValueError past 255
        elif re.match(r"[A-Za-z0-9_-]", token) or (token == "*" and text[:2] in ("*", "*.") and labels == [b""]):
            labels[-1].append(ord(token))
        else:
            raise ValueError(text)
    if len(labels) > 1 and not labels[-1]:
        labels.pop()
    wire = b"".join(bytes((len(label),)) + bytes(label).lower() for label in labels) + b"\0"
    if any(not 0 < len(label) < 64 for label in labels) or len(wire) > 255:
        raise ValueError(text)
    return wire


def meaning_of(word: bytes) -> list[bytes]:
    """The names that an entry stands for; ValueError where it is none."""
    text = word.decode()
    below = text[0] == "." != text
    both = text[:2] == "||"
    if both and text[-1] != "^":
        raise ValueError(text)
    name = spell(text[1:] if below else text[2:-1] if both else text)
    if not below and not both:
        if re.fullmatch(r"([0-9]{1,3}\.){3}[0-9]{1,3}", text):
            raise ValueError(text)
        return [name]
    if name.startswith(b"\x01*") or (below and (name == b"\0" or len(name) > 253)):
        raise ValueError(text)
    return [b"\x01*" + name] if below else [name, b"\x01*" + name][: 1 + (len(name) <= 253)]


def read_slowly(data: bytes) -> tuple[list[tuple[bytes, int]], list[int]]:
    """The names with their line numbers, and the numbers of the lines of which something is refused."""
    names: list[tuple[bytes, int]] = []
    refused: set[int] = set()
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        words = re.findall(rb"[^ \t\r\x0b\x0c]+", re.sub(rb"(^|[ \t\r\x0b\x0c])[#;].*", b"", line, flags=re.DOTALL))
        if len(line) > MAX_LINE:
            refused.add(number)
            continue
        commented = len(re.findall(rb"[^ \t\r\x0b\x0c]+", line)) > len(words)
        if len(words) > 1 or (commented and words and words[0] in SINKS):
            if words[0] not in SINKS:
                refused.add(number)
                continue
            words = words[1:] or words
        for word in words:
            try:
                names += [(name, number) for name in meaning_of(word)]
            except (ValueError, idna.IDNAError):
                refused.add(number)
    return names, sorted(refused)


def random_name(rng: random.Random) -> bytes:
    labels = (
        rng.choice(PIECES) if rng.random() < 0.8 else rng.randbytes(rng.randrange(4)).replace(b"\n", b"")
        for _ in range(rng.randrange(1, 6))
    )
    return b".".join(labels) + b"." * (rng.random() < 0.2)


def random_line(rng: random.Random) -> bytes:
    name = random_name(rng)
    hosts = b" ".join(rng.choice([random_name(rng), b"localhost", b"localhost.localdomain"]) for _ in range(3))
    return rng.choice(
        [
            name, name, b"*." + name, b"." + name, b"||" + name + b"^", b"||" + name + b"^", b"||" + name,
            b"||" + name + b"^$third-party", rng.choice(SINKS) + b"\t" + hosts, rng.choice(SINKS) + b" " + name,
            b"192.0.2.1 " + name, b"#" + name, b" ; " + name, b"! " + name, name + b" # why", name + b"#why", b"", b" ",
            name + b" " * rng.randrange(4080, 4100), b"x" * rng.choice([4095, 4096, 4097, 65536, 200_000]),
            name + b"\r" + name, rng.randbytes(rng.randrange(20)).replace(b"\n", b""),
        ]
    )  # fmt: skip


def in_blocks(data: bytes, rng: random.Random) -> Iterator[bytes]:
    start = 0
    while start < len(data):
        width = rng.choice([1, 7, MAX_LINE, (1 << 16) - 1, 1 << 16, 1 << 20])
        yield data[start : start + width]
        start += width


def test_every_line_is_used_or_refused_under_its_number(campaign: Any) -> None:
    rng = campaign.random()
    for _ in range(campaign.rounds(200)):
        mark = b"\xef\xbb\xbf" if rng.random() < 0.3 else b""
        data = mark + b"".join(random_line(rng) + rng.choice([b"\n", b"\n", b"\r\n"]) for _ in range(500))
        data = data.removesuffix(b"\n") if rng.random() < 0.5 else data
        names, refused = read_slowly(data)
        for parsed in (parse_domains(data), parse_domains(in_blocks(data, rng))):
            assert list(zip(parsed.names, array("I", parsed.lines), strict=True)) == names
            assert [refusal.count for refusal in parsed.refusals] == [len(refused)]
            assert parsed.refusals[0].lines == tuple(refused[:10])
