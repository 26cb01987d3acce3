"""What every test may lean on: Hypothesis profiles, real peers, campaigns.

Fixtures
    require_peer("unbound")   the path of a real program; skips with the reason where it is not installed, fails with
                              TAPIR_REQUIRE_PEERS=1, because a CI that skips its peers says nothing
    campaign                  how long to hunt and with which seed: `campaign.rounds(400)` is 20, or 400 in full

Environment
    CI                        Hypothesis' profile `ci` and one seed for campaigns: the same examples each time, so that
                              red means a change of ours
    TAPIR_REQUIRE_PEERS=1     a peer that is missing is a failure
    TAPIR_CAMPAIGN=full       campaigns in full, Hypothesis with a hundred times the examples
    TAPIR_SEED=N              the seed of campaigns; without it, and outside CI or in full, a fresh one, printed in the
                              head of the report
"""

import os
import random
import resource
import secrets
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["peers"]

TESTS = Path(__file__).resolve().parent
FULL = os.environ.get("TAPIR_CAMPAIGN") == "full"
CI = bool(os.environ.get("CI"))
SEED = int(os.environ.get("TAPIR_SEED") or (5359 if CI and not FULL else secrets.randbelow(2**32)))

# No deadline anywhere: two busy cores make any example, or its making, slow now and then, and that is no bug.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
_UNHURRIED = settings.get_profile("unhurried")
settings.register_profile("dev", _UNHURRIED)
settings.register_profile("ci", _UNHURRIED, derandomize=True, database=None, print_blob=True)
settings.register_profile("campaign", _UNHURRIED, max_examples=10_000, print_blob=True)
settings.load_profile("campaign" if FULL else "ci" if CI else "dev")

# Where Debian keeps daemons, which an ordinary user's PATH leaves out.
_SYSTEM_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/sbin")

# A peer goes by the name that people use; the program may be called otherwise.
PEERS = {
    "unbound": "unbound",
    "bind": "named",
    "knot": "knotd",
    "nsd": "nsd",
    "pdns-recursor": "pdns_recursor",
    "mosquitto": "mosquitto",
    "nats-server": "nats-server",
    "fstrm": "fstrm_capture",
    "dnsperf": "dnsperf",
    "dig": "dig",
}


def find_program(name: str) -> str | None:
    """The path of the program `name`, also where only root's PATH would find it."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *_SYSTEM_FOLDERS))
    return shutil.which(PEERS.get(name, name), path=path)


@pytest.fixture(scope="session")
def require_peer() -> Callable[[str], str]:
    """`require_peer(name)` is the path of a real peer, a key of PEERS or any program; without it the test ends here."""

    def require(name: str) -> str:
        found = find_program(name)
        if found is not None:
            return found
        reason = f"the peer {name} ({PEERS.get(name, name)}) is not installed"
        if os.environ.get("TAPIR_REQUIRE_PEERS") == "1":
            pytest.fail(f"{reason}, and TAPIR_REQUIRE_PEERS=1 wants it")
        pytest.skip(reason)

    return require


@attrs.frozen(kw_only=True)
class Campaign:
    """How long a campaign hunts, and the seed that repeats it: `TAPIR_SEED=<seed>`."""

    full: bool
    seed: int

    def rounds(self, full: int) -> int:
        """`full` rounds by `make campaign`; about a twentieth, at least one, otherwise."""
        return full if self.full else max(1, full // 20)

    def random(self) -> random.Random:
        """A generator that starts from the campaign's seed: the same for each test, whatever ran before it."""
        return random.Random(self.seed)


@pytest.fixture
def campaign() -> Campaign:
    """The campaign of this run; the seed is printed, so that pytest shows it beside a failure."""
    # Thousands of connections need as many files, often at both ends, and an account starts with 1,024.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(f"campaign seed: TAPIR_SEED={SEED}")
    return Campaign(full=FULL, seed=SEED)


def pytest_report_header() -> list[str]:
    """Say what this run can and cannot show."""
    missing = [name for name in PEERS if find_program(name) is None]
    return [
        f"hypothesis profile: {settings.get_current_profile_name()}; campaigns: {'full' if FULL else 'a twentieth'}, "
        f"TAPIR_SEED={SEED}",
        f"peers missing: {', '.join(missing) or 'none'}",
    ]


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """What is under tests/interop talks with the real world, and who asks for a campaign is one; marked or not."""
    for item in items:
        if item.path.is_relative_to(TESTS / "interop"):
            item.add_marker(pytest.mark.interop)
        if "campaign" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.campaign)
