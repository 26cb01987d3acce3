"""Sources absent, slow and broken at the start, also after `kill -9`: what a secondary sees meanwhile."""

import os
from pathlib import Path

import dns.rcode
import pytest

pytestmark = pytest.mark.interop


def test_until_a_first_version_exists_the_zone_answers_servfail(pop, wait_until):
    pop.add_source("deny", "denylist", ["bad.example"])
    pop.add_source("allow", "allowlist", None)
    pop.start(wait=False)
    wait_until(lambda: "allow" in pop.daemon.output() and "not ready" in pop.daemon.output(), what="the missing list")
    for rdtype, tcp in (("SOA", False), ("SOA", True), ("AXFR", True)):
        assert pop.ask("dnstapir.", rdtype, tcp=tcp).rcode() == dns.rcode.SERVFAIL
    status = pop.status()
    assert not status["health"]["ready"]
    assert any("allow" in reason for reason in status["health"]["reasons"])
    assert status["zone"]["serial"] is None

    pop.write_list("allow", ["good.example"])
    wait_until(pop.serial, what="the first version")
    assert pop.axfr()[1] == {"bad.example.": "NXDOMAIN"}
    wait_until(lambda: pop.status()["health"]["ready"], what="the health to say so")


def test_an_allowlist_that_is_not_required_is_not_waited_for_past_the_deadline(pop, wait_until):
    pop.extra["start-deadline"] = 5
    pop.add_source("deny", "denylist", ["bad.example"])
    pop.add_source("allow", "allowlist", None, required=False)
    pop.start()
    assert pop.axfr()[1] == {"bad.example.": "NXDOMAIN"}
    (source,) = [source for source in pop.status()["sources"]["sources"] if source["id"] == "allow"]
    assert source["error"]


@pytest.mark.parametrize("absent", ["allow", "deny", "doubt"])
@pytest.mark.parametrize("how", ["absent", "slow", "broken"])
def test_after_kill_9_a_missing_source_changes_nothing(pop, wait_until, absent, how):
    pop.add_source("deny", "denylist", ["bad.example", "both.example"])
    pop.add_source("allow", "allowlist", ["both.example"])
    pop.add_source("doubt", "doubtlist", ["shady.example"])
    pop.add_source("doubt2", "doubtlist", ["shady.example"])
    pop.start()
    content = pop.axfr()
    assert content[1] == {"bad.example.": "NXDOMAIN", "shady.example.": "NODATA"}
    pop.kill()

    path = Path(pop.sources[absent]["filename"])
    path.unlink()
    if how == "slow":
        os.mkfifo(path)  # who opens it to read waits for a writer
    elif how == "broken":
        path.mkdir()
    pop.start()
    assert pop.axfr() == content
    wait_until(
        lambda: next(s for s in pop.status()["sources"]["sources"] if s["id"] == absent)["error"],
        what="the missing source to be flagged",
    )
    assert pop.axfr() == content
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
    pop.write_list(absent, ["both.example"])
    expected = {
        "allow": {"bad.example.": "NXDOMAIN", "shady.example.": "NODATA"},
        "deny": {"shady.example.": "NODATA"},
        "doubt": {"bad.example.": "NXDOMAIN"},
    }[absent]
    wait_until(lambda: pop.axfr()[1] == expected, what="what the lists say now")
    assert pop.stop() == 0


def test_a_second_process_is_refused_naming_the_first(pop, make_pop):
    pop.add_source("deny", "denylist", ["bad.example"])
    pop.start()
    second = make_pop()
    second.sources = pop.sources
    second.write_config()
    result = pop.command("run", "--config-dir", str(second.config_dir), check=False)
    assert result.returncode == 1
    assert str(pop.daemon.process.pid) in result.stderr
    assert pop.serial() == 1


def test_it_stops_in_order_with_exit_0(pop):
    pop.add_source("deny", "denylist", ["bad.example"])
    pop.start()
    assert pop.stop() == 0
    log = pop.daemon.output()
    order = [log.rindex(f"stopped {path}") for path in ("sources/deny", "evaluator/policy", "authority/keeper")]
    assert order == sorted(order)
    assert not (pop.state_dir / "console.sock").exists()
