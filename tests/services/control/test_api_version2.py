import json
from typing import Any

import attrs
import httpx
import pytest
from api_pop import KEY, ZONE, Parts, RefusedError, api_pop, source

from actors import AskError
from tapir.model.actions import Action, ListKind
from tapir.model.messages.events import AcceptClock, EventKind, ExceptionalEvent, GetEvents
from tapir.model.messages.feeds import FeedStatus, GetFeed
from tapir.model.messages.lists import AcceptSource, RefreshSource
from tapir.model.messages.local import Override, OverrideChange, RemoveOverride, SetOverride
from tapir.model.messages.observations import GetObservations
from tapir.model.messages.zone import AcceptZone, GetZone, GetZoneHistory, ZoneHistory
from tapir.services.control import api_desk
from tapir.services.control.documents_openapi import schema_of
from tapir.services.control.protocol import to_plain
from tapir.services.control.routes_operations import OPERATIONS

HEADERS = {"X-API-Key": KEY}
EVENT = ExceptionalEvent(id="e1", kind=EventKind.CLOCK_STEP, subject="clock", text="it stepped", at=5)
FEED = FeedStatus(
    source="f",
    zone="feed.example.",
    serial=3,
    state="current",
    checked_at=1,
    next_check_at=2,
    expires_at=3,
    primaries=(),
    counters=(("axfr", 1),),
)
DENIED = Override(entry="bad.example.", kind=ListKind.DENY, user="the API", at=1, until=None, reason="")


async def get(client: httpx.AsyncClient, path: str, status: int = 200) -> Any:
    answer = await client.get(f"/api/v2{path}", headers=HEADERS)
    assert answer.status_code == status, answer.text
    kind = "application/json" if status == 200 else "application/problem+json"
    assert answer.headers["content-type"] == kind
    return answer.json()


@pytest.mark.parametrize(
    "headers", [{}, {"X-API-Key": "no"}, {"Authorization": f"Basic {KEY}"}, {"Authorization": KEY}]
)
async def test_a_wrong_key_is_a_401_everywhere(headers: dict[str, str]):
    async with api_pop() as pop, pop.client(headers=headers) as client:
        for path in ("/status", "/nothing", "/openapi.json"):
            answer = await client.get(f"/api/v2{path}")
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.json()["title"] == "Unauthorized"
            assert KEY not in answer.text


@pytest.mark.parametrize("headers", [HEADERS, {"Authorization": f"Bearer {KEY}"}, {"authorization": f"bearer  {KEY}"}])
async def test_the_key_opens_in_either_header(headers: dict[str, str]):
    async with api_pop() as pop, pop.client(headers=headers) as client:
        assert (await client.get("/api/v2/zone")).json()["serial"] == 7


async def test_what_there_is_to_be_read():
    parts = Parts()
    parts.sources += (source("f", "feed", ListKind.DENY, origin="xfr"),)
    parts.answers[GetEvents] = (EVENT,)
    parts.answers[GetFeed] = FEED
    parts.answers[GetObservations] = RefusedError("it does not say")
    parts.answers[GetZoneHistory] = ZoneHistory(zone="dnstapir.", serial=7, journal_from=5, steps=(), more=0)
    async with api_pop(parts=parts) as pop, pop.client() as client:
        status = await get(client, "/status")
        assert status["zone"]["serial"] == 7
        assert status["process"]["version"] == "1.2.3"
        assert status["runtime"]["root"]["children"][1]["name"] == "api"
        sources = await get(client, "/sources")
        assert [each["id"] for each in sources["sources"]] == ["a", "d", "t", "f"]
        assert "error" in sources["details"]["t"]
        page = await get(client, "/sources/d/names?limit=1")
        assert [row["name"] for row in page["rows"]] == ["bad.example."]
        page = await get(client, f"/sources/d/names?cursor={page['next']}")
        assert [row["name"] for row in page["rows"]] == ['we\\"ird.example.']
        assert (await get(client, "/explain/bad.example"))["action"] == "NODATA"
        assert (await get(client, "/zone/history?count=3"))["zone"] == "dnstapir."
        assert next(each for each in parts.heard if isinstance(each, GetZoneHistory)).count == 3
        assert (await get(client, "/events"))[0]["kind"] == "clock-step"
        assert [each["source"] for each in await get(client, "/feeds")] == ["f"]
        assert (await get(client, "/overrides"))["overrides"] == []


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/nothing", 404, "openapi.json says what there is"),
        ("/sources//names", 404, "openapi.json"),
        ("/mqtt", 404, "there is no MQTT connection"),
        ("/zone/history?count=0", 400, "count: an integer from 1 to 1000"),
        ("/zone/history?count=many", 400, "count is not a whole number"),
        ("/sources/d/names?limit=99999", 400, "limit: an integer from 1"),
    ],
)
async def test_what_is_wrong_is_a_problem_document(path: str, status: int, text: str):
    async with api_pop() as pop, pop.client() as client:
        problem = await get(client, path, status)
        assert problem["status"] == status
        assert text in problem["detail"]


async def test_who_refuses_and_who_does_not_answer(monkeypatch: pytest.MonkeyPatch):
    parts = Parts()
    async with api_pop(parts=parts) as pop, pop.client() as client:
        parts.answers[GetZone] = RefusedError("the zone is not to be seen")
        assert (await get(client, "/zone", 409))["detail"] == "the zone is not to be seen"
        parts.silent.add(GetZone)
        monkeypatch.setattr(api_desk, "_PATIENCE", 0.1)
        assert "GetZone" in (await get(client, "/zone", 503))["detail"]
        answer = await client.put("/api/v2/zone", headers=HEADERS)
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


async def test_orders():
    parts = Parts()
    parts.answers[SetOverride] = OverrideChange(now=(DENIED,), before=())
    parts.answers[RemoveOverride] = OverrideChange(now=(), before=(DENIED,))
    parts.answers[AcceptZone] = parts.answers[AcceptSource] = parts.answers[AcceptClock] = "so be it"
    async with api_pop(parts=parts) as pop, pop.client(headers=HEADERS) as client:

        async def post(path: str, body: object) -> httpx.Response:
            return await client.post(f"/api/v2{path}", json=body)

        answer = await post("/overrides", {"name": "bad.example", "list": "deny", "seconds": 60, "reason": "r"})
        assert answer.json()["text"].startswith("bad.example. is denied")
        order = next(each for each in parts.heard if isinstance(each, SetOverride))
        assert (order.kind, order.seconds, order.reason, order.user) == (ListKind.DENY, 60, "r", "the API")
        answer = await client.delete("/api/v2/overrides/denylist/bad.example")
        assert answer.json()["text"].startswith("bad.example. is no longer denied")
        for what in ("zone", "clock", "d"):
            assert (await post("/accept", {"what": what})).json() == {"text": "so be it"}
        assert (await post("/refresh", {"source": "d"})).status_code == 200
        assert any(isinstance(each, RefreshSource) for each in parts.heard)
        assert (await post("/refresh", {"source": "nobody"})).status_code == 409
        for path, body in (
            ("/overrides", {"name": "bad.example", "list": "other"}),
            ("/overrides", {"name": "bad.example", "list": "deny", "reason": 5}),
            ("/overrides", {"name": "bad.example", "list": "deny", "seconds": -1}),
            ("/overrides", {"list": "deny"}),
            ("/accept", {"what": 5}),
            ("/accept", {"other": "zone"}),
            ("/accept", []),
        ):
            answer = await post(path, body)
            assert answer.status_code == 400, answer.text
        answer = await client.post("/api/v2/accept", content=b"{")
        assert answer.status_code == 400


async def test_the_description_has_every_operation_and_no_other():
    async with api_pop() as pop, pop.client() as client:
        described = await get(client, "/openapi.json")
        there = {
            (method.upper(), path.removeprefix("/api/v2"))
            for path, operations in described["paths"].items()
            for method in operations
        }
        assert there == {(operation.method, operation.path) for operation in OPERATIONS}
        assert described["info"]["version"] == "1.2.3"
        for method, path in there:  # each one leads somewhere
            url = "/api/v2" + path.replace("{", "").replace("}", "")
            answer = await client.request(method, url, headers=HEADERS, content=b'{"x":1}')
            assert answer.status_code not in (404, 405) or path == "/mqtt"
        text = json.dumps(described)
        names = {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}
        assert names <= described["components"]["schemas"].keys()


@pytest.mark.parametrize("value", [ZONE, EVENT, FEED, DENIED, OverrideChange(now=(DENIED,), before=())])
def test_schemas_fit_what_is_said(value: Any):
    schemas: dict[str, Any] = {}
    schema_of(type(value), schemas)
    assert fits(to_plain(value), {"$ref": f"#/components/schemas/{type(value).__name__}"}, schemas)
    assert not fits({}, schemas[type(value).__name__], schemas)


def fits(value: Any, schema: dict[str, Any], schemas: dict[str, Any]) -> bool:
    """As much of JSON Schema as the description uses."""
    if "$ref" in schema:
        return fits(value, schemas[schema["$ref"].rpartition("/")[2]], schemas)
    if "anyOf" in schema:
        return any(fits(value, each, schemas) for each in schema["anyOf"])
    if "enum" in schema and value not in schema["enum"]:
        return False
    kinds: dict[str, Any] = {"string": str, "boolean": bool, "array": list, "object": dict, "null": type(None)}
    if schema["type"] in ("integer", "number"):
        return isinstance(value, int | float) and not isinstance(value, bool)
    if not isinstance(value, kinds[schema["type"]]):
        return False
    if schema["type"] == "array":
        items = schema.get("prefixItems") or [schema["items"]] * len(value)
        return len(items) == len(value) and all(
            fits(each, item, schemas) for each, item in zip(value, items, strict=True)
        )
    if schema["type"] != "object":
        return True
    properties = schema.get("properties", {})
    return set(schema.get("required", ())) <= value.keys() and all(
        fits(value[name], each, schemas) for name, each in properties.items() if name in value
    )


def test_schemas_of_other_kinds():
    schemas: dict[str, Any] = {}
    assert schema_of(Action, schemas)["enum"][0] == "NONE"
    assert schema_of(tuple[int, str], schemas)["maxItems"] == 2
    assert schema_of(dict[str, int], schemas) == {"type": "object"}
    assert attrs.has(FeedStatus)
    assert issubclass(AskError, Exception)
