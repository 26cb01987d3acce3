"""unbound and BIND that tell of their answers by dnstap, a world behind them, and questions with what comes of them."""

import random
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import attrs
import dns.exception
import dns.message
import dns.query
import dns.rcode
import pytest
from peers import Daemon, free_port, wait_until

PROBE: Final = "probe.nowhere."
TYPES: Final = {"A": "a", "AAAA": "aaaa", "MX": "mx", "NS": "ns", "TXT": "other_type"}

_UNBOUND: Final = """
server:
    interface: 127.0.0.1@{port}
    do-daemonize: no
    use-syslog: no
    username: ""
    chroot: ""
    directory: "{directory}"
    pidfile: ""
    num-threads: 1
    num-queries-per-thread: 4096
    do-not-query-localhost: no
    qname-minimisation: no
    local-zone: "refused." always_refuse
remote-control:
    control-enable: no
forward-zone:
    name: "."
    forward-addr: 127.0.0.1@{internet}
dnstap:
    dnstap-enable: yes
    dnstap-send-identity: no
    dnstap-log-client-response-messages: yes
    {output}
"""
_BIND: Final = """
options {{
    directory "{directory}"; pid-file none; session-keyfile none; lock-file none;
    listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
    recursion yes; allow-query {{ any; }}; forwarders port {internet} {{ 127.0.0.1; }}; forward only;
    recursive-clients 10000; clients-per-query 0; max-clients-per-query 0;
    dnssec-validation no; empty-zones-enable no; minimal-responses yes;
    dnstap {{ client response; }};
    dnstap-output {output};
    fstrm-set-input-queue-size 16384; fstrm-set-output-queue-size 1024; fstrm-set-reopen-interval 1;
}};
controls {{ }};
"""
_WORLD: Final = """
. 3600 IN SOA a. b. 1 60 60 600 3600
. 3600 IN NS ns.
ns. 3600 IN A 127.0.0.1
*.known. 3600 IN A 192.0.2.1
*.known. 3600 IN MX 10 mx.known.
*.wild. 3600 IN A 192.0.2.1
*.other. 3600 IN A 192.0.2.1
"""


@attrs.frozen
class Question:
    """A name and a type, as they are asked."""

    name: str
    rdtype: str


@attrs.frozen(kw_only=True)
class Questions:
    """What is asked, which names are well known, and what must come of it."""

    asked: tuple[Question, ...]
    well_known: tuple[str, ...]
    histogram: dict[str, Counter[str]]
    new: frozenset[str]
    """the names that are not well known, in lower case"""

    @property
    def counted(self) -> int:
        """How many land in a histogram."""
        return sum(1 for question in self.asked if question.name.lower() not in self.new)


def make_questions(count: int, rng: random.Random, *, refused: bool) -> Questions:
    """So many questions: most of them for well-known names, some of those below a wildcard, some that do not exist."""
    known = [f"k{number}.known." for number in range(200)]
    gone = [f"k{number}.gone." for number in range(20)]
    no = [f"k{number}.refused." for number in range(5)] if refused else []
    asked: list[Question] = []
    histogram: dict[str, Counter[str]] = {}
    new: set[str] = set()
    for number in range(count):
        rdtype = rng.choices(tuple(TYPES), (50, 30, 8, 6, 6))[0]
        match rng.choices(("known", "gone", "refused", "wild", "new"), (70, 8, 2 if no else 0, 8, 12))[0]:
            case "known":
                name = row = rng.choices(known, [1 / rank for rank in range(1, 201)])[0]
            case "gone":
                name = row = rng.choice(gone)
            case "refused":
                name = row = rng.choice(no)
            case "wild":
                name, row = f"w{rng.randrange(50)}.{rng.choice(('a', 'b.c'))}.wild.", ".wild."
            case _:
                # Some come again, and in other letters.
                name, row = f"n{number - number % rng.choice((1, 1, 5))}.other.", ""
                new.add(name)
        if row:
            rcode = "nx" if row.endswith("gone.") else "other_rcode" if row.endswith("refused.") else "ok"
            histogram.setdefault(row, Counter()).update((f"{TYPES[rdtype]}_count", f"{rcode}_count"))
        asked.append(Question(name.upper() if rng.random() < 0.1 else name, rdtype))
    return Questions(
        asked=tuple(asked), well_known=(*known, *gone, *no, ".wild."), histogram=histogram, new=frozenset(new)
    )


@attrs.define(kw_only=True)
class Tapped:
    """A resolver that tells of its answers to clients."""

    daemon: Daemon
    port: int
    directory: Path

    def probe(self) -> bool:
        """Whether it answers; the question is for PROBE."""
        assert self.daemon.alive(), self.daemon.output()
        try:
            dns.query.udp(dns.message.make_query(PROBE, "A"), "127.0.0.1", port=self.port, timeout=0.5)
        except (OSError, dns.exception.DNSException):
            return False
        return True

    def ask_all(self, dnsperf: str, questions: Questions, *, rate: int) -> None:
        """Have each question asked and answered once, by dnsperf, `rate` a second."""
        path = self.directory / "questions"
        path.write_text("".join(f"{question.name} {question.rdtype}\n" for question in questions.asked))
        words = [dnsperf, "-s", "127.0.0.1", "-p", str(self.port), "-d", str(path), "-n", "1"]
        words += ["-c", "4", "-q", "100", "-t", "30", "-Q", str(rate)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=600, check=True)
        completed = re.search(r"Queries completed:\s+(\d+)", done.stdout)
        assert completed is not None, done.stdout
        assert int(completed[1]) == len(questions.asked), done.stdout


@pytest.fixture
def world(tmp_path: Path, daemons: list[Daemon], require_peer: Callable[[str], str]) -> int:
    """The port of an authoritative server for all names (knotd)."""
    knotd = require_peer("knotd")
    directory = tmp_path / "world"
    directory.mkdir()
    port = free_port()
    (directory / "root.zone").write_text(_WORLD)
    (directory / "knot.conf").write_text(
        f"server:\n    rundir: {directory}\n    listen: 127.0.0.1@{port}\n"
        f"database:\n    storage: {directory}\n"
        "log:\n  - target: stderr\n    any: info\n"
        f"zone:\n  - domain: .\n    storage: {directory}\n    file: root.zone\n"
    )
    daemon = Daemon.start("knotd", [knotd, "-c", "knot.conf"], directory=directory)
    daemons.append(daemon)

    def serves() -> bool:
        assert daemon.alive(), daemon.output()
        try:
            answer = dns.query.udp(dns.message.make_query("k.known.", "A"), "127.0.0.1", port=port, timeout=0.5)
        except (OSError, dns.exception.DNSException):
            return False
        return answer.rcode() == dns.rcode.NOERROR

    wait_until(serves, what="knotd to answer")
    return port


@pytest.fixture
def start_tapped(
    tmp_path: Path, daemons: list[Daemon], world: int, require_peer: Callable[[str], str]
) -> Iterator[Callable[[str, str], Tapped]]:
    """Starts `unbound` or `bind` with these lines that say where dnstap goes."""
    made: list[Tapped] = []

    def start(peer: str, output: str) -> Tapped:
        program, port = require_peer(peer), free_port()
        directory = tmp_path / f"{peer}{len(made)}"
        directory.mkdir()
        text = {"unbound": _UNBOUND, "bind": _BIND}[peer]
        config = directory / f"{peer}.conf"
        config.write_text(text.format(port=port, directory=directory, internet=world, output=output))
        words = {"unbound": ["-d", "-p", "-c"], "bind": ["-g", "-n", "1", "-U", "1", "-c"]}[peer]
        daemon = Daemon.start(peer, [program, *words, str(config)], directory=directory)
        daemons.append(daemon)
        made.append(Tapped(daemon=daemon, port=port, directory=directory))
        wait_until(made[-1].probe, what=f"{peer} to answer")
        return made[-1]

    yield start
    for resolver in made:
        if resolver.daemon.alive():
            resolver.daemon.kill()
