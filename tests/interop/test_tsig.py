"""dig and kdig take the zone signed and over TLS, and get nothing where a key, a secret or a clock is wrong."""

import base64
import json
import re
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import dns.tsig
import pytest
from certificates import Authority
from peers import ZONE, Pop

NAMES = [f"n{number}.example" for number in range(2_000)]
SECRET = base64.b64encode(bytes(range(64))).decode()
WRONG = base64.b64encode(bytes(64)).decode()
KEYS = {"hmac-sha256": "k256.test", "hmac-sha384": "k384.test", "hmac-sha512": "k512.test", "hmac-sha224": "k224.test"}

pytestmark = pytest.mark.interop


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def secure(pop: Pop, authority: Authority, free_port: Callable[[], int]) -> Pop:
    """A product that gives the zone to whoever signs, or comes over TLS with a client certificate."""
    pair = authority.issue("pop.example")
    for algorithm, name in KEYS.items():
        path = pop.directory / f"{name}.key"
        path.write_text(f'key "{name}" {{\n\talgorithm {algorithm};\n\tsecret "{SECRET}";\n}};\n')
        path.chmod(0o600)
    pop.extra = {
        "keys": {
            name: {"algorithm": algo, "secret-file": str(pop.directory / f"{name}.key")} for algo, name in KEYS.items()
        },
        "dnsengine": {
            "addresses": [f"127.0.0.1:{pop.port}"],
            "access": [
                {"from": ["127.0.0.0/8"], "key": list(KEYS.values())},
                {"from": ["127.0.0.0/8"], "client-certificate": True, "allow": ["soa", "axfr"]},
                {"from": ["127.0.0.0/8"], "allow": ["soa"]},
            ],
            "tls": {
                "addresses": [f"127.0.0.1:{free_port()}"],
                "certificate": str(pair.certificate),
                "key": str(pair.key),
                "client-ca": str(authority.ca),
            },
        },
    }
    pop.add_source("deny", "denylist", NAMES)
    pop.start()
    return pop


def run(program: str, *words: object) -> str:
    done = subprocess.run([program, *map(str, words)], capture_output=True, text=True, timeout=120, check=False)
    return done.stdout + done.stderr


def signed_soa(pop: Pop) -> int:
    query = dns.message.make_query(f"{ZONE}.", "SOA")
    query.use_tsig(dns.tsig.Key("k256.test.", base64.b64decode(SECRET), "hmac-sha256"))
    answer = dns.query.udp(query, "127.0.0.1", port=pop.port, timeout=30)
    assert answer.had_tsig
    serial: int = answer.answer[0][0].serial
    return serial


@pytest.mark.parametrize("program", ["dig", "kdig"])
def test_queries_and_transfers_are_signed(secure: Pop, require_peer: Callable[[str], str], program: str) -> None:
    path = require_peer(program)
    serial = signed_soa(secure)
    to = ("@127.0.0.1", "-p", secure.port)
    for algorithm, name in KEYS.items():
        key = ("-y", f"{algorithm}:{name}:{SECRET}")
        for way in ("+tcp", "+notcp"):
            said = run(path, *to, *key, way, "SOA", f"{ZONE}.")
            assert "NOERROR" in said
            assert str(serial) in said
        said = run(path, *to, *key, "+tcp", "AXFR", f"{ZONE}.")
        assert said.count("\tCNAME\t") == len(NAMES), said[-2000:]
        # Both check every MAC of a transfer, and complain.
        assert not {word for word in ("verify", "warning", "failed") if word in said.lower()}
        # As a word, and as it is written: "bad" alone stands in some MAC or other, all of which are shown.
        assert not re.search(r"\bBAD(SIG|KEY|TIME|TRUNC)\b", said)
        said = run(path, *to, *key, "+tcp", f"IXFR={serial}", f"{ZONE}.")
        assert (str(serial) in said, said.count("\tCNAME\t")) == (True, 0)
    status = secure.status()["server"]
    refusals = status["refusals"]
    assert not refusals, json.dumps(status)


@pytest.mark.parametrize("program", ["dig", "kdig"])
def test_a_wrong_key_or_secret_gets_nothing(secure: Pop, require_peer: Callable[[str], str], program: str) -> None:
    path = require_peer(program)
    to = ("@127.0.0.1", "-p", secure.port)
    for key, error in (
        (f"hmac-sha256:k256.test:{WRONG}", "BADSIG"),
        (f"hmac-sha256:other.test:{SECRET}", "BADKEY"),
        (f"hmac-sha512:k256.test:{SECRET}", "BADKEY"),
    ):
        said = run(path, *to, "-y", key, "+tcp", "AXFR", f"{ZONE}.")
        assert "CNAME" not in said
        said = run(path, *to, "-y", key, "SOA", f"{ZONE}.")
        assert error in said
    assert "CNAME" not in run(path, *to, "+tcp", "AXFR", f"{ZONE}.")
    assert "REFUSED" in run(path, *to, "A", f"n1.example.{ZONE}.")
    assert "NOERROR" in run(path, *to, "SOA", f"{ZONE}.")


def test_a_clock_that_is_wrong_is_told_so(secure: Pop, monkeypatch: pytest.MonkeyPatch) -> None:
    key = dns.tsig.Key("k512.test.", base64.b64decode(SECRET), "hmac-sha512")
    now = time.time()
    for skew, ok in ((-400, False), (400, False), (-200, True), (200, True)):
        query = dns.message.make_query(f"{ZONE}.", "SOA")
        query.use_tsig(key)
        with monkeypatch.context() as patch:
            patch.setattr("dns.message.time.time", lambda skew=skew: now + skew)
            answer = exchange(query.to_wire(), secure.port)
            if ok:
                read = dns.message.from_wire(answer, keyring={key.name: key}, request_mac=query.mac)
                assert read.rcode() == dns.rcode.NOERROR
            else:
                # dnspython checks the MAC of the error first: a forged one would be PeerBadSignature or BadSignature.
                with pytest.raises(dns.tsig.PeerBadTime):
                    dns.message.from_wire(answer, keyring={key.name: key}, request_mac=query.mac)


def exchange(wire: bytes, port: int) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(30)
        sock.sendto(wire, ("127.0.0.1", port))
        return sock.recv(65535)


def test_kdig_transfers_over_tls(secure: Pop, require_peer: Callable[[str], str], authority: Authority) -> None:
    path = require_peer("kdig")
    port = secure.extra["dnsengine"]["tls"]["addresses"][0].rpartition(":")[2]
    to = ("@127.0.0.1", "-p", port, f"+tls-ca={authority.ca}", "+tls-hostname=pop.example")
    ours = authority.issue("secondary.example")
    shown = (f"+tls-certfile={ours.certificate}", f"+tls-keyfile={ours.key}")
    key = ("-y", f"hmac-sha256:k256.test:{SECRET}")
    assert "NOERROR" in run(path, *to, "SOA", f"{ZONE}.")
    assert "REFUSED" in run(path, *to, "AXFR", f"{ZONE}.")
    for way in (shown, key, (*shown, *key)):
        said = run(path, *to, *way, "AXFR", f"{ZONE}.")
        assert said.count("\tCNAME\t") == len(NAMES), said[-2000:]
    assert "REFUSED" in run(path, *to, *shown, "IXFR=1", f"{ZONE}.")
    counters = dict(secure.status()["server"]["counters"])
    assert counters["connections_tls"] == 6


def test_a_renewed_certificate_and_a_new_secret_come_with_a_reload(
    secure: Pop, require_peer: Callable[[str], str], authority: Authority, wait_until: Callable[..., object]
) -> None:
    path = require_peer("kdig")
    tls = secure.extra["dnsengine"]["tls"]
    to = ("@127.0.0.1", "-p", tls["addresses"][0].rpartition(":")[2], f"+tls-ca={authority.ca}")
    renewed = authority.issue("renewed.example")
    for file, new in ((tls["certificate"], renewed.certificate), (tls["key"], renewed.key)):
        Path(file).write_bytes(new.read_bytes())
    (secure.directory / "k256.test.key").write_text(WRONG)
    secure.reload()
    wait_until(
        lambda: "NOERROR" in run(path, *to, "+tls-hostname=renewed.example", "SOA", f"{ZONE}."), what="the certificate"
    )
    plain = ("@127.0.0.1", "-p", secure.port, "+tcp", "AXFR", f"{ZONE}.")
    assert "CNAME" not in run(path, *plain, "-y", f"hmac-sha256:k256.test:{SECRET}")
    assert "CNAME" in run(path, *plain, "-y", f"hmac-sha256:k256.test:{WRONG}")
    # Half a renewal: the log says it, and what was there is used on.
    Path(tls["key"]).write_text("half a")
    secure.reload()
    assert secure.daemon is not None
    daemon = secure.daemon
    wait_until(lambda: "dnsengine.tls.certificate" in daemon.output(), what="the log to say it")
    assert "NOERROR" in run(path, *to, "+tls-hostname=renewed.example", "SOA", f"{ZONE}.")
    for text in (SECRET, WRONG):
        assert text not in daemon.output()
