import json

import httpx
import pytest
import trio
from api_pop import KEY, Parts, RefusedError, api_pop, source
from go_client import STRUCTS, GoCli, UnmarshalError, unmarshal

from tapir.model.actions import Action, ListKind
from tapir.model.blocks import ListBlock, ObservationBlock
from tapir.model.messages.control import GetHealth, HealthStatus
from tapir.model.messages.feeds import FeedStatus, GetFeed
from tapir.model.messages.lists import GetListNames
from tapir.model.messages.local import (
    GetOverrides,
    Override,
    OverrideChange,
    OverridesStatus,
    RemoveOverride,
    SetOverride,
)
from tapir.model.messages.mqtt import GetMqtt, MqttStatus, SetMqttActive, TopicStatus
from tapir.model.messages.observations import GetObservationsExport, ObservationsExport
from tapir.model.messages.policy import Explain, Explanation, ListHit
from tapir.model.messages.telemetry import (
    ComponentState,
    ComponentStatus,
    FunctionStatus,
    GetFunctionStatus,
    SetComponent,
)
from tapir.model.messages.zone import GetZone, SetSerial
from tapir.model.names import format_name, parse_name
from tapir.services.control.documents import merge_pages
from tapir.services.control.routes_names import PAGE

DENIED = Override(entry="bad.example.", kind=ListKind.DENY, user="the API", at=1, until=None, reason="")
MQTT = MqttStatus(
    broker="mqtts://broker.example:8883",
    client_id="x",
    state="connected",
    version="5",
    since=1,
    trouble="",
    retry_at=None,
    connections=1,
    topics=(
        TopicStatus(
            filter="observations/down/tapir-pop",
            consumer="sources/t",
            qos=1,
            granted=True,
            refused="",
            messages=12,
            octets=1000,
            latest_at=1_700_000_000_000_000,
        ),
    ),
    published=0,
    unacknowledged=0,
    counters=(),
)


async def test_ping_as_the_command_line_reads_it():
    async with api_pop() as pop, pop.client() as client:
        cli = GoCli(client, KEY)
        first, second = await cli.ping(3), await cli.ping()
        assert first.startswith("pong from tapir-pop @ ")
        assert "pings: 4, pongs: 1" in first
        assert "pings: 1, pongs: 2" in second
        pong = unmarshal("PingResponse", await cli.post("/ping", {"pINGS": 41, "unknown": [1]}))
        assert pong["Pings"] == 42
        assert pong["BootTime"] == "1970-01-12T13:46:40Z"
        assert pong["Client"].startswith("127.0.0.1:")
        assert pong["Daemon"] == pong["ServerHost"] == pong["Version"] == ""


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"{", b'{"Pings":"a"}', b'{"Pings":1,"pings":2}', b"\xff", b"1e999"]
)
async def test_a_body_that_cannot_be_read_is_an_empty_request(body: bytes):
    async with api_pop() as pop, pop.client(headers={"X-API-Key": KEY}) as client:
        pong = unmarshal("PingResponse", (await client.post("/api/v1/ping", content=body)).content)
        assert pong["Pings"] == 1
        for path, kind in (("command", "CommandResponse"), ("debug", "DebugResponse")):
            answer = unmarshal(kind, (await client.post(f"/api/v1/{path}", content=body)).content)
            assert answer["Error"]
            assert "unknown command ''" in answer["ErrorMsg"]


@pytest.mark.parametrize(
    ("method", "path", "key", "status"),
    [
        ("POST", "/ping", "wrong", 404),
        ("POST", "/ping", "", 404),
        ("POST", "/ping", None, 404),
        ("POST", "/ping", "\xe5".encode("latin-1").decode("latin-1"), 404),
        ("GET", "/ping", "wrong", 404),
        ("POST", "/ping/", "wrong", 404),
        ("POST", "/nothing", KEY, 404),
        ("POST", "/", KEY, 404),
        ("GET", "/show/api", KEY, 404),
        ("GET", "/ping", KEY, 405),
        ("POST", "/ping/", KEY, 301),
        ("POST", "/ping", KEY, 200),
    ],
)
async def test_who_gets_in_and_where(method: str, path: str, key: str | None, status: int):
    headers = {} if key is None else {"X-API-Key": key.encode("latin-1")}
    async with api_pop() as pop, pop.client() as client:
        answer = await client.request(method, f"/api/v1{path}", headers=headers, content=b"{}")  # type: ignore[arg-type]
        assert answer.status_code == status
        if status == 404:
            assert answer.headers["content-type"].startswith("text/plain")
            assert answer.text == "404 page not found\n"
            with pytest.raises(json.JSONDecodeError):  # which is how the command line shows a wrong key
                unmarshal("PingResponse", answer.content)
        elif status == 301:
            assert answer.headers["location"] == "/api/v1/ping"
        elif status == 200:
            assert answer.headers["content-type"] == "application/json"


async def test_status_with_and_without_its_table():
    async with api_pop() as pop, pop.client() as client:
        assert await GoCli(client, KEY).status() == ["ready: dnstapir. is served with serial 7 and 3 records"]
        pop.parts.answers[GetHealth] = HealthStatus(ready=False, reasons=("nothing works",), warnings=())
        assert await GoCli(client, KEY).status() == ["not ready: nothing works"]
    parts = Parts()
    component = ComponentStatus(state=ComponentState.WARN, message="it is held", failures=1, failed_at=1)
    parts.answers[GetFunctionStatus] = FunctionStatus(
        function="tapir-pop", id="x", components=(("rpz", component),), failures=1
    )
    async with api_pop(parts=parts, telemetry=True) as pop, pop.client() as client:
        assert (await GoCli(client, KEY).status())[1:] == ["rpz warn"]


async def test_stop_is_answered_and_then_done():
    async with api_pop() as pop, pop.client() as client:
        assert (await GoCli(client, KEY).command("stop"))["Status"] == "stopping"
        with trio.fail_after(5):
            while pop.system.status.value == "running":  # noqa: ASYNC110
                await trio.sleep(0.01)


@pytest.mark.parametrize("zone", ["", ".", "dnstapir.", "DNSTAPIR"])
async def test_bump_gives_the_zone_a_new_serial(zone: str):
    parts = Parts()
    parts.answers[SetSerial] = "the serial is 1795319553"
    async with api_pop(parts=parts) as pop, pop.client() as client:
        answer = await GoCli(client, KEY).command("bump", Zone=zone)
        assert (answer["Msg"], answer["Error"]) == ("the serial is 1795319553", False)
        (order,) = (each for each in pop.parts.heard if isinstance(each, SetSerial))
        assert order.serial > 1_700_000_000
        assert order.user == "the API"


async def test_bump_of_another_zone_or_of_none_is_an_error():
    async with api_pop() as pop, pop.client() as client:
        answer = await GoCli(client, KEY).command("bump", Zone="other.example.")
        assert answer["Error"]
        assert "is not the zone that is served here, which is dnstapir." in answer["ErrorMsg"]
        pop.parts.answers[GetZone] = None
        assert (await GoCli(client, KEY).command("bump"))["Error"]


async def test_rpz_add_and_remove_work_on_the_lists_kept_by_hand():
    parts = Parts()
    parts.answers[SetOverride] = OverrideChange(now=(DENIED,), before=())
    parts.answers[RemoveOverride] = OverrideChange(now=(), before=(DENIED,))
    async with api_pop(parts=parts) as pop, pop.client() as client:
        cli = GoCli(client, KEY)
        answer = await cli.command("rpz-add", Name="bad.example.", ListType="denylist", Policy="x", Action="drop")
        assert answer["Msg"].startswith("bad.example. is denied until it is removed")
        assert "an action of its own it does not get" in answer["Msg"]
        order = next(each for each in parts.heard if isinstance(each, SetOverride))
        assert (order.entry, order.kind, order.seconds) == ("bad.example.", ListKind.DENY, None)
        answer = await cli.command("rpz-add", Name="bad.example.")
        assert answer["ErrorMsg"] == "on which list? ListType must be allowlist or denylist or doubtlist"
        for name in ("other.example.", "bad..example"):
            answer = await cli.command("rpz-remove", Name=name)
            assert answer["ErrorMsg"] == f"{name!r} is on none of the lists kept by hand"
        parts.answers[GetOverrides] = OverridesStatus(overrides=(DENIED,), store_error="")
        answer = await cli.command("rpz-remove", Name="BAD.example")
        assert answer["Msg"].startswith("bad.example. is no longer denied")
        parts.answers[SetOverride] = RefusedError("this cannot be kept: the disk is full")
        answer = await cli.command("rpz-add", Name="bad.example.", Policy="allowlist")
        assert (answer["Error"], answer["ErrorMsg"]) == (True, "this cannot be kept: the disk is full")


async def test_rpz_lookup_and_list_sources():
    async with api_pop() as pop, pop.client() as client:
        cli = GoCli(client, KEY)
        lookup = (await cli.command("rpz-lookup", Name="bad.example."))["Msg"]
        assert lookup == "bad.example.: a denylist holds it\n  the zone has bad.example.dnstapir.: NODATA"
        lookup = (await cli.command("rpz-lookup", Name="other.example."))["Msg"]
        assert lookup == "other.example.: no list holds it\n  the zone has nothing"
        assert (await cli.command("rpz-list-sources"))["Msg"].splitlines() == [
            "allowlists: allowed",
            "denylists: denied",
            "doubtlists: dns-tapir",
        ]


async def test_mqtt_is_started_and_stopped():
    parts = Parts()
    parts.answers[SetMqttActive] = "it connects"
    async with api_pop(parts=parts, mqtt=True) as pop, pop.client() as client:
        for word in ("mqtt-start", "mqtt-stop", "mqtt-restart"):
            assert (await GoCli(client, KEY).command(word))["Msg"] == "it connects"
        orders = [(each.active, each.restart) for each in parts.heard if isinstance(each, SetMqttActive)]
        assert orders == [(True, False), (False, False), (True, True)]
    async with api_pop() as pop, pop.client() as client:
        for answer in (await GoCli(client, KEY).command("mqtt-stop"), await GoCli(client, KEY).debug("mqtt-stats")):
            assert answer["ErrorMsg"].startswith("there is no MQTT connection")


async def test_filterlists_prints_the_table_of_the_reference():
    async with api_pop() as pop, pop.client() as client:
        rows = await GoCli(client, KEY).filterlists()
        assert rows == sorted(
            [
                f"{'good.example.':<75}|{'allowed':<20}|{'-':<20}|{'allow':<10}|{'-':<10}",
                f"{'bad.example.':<75}|{'denied':<20}|{'-':<20}|{'deny':<10}|{'-':<10}",
                f"{'we' + chr(92) + chr(34) + 'ird.example.':<75}|{'denied':<20}|{'-':<20}|{'deny':<10}|{'-':<10}",
                f"{'epoch-1761739157.ticker.looptest.dnstapir.se.':<75}|{'dns-tapir':<20}|{'tapir-msg-v1':<20}|"
                f"{'doubt':<10}|{'1024':<10}",
            ]
        )
        assert all(len(row) == 139 for row in rows)


async def test_filterlists_with_no_source_and_with_two_of_one_list():
    parts = Parts()
    parts.sources = ()
    async with api_pop(parts=parts) as pop, pop.client() as client:
        assert await GoCli(client, KEY).filterlists() == []
        parts.sources = (
            source("d", "same", ListKind.DENY),
            source("a", "same", ListKind.DENY),
            source("x", "off", ListKind.DENY, active=False),
        )
        lists = (await GoCli(client, KEY).debug("filterlists"))["Lists"]
        assert {key: sorted(each["Names"]) for key, each in lists["denylist"].items()} == {
            "same": ["bad.example.", 'we\\"ird.example.'],
            "a": ["good.example."],
        }


async def test_what_breaks_off_in_the_middle_breaks_the_connection():
    parts = Parts()
    async with api_pop(parts=parts) as pop, pop.client() as client:
        parts.answers[GetListNames] = RefusedError("the list went away")
        with pytest.raises(httpx.RemoteProtocolError):
            await GoCli(client, KEY).debug("filterlists")


async def test_two_long_answers_are_made_at_once_and_no_more():
    parts = Parts()
    parts.answers[GetListNames] = None
    parts.names = {}
    async with api_pop(parts=parts) as pop, pop.client() as client, trio.open_nursery() as nursery:
        cli = GoCli(client, KEY)
        parts.silent.add(GetListNames)
        for _ in range(2):
            nursery.start_soon(cli.debug, "gen-output")
        while sum(isinstance(each, GetListNames) for each in parts.heard) < 2:  # noqa: ASYNC110
            await trio.sleep(0.01)
        answer = await cli.debug("filterlists")
        assert answer["ErrorMsg"] == "two long answers are being written already: ask again in a while"
        nursery.cancel_scope.cancel()


async def test_gen_output_has_the_names():
    async with api_pop() as pop, pop.client() as client:
        answer = await GoCli(client, KEY).debug("gen-output")
        assert set(answer["DenylistedNames"]) == {"bad.example.", 'we\\"ird.example.'}
        assert {name: each["TagMask"] for name, each in answer["DoubtlistedNames"].items()} == {
            "epoch-1761739157.ticker.looptest.dnstapir.se.": 1024
        }
        assert answer["RpzOutput"] == [{"Name": "bad.example.", "RR": None, "Action": 2}]
        assert answer["Msg"].startswith("1 records are decided; ready")


async def test_gen_output_has_a_name_of_several_lists_once_and_with_all_its_tags():
    parts = Parts()
    parts.sources = (
        source("t", "dns-tapir", ListKind.DOUBT, origin="mqtt"),
        source("u", "other", ListKind.DOUBT),
        source("v", "nothing", ListKind.DOUBT),
    )
    parts.names = {
        "t": [("a.example.", 1), ("c.example.", 4), ("d.example.", 0)],
        "u": [("a.example.", 1024), ("b.example.", 2), ("d.example.", 8)],
    }
    async with api_pop(parts=parts) as pop, pop.client() as client:
        body = await GoCli(client, KEY).post("/debug", {"Command": "gen-output"})
    names = ("a.example.", "b.example.", "c.example.", "d.example.")
    assert [body.count(f'"Name":"{name}"'.encode()) for name in names] == [1, 1, 1, 1]
    answer = unmarshal("DebugResponse", body)
    assert [answer["DoubtlistedNames"][name]["TagMask"] for name in names] == [1025, 2, 4, 8]


def test_pages_are_merged_as_far_as_the_first_one_goes():
    def block(**entries: int) -> ListBlock:
        return ListBlock.of((parse_name(name), tags) for name, tags in entries.items())

    merged, rests = merge_pages([block(a=1, c=2), block(a=4, b=8, c=16, d=32), block(d=1)])
    assert [(format_name(name), tags) for name, tags in merged] == [("a.", 5), ("b.", 8), ("c.", 18)]
    assert [[format_name(name) for name, _ in rest] for rest in rests] == [[], ["d."], ["d."]]


async def test_filterlists_tells_when_a_name_was_observed_and_for_how_long():
    parts = Parts()
    parts.answers[GetObservationsExport] = ObservationsExport(
        name="dns-tapir",
        kind=ListKind.DOUBT,
        topics=("x",),
        observations=ObservationBlock.of(
            (parse_name(f"n{number}.example"), 1024, 1_700_000_000_000_000, 1_700_000_003_600_000 + number)
            for number in range(PAGE + 1)
        ),
        at=1,
    )
    async with api_pop(parts=parts) as pop, pop.client() as client:
        names = (await GoCli(client, KEY).debug("filterlists"))["Lists"]["doubtlist"]["dns-tapir"]["Names"]
        assert len(names) == PAGE + 1
        assert names["n7.example."] == {
            "Name": "n7.example.",
            "TimeAdded": "2023-11-14T22:13:20Z",
            "TTL": 3_600_007_000,
            "TagMask": 1024,
            "NumTags": 0,
            "Action": 0,
        }
        # What the brake holds back is not on the list: the list keeper says what is.
        parts.sources = (source("t", "dns-tapir", ListKind.DOUBT, origin="mqtt", state="held"),)
        names = (await GoCli(client, KEY).debug("filterlists"))["Lists"]["doubtlist"]["dns-tapir"]["Names"]
        assert [*names] == ["epoch-1761739157.ticker.looptest.dnstapir.se."]


FEED = FeedStatus(
    source="d",
    zone="rpz.example.",
    serial=41,
    state="current",
    checked_at=1_700_000_000_000_000,
    next_check_at=None,
    expires_at=None,
    primaries=(),
    counters=(),
)


async def test_the_zone_of_a_feed_in_words():
    parts = Parts()
    parts.sources = (source("d", "denied", ListKind.DENY, origin="xfr", format="rpz"),)
    parts.answers[GetFeed] = FEED
    parts.answers[Explain] = Explanation(
        name="bad.example.",
        action=Action.NODATA,
        stage="denylist",
        hits=(
            ListHit(list_name="denied", kind="denylist", entry="*.example.", tags=(), source="d"),
            ListHit(list_name="allow_catchall", kind="allowlist", entry="bad.example.", tags=(), source="d:allow"),
            ListHit(list_name="x", kind="denylist", entry="bad.example.", tags=(), source="x"),
        ),
        rules=(),
        winner="",
        emitted="",
    )
    async with api_pop(parts=parts) as pop, pop.client() as client:
        cli = GoCli(client, KEY)
        answer = await cli.debug("zonedata", Zone="RPZ.example")
        assert (answer["Zone"], answer["Error"]) == ("rpz.example.", False)
        stands = "current, serial 41, 2 names, checked 2023-11-14 22:13:20 UTC"
        assert answer["Msg"] == f"zone rpz.example. by source d: {stands}"
        answer = await cli.debug("rrset", Zone="rpz.example.", Qname="bad.example.rpz.example.", Qtype=5)
        assert answer["Msg"].splitlines() == [
            "bad.example.: on denylist denied by *.example.",
            "bad.example.: on allowlist allow_catchall by bad.example.",
        ]
        assert [each.name for each in parts.heard if isinstance(each, Explain)] == ["bad.example."]
        head = (await cli.debug("filterlists"))["Lists"]["denylist"]["denied"]
        assert (head["RpzZoneName"], head["RpzSerial"], head["SrcFormat"]) == ("rpz.example.", 41, "rpz")


async def test_a_status_is_sent_for_a_component():
    parts = Parts()
    parts.answers[SetComponent] = "it is said"
    async with api_pop(parts=parts, telemetry=True) as pop, pop.client() as client:
        cli = GoCli(client, KEY)
        assert (await cli.debug("send-status", Component="rpz", Status=1))["Msg"] == "it is said"
        assert parts.heard[-1] == SetComponent(name="rpz", state=ComponentState.WARN)
        answer = await cli.debug("send-status", Component="rpz", Status=3)
        assert answer["ErrorMsg"] == "there is no such status; known are 0 (fail), 1 (warn), 2 (ok)"
        parts.answers[SetComponent] = RefusedError("there is no component")
        assert (await cli.debug("send-status", Component="x", Status=0))["ErrorMsg"] == "there is no component"
    async with api_pop() as pop, pop.client() as client:
        answer = await GoCli(client, KEY).debug("send-status", Component="rpz", Status=1)
        assert answer["ErrorMsg"] == "component status is not kept here"


async def test_mqtt_stats_have_what_upstream_cannot_encode():
    parts = Parts()
    parts.answers[GetMqtt] = MQTT
    async with api_pop(parts=parts, mqtt=True) as pop, pop.client() as client:
        answer = await GoCli(client, KEY).debug("mqtt-stats")
        assert answer["MqttStats"] == {
            "MsgCounters": {"observations/down/tapir-pop": 12},
            "MsgTimeStamps": {"observations/down/tapir-pop": "2023-11-14T22:13:20Z"},
        }
        assert answer["TopicData"]["observations/down/tapir-pop"]["SubMsgs"] == 12
        assert answer["Msg"] == "mqtts://broker.example:8883: connected 5"


async def test_reaper_stats_have_what_goes_next():
    parts = Parts()
    minute = 60_000_000
    parts.answers[GetObservationsExport] = ObservationsExport(
        name="dns-tapir",
        kind=ListKind.DOUBT,
        topics=("x",),
        observations=ObservationBlock.of(
            (parse_name(name), 1, 0, deadline)
            for name, deadline in (("later.example", 5 * minute), ("b.example", 90_000_000), ("a.example", 2 * minute))
        ),
        at=1,
    )
    async with api_pop(parts=parts) as pop, pop.client() as client:
        answer = await GoCli(client, KEY).debug("reaper-stats")
        assert answer["ReaperStats"] == {
            "dns-tapir": {
                "1970-01-01T00:02:00Z": ["b.example.", "a.example."],
                "1970-01-01T00:05:00Z": ["later.example."],
            }
        }
        # Two sources of one list are two entries, as in `filterlists`.
        parts.sources = tuple(source(id_, "dns-tapir", ListKind.DOUBT, origin="mqtt") for id_ in ("t", "u"))
        assert [*(await GoCli(client, KEY).debug("reaper-stats"))["ReaperStats"]] == ["dns-tapir", "u"]


async def test_the_zone_in_words():
    async with api_pop() as pop, pop.client() as client:
        cli = GoCli(client, KEY)
        answer = await cli.debug("rrset", Zone="dnstapir.", Qname="bad.example.", Qtype=5)
        assert (answer["Zone"], answer["Msg"]) == ("dnstapir.", "bad.example.dnstapir.: NODATA")
        assert (await cli.debug("rrset", Qname="other.example."))["Msg"] == "other.example.: no record"
        assert (await cli.debug("rrset", Zone="other."))["Error"]
        assert (await cli.debug("zonedata"))["Msg"].startswith("zone dnstapir.: serving, serial 7, 3 records")
        # As the record is called in the zone.
        answer = await cli.debug("rrset", Zone="dnstapir", Qname="bad.example.dnstapir.")
        assert answer["Msg"] == "bad.example.dnstapir.: NODATA"
        assert "is neither the zone that is served here" in (await cli.debug("zonedata", Zone="other."))["Msg"]


def test_the_client_reads_as_go_does():
    with pytest.raises(UnmarshalError, match="Dawgf"):
        unmarshal("WBGlist", json.dumps({**_smallest("WBGlist"), "Dawgf": {}}).encode())
    with pytest.raises(UnmarshalError, match="uint32"):
        unmarshal("TapirName", json.dumps({**_smallest("TapirName"), "TagMask": 2**32}).encode())


def _smallest(kind: str) -> dict[str, object]:
    zeros = {"string": "", "bool": False, "int": 0, "uint8": 0, "uint32": 0, "time": "0001-01-01T00:00:00Z"}
    return {name: zeros.get(field) for name, field in STRUCTS[kind].items()}
