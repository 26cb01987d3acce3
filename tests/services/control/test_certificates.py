import datetime as dt
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from certificates import Authority, Pair

from actors import ActorSpec, ActorSystem, MailboxSpec, ManualClock, Overflow, Strategy, SupervisorSpec
from actors.testing import Probe, probe
from tapir.model.messages.events import ClearEvent, EventKind, RaiseEvent
from tapir.services.control.certificates import (
    CertificateKeeper,
    CertificateSettings,
    ConfigureCertificates,
    WatchedFile,
    look_at,
)

BOX = MailboxSpec(capacity=64, overflow=Overflow.REJECT)
DAY = 86_400 * 1_000_000
LABEL = "tapir.mqtt.clientcert"
ENDS, UNUSABLE = EventKind.CERTIFICATE_EXPIRES, EventKind.RENEWAL_FAILED


def now() -> int:
    return int(dt.datetime.now(dt.UTC).timestamp() * 1_000_000)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def pair(authority: Authority) -> Pair:
    """A certificate for two days."""
    return authority.issue("edge.example")


def watched(pair: Pair) -> WatchedFile:
    return WatchedFile(label=LABEL, path=pair.certificate, key=pair.key)


def test_a_certificate_is_good_until_it_ends_soon(pair: Pair):
    assert look_at(watched(pair), 1, now()) == look_at(watched(pair), 0, now())
    assert look_at(watched(pair), 1, now()).ends == ""
    soon = look_at(watched(pair), 2, now())
    assert f"the certificate {pair.certificate} of edge.example ends at" in soon.ends
    # It is the same sentence as long as it is the same certificate: Core hears it once, not every hour.
    assert look_at(watched(pair), 2, now() + DAY) == soon
    assert "ended at" in look_at(watched(pair), 0, now() + 3 * DAY).ends


def test_authorities_are_good_while_one_of_them_is(authority: Authority, tmp_path: Path):
    file = WatchedFile(label="tapir.mqtt.cacert", path=authority.ca)
    assert f"the CA certificates {file.path} end at" in look_at(file, 2, now()).ends
    assert look_at(file, 1, now()).ends == ""


def test_what_cannot_be_used_says_why(pair: Pair, authority: Authority, tmp_path: Path):
    other = authority.issue("other.example")
    assert "cannot be read" in look_at(WatchedFile(label=LABEL, path=tmp_path / "none"), 1, now()).unusable
    mismatch = WatchedFile(label=LABEL, path=pair.certificate, key=other.key)
    assert "key values mismatch" in look_at(mismatch, 1, now()).unusable
    assert "no certificate" in look_at(WatchedFile(label=LABEL, path=pair.key), 1, now()).unusable


class Rig:
    def __init__(self, settings: CertificateSettings) -> None:
        self.wall = ManualClock(now())
        self.system = ActorSystem(clock=self.wall)
        self.events: Probe = probe()
        self.ref = self.system.ref("certificates")
        self.tree = SupervisorSpec(
            name="test",
            strategy=Strategy.ONE_FOR_ONE,
            children=(
                self.events.spec("events"),
                ActorSpec(
                    name="certificates",
                    factory=lambda: CertificateKeeper(settings, events=self.system.ref("events")),
                    mailbox=BOX,
                ),
            ),
        )

    def standing(self) -> dict[tuple[EventKind, str], str]:
        """What was said last of each."""
        return {(each.kind, each.subject): getattr(each, "text", "") for each in self.events.messages}


@asynccontextmanager
async def running(*files: WatchedFile, warning_days: int = 1) -> AsyncIterator[Rig]:
    rig = Rig(CertificateSettings(watched=files, warning_days=warning_days))
    async with trio.open_nursery() as nursery:
        await nursery.start(rig.system.run, rig.tree)
        yield rig
        rig.system.request_stop()


async def test_what_is_good_is_cleared_until_it_ends_soon(pair: Pair, autojump_clock: Any):
    async with running(watched(pair)) as rig:
        await trio.sleep(10)
        assert rig.events.messages == [
            ClearEvent(kind=UNUSABLE, subject=LABEL),
            ClearEvent(kind=ENDS, subject=LABEL),
        ]
        await trio.sleep(36 * 3600)
        assert "ends at" in rig.standing()[ENDS, LABEL]
        assert rig.standing()[UNUSABLE, LABEL] == ""


async def test_a_replaced_certificate_clears_it(pair: Pair, authority: Authority, autojump_clock: Any):
    async with running(watched(pair), warning_days=30) as rig:
        await trio.sleep(10)
        assert "ends at" in rig.standing()[ENDS, LABEL]
        await rig.ref.ask(ConfigureCertificates(settings=CertificateSettings(watched=(watched(pair),), warning_days=1)))
        await trio.sleep(10)
        assert rig.standing()[ENDS, LABEL] == ""


async def test_half_a_replacement_is_given_time(pair: Pair, authority: Authority, autojump_clock: Any):
    other = authority.issue("other.example")
    async with running(watched(pair)) as rig:
        await trio.sleep(10)
        shutil.copy(other.certificate, pair.certificate)
        await trio.sleep(3600)
        assert rig.standing()[UNUSABLE, LABEL] == "", "it may just be replaced"
        shutil.copy(other.key, pair.key)
        await trio.sleep(100)
        assert not [each for each in rig.events.messages if isinstance(each, RaiseEvent)]
        shutil.copy(authority.ca, pair.certificate)
        await trio.sleep(3700)
        assert "mismatch" in rig.standing()[UNUSABLE, LABEL]
        shutil.copy(other.certificate, pair.certificate)
        await trio.sleep(3600)
        assert rig.standing()[UNUSABLE, LABEL] == ""


async def test_what_is_no_longer_configured_is_cleared(tmp_path: Path, autojump_clock: Any):
    gone = WatchedFile(label=LABEL, path=tmp_path / "none")
    async with running(gone) as rig:
        await trio.sleep(70)
        assert "cannot be read" in rig.standing()[UNUSABLE, LABEL]
        await rig.ref.ask(ConfigureCertificates(settings=CertificateSettings(watched=())))
        await trio.sleep(1)
        assert set(rig.standing().values()) == {""}
