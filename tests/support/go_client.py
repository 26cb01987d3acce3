"""The existing command line, from the client's side: its requests as it sends them, its answers as Go reads them.

Structs are upstream's, from the reference: a member that Go could not put into its field is an error here, as it is one
there. What the commands print is printed the same way, so a test can read it as an operator would.
"""

import base64
import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import httpx

ZERO = "0001-01-01T00:00:00Z"
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")

# "map X", "[]X" and "*X" are Go's; other words are basic types or the structs below.
STRUCTS: dict[str, dict[str, str]] = {
    "PingResponse": {
        "Time": "time", "BootTime": "time", "Daemon": "string", "ServerHost": "string", "Version": "string",
        "Client": "string", "Msg": "string", "Pings": "int", "Pongs": "int",
    },
    "CommandResponse": {
        "Time": "time", "Status": "string", "Zone": "string", "Serial": "uint32", "Data": "bytes", "Msg": "string",
        "TapirFunctionStatus": "TapirFunctionStatus", "Error": "bool", "ErrorMsg": "string",
    },
    "TapirFunctionStatus": {
        "Function": "string", "FunctionID": "string", "ComponentStatus": "map TapirComponentStatus",
        "NumFailures": "int", "LastFailure": "time",
    },
    "TapirComponentStatus": {
        "Component": "string", "Status": "uint8", "ErrorMsg": "string", "WarningMsg": "string", "Msg": "string",
        "NumFails": "int", "NumWarnings": "int", "LastFail": "time", "LastWarn": "time", "LastSuccess": "time",
    },
    "DebugResponse": {
        "Time": "time", "Status": "string", "Zone": "string", "OwnerIndex": "map int", "RRset": "RRset",
        "Lists": "map map WBGlist", "Allowlists": "map WBGlist", "Denylists": "map WBGlist",
        "Doubtlists": "map WBGlist", "DenylistedNames": "map bool", "DoubtlistedNames": "map TapirName",
        "RpzOutput": "[]RpzName", "MqttStats": "MqttStats", "TopicData": "map TopicData",
        "ReaperStats": "map timemap []string", "Msg": "string", "Error": "bool", "ErrorMsg": "string",
    },
    "RRset": {"RRs": "[]interface"},
    "RpzName": {"Name": "string", "RR": "interface", "Action": "uint8"},
    "MqttStats": {"MsgCounters": "map uint32", "MsgTimeStamps": "map time"},
    "WBGlist": {
        "Name": "string", "Description": "string", "Type": "string", "Immutable": "bool", "SrcFormat": "string",
        "Format": "string", "Datasource": "string", "Filename": "string", "Upstream": "string", "Dawgf": "interface",
        "MqttDetails": "*MqttDetails", "RpzZoneName": "string", "RpzUpstream": "string", "RpzSerial": "int",
        "Names": "map TapirName", "ReaperData": "map map bool",
    },
    "MqttDetails": {
        "Topics": "[]string", "Bootstrap": "[]string", "BootstrapUrl": "string", "BootstrapKey": "string",
    },
    "TapirName": {
        "Name": "string", "TimeAdded": "time", "TTL": "int", "TagMask": "uint32", "NumTags": "uint8", "Action": "uint8",
    },
    "TopicData": {
        "Topic": "string", "SigningKey": "interface", "Sign": "bool", "Validate": "bool", "PubMode": "string",
        "SubMode": "string", "SubscriberCh": "interface", "PubMsgs": "uint32", "SubMsgs": "uint32",
        "LatestPub": "time", "LatestSub": "time",
    },
}  # fmt: skip


class UnmarshalError(Exception):
    """Go's json.Unmarshal would fail."""


def unmarshal(kind: str, body: bytes) -> Any:
    """`body` as Go's reader of the struct `kind` has it, and every member there: ours are to be complete."""
    return _read(kind, json.loads(body), kind)


def _read(kind: str, value: Any, where: str) -> Any:
    word, _, rest = kind.partition(" ")
    if kind.startswith("[]"):
        return None if value is None else [_read(kind[2:], each, where) for each in _need(value, list, where)]
    if kind.startswith("*"):
        return None if value is None else _read(kind[1:], value, where)
    if word in ("map", "timemap"):
        if value is None:
            return {}
        if word == "timemap":
            [_read("time", key, f"{where} (key)") for key in value]
        return {key: _read(rest, each, f"{where}.{key}") for key, each in _need(value, dict, where).items()}
    if kind in STRUCTS:
        fields = STRUCTS[kind]
        if list(_need(value, dict, where)) != list(fields):
            raise UnmarshalError(f"{where} has {list(value)}, wanted {list(fields)}")
        return {name: _read(field, value[name], f"{where}.{name}") for name, field in fields.items()}
    return _basic(kind, value, where)


def _basic(kind: str, value: Any, where: str) -> Any:
    match kind:
        case "time":
            if not _TIME.fullmatch(_need(value, str, where)):
                raise UnmarshalError(f"{where} is no time: {value}")
            return value
        case "string":
            return _need(value, str, where)
        case "bool":
            return _need(value, bool, where)
        case "bytes":
            return None if value is None else base64.b64decode(_need(value, str, where), validate=True)
        case "interface":
            # Of the interfaces here Go can read none; nil is all it takes.
            if value is not None:
                raise UnmarshalError(f"{where} cannot be read into an interface or a channel")
            return None
        case _:
            bits = {"uint8": (0, 2**8), "uint32": (0, 2**32), "int": (-(2**63), 2**63)}[kind]
            if type(value) is not int or not bits[0] <= value < bits[1]:
                raise UnmarshalError(f"{where} is no {kind}: {value}")
            return value


def _need(value: Any, kind: type, where: str) -> Any:
    if type(value) is not kind:
        raise UnmarshalError(f"{where} is {type(value).__name__}, not {kind.__name__}")
    return value


class GoCli:
    """`dnstapir-cli`, as far as it speaks with a POP; commands return what they print."""

    def __init__(self, client: httpx.AsyncClient, key: str) -> None:
        self._client = client
        self._headers = {"Content-Type": "application/json", "X-API-Key": key}

    async def post(self, path: str, request: Mapping[str, Any]) -> bytes:
        """One request, whose status nobody looks at."""
        body = json.dumps(request, separators=(",", ":")) + "\n"
        answer = await self._client.post(f"/api/v1{path}", content=body, headers=self._headers)
        return answer.content

    async def ping(self, count: int = 0) -> str:
        """`pop ping -c COUNT`."""
        post = {"Msg": "One ping to rule them all and in the darkness bing them.", "Pings": count}
        pong = unmarshal("PingResponse", await self.post("/ping", post))
        return f"{pong['Msg']}: pings: {pong['Pings']}, pongs: {pong['Pongs']}, uptime: {_uptime(pong)}"

    async def command(self, word: str, **members: str) -> dict[str, Any]:
        """`/command`, as the struct has it: with all its members."""
        names = ("Zone", "Name", "ListType", "ListName", "Policy", "Action", "RpzSource")
        post = {"Command": word, **{name: members.pop(name, "") for name in names}}
        assert not members
        answer: dict[str, Any] = unmarshal("CommandResponse", await self.post("/command", post))
        return answer

    async def debug(self, word: str, **members: Any) -> dict[str, Any]:
        """`/debug`."""
        post = {"Command": word, "Zone": "", "Qname": "", "Qtype": 0, "Component": "", "Status": 0, **members}
        answer: dict[str, Any] = unmarshal("DebugResponse", await self.post("/debug", post))
        return answer

    async def status(self) -> list[str]:
        """`pop status`: the message, then a line for each component."""
        answer = await self.command("status")
        lines = [answer["ErrorMsg"]] if answer["Error"] else []
        lines.append(answer["Msg"])
        function = answer["TapirFunctionStatus"]
        words = {0: "fail", 1: "warn", 2: "ok", 3: "report"}
        lines += [f"{name} {words[each['Status']]}" for name, each in sorted(function["ComponentStatus"].items())]
        return lines

    async def filterlists(self) -> list[str]:
        """`filterlists`: the rows, without heading and ruler, sorted."""
        answer = await self.debug("filterlists")
        if answer["Error"]:
            return [answer["ErrorMsg"]]
        rows = []
        for kind, word in (("allowlist", "allow"), ("denylist", "deny"), ("doubtlist", "doubt")):
            for each in answer["Lists"][kind].values():
                for name in each["Names"].values():
                    fmt, flags = (each["SrcFormat"], str(name["TagMask"])) if word == "doubt" else ("-", "-")
                    rows.append(f"{name['Name']:<75}|{each['Name']:<20}|{fmt:<20}|{word:<10}|{flags:<10}")
        return sorted(rows)


def _uptime(pong: Mapping[str, Any]) -> str:
    since = datetime.fromisoformat(pong["Time"]) - datetime.fromisoformat(pong["BootTime"])
    return f"{round(since.total_seconds())}s"
