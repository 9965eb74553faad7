"""Write docs/flow.md and docs/asyncapi.yaml from the services' own tables (`make docs`).

    python scripts/make_docs.py [FOLDER]      (default: docs)

The services' HANDLERS and emits are the only source; a test fails when they and the documents differ.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from pydantic.json_schema import models_json_schema

from radrelay.services import SERVICES
from radrelay_shared.adapters.amqp_topology import EVENTS as EXCHANGE
from radrelay_shared.adapters.amqp_topology import LANES, queue_name
from radrelay_shared.envelope import CONTENT_TYPE, Envelope
from radrelay_shared.events import EVENTS, Event
from radrelay_shared.service import Service

ROOT = Path(__file__).resolve().parent.parent
BINDING = {"bindingVersion": "0.3.0"}
Node = dict[str, Any]

FLOW = """\
# The flow of events

Made by `make docs` from each service's `HANDLERS` and `emits`: change those, not this file. What the events hold is in
[asyncapi.yaml](asyncapi.yaml).

```mermaid
flowchart LR
{arrows}
```

| event | emitted by | consumed by | what happened |
|---|---|---|---|
{rows}
"""

ABOUT = f"""\
The events between RadRelay's services: CloudEvents 1.0 in structured JSON, at most 64 KiB, without identity and
without pixel data. They are published to the durable topic exchange `{EXCHANGE}` under `<lane>.<type>`. Each service
has a quorum queue per lane, so that a STAT study never waits behind routine ones. Delivery is at least once: handlers
know an event they have seen by its `id`. Fields are only ever added; a breaking change is a new `type`.
"""


def emitters(event: type[Event]) -> list[Service]:
    return [service for service in SERVICES if event in service.emits]


def consumers(event: type[Event]) -> list[Service]:
    return [service for service in SERVICES if event in service.handlers]


def short(event: type[Event]) -> str:
    """`radrelay.study.received.v1` → `study.received`."""
    return ".".join(event.type.split(".")[1:-1])


def promise(event: type[Event]) -> str:
    """The first paragraph of the event's docstring, as one line."""
    return " ".join(event.doc.partition("\n\n")[0].split())


# ── flow.md ──────────────────────────────────────────────────────────────────────────────────────────


def arrows() -> Iterator[str]:
    """One arrow per pair of services, with all events that go that way."""
    way: dict[tuple[str, str], list[str]] = {}
    for event in EVENTS.values():
        for source in emitters(event):
            for target in consumers(event):
                way.setdefault((source.name, target.name), []).append(short(event))
    for (source_name, target_name), events in way.items():
        yield f'    {source_name} -- "{"<br/>".join(events)}" --> {target_name}'


def row(event: type[Event]) -> str:
    from_, to = (", ".join(each.name for each in services) for services in (emitters(event), consumers(event)))
    return f"| `{short(event)}` | {from_} | {to} | {promise(event)} |"


def flow() -> str:
    return FLOW.format(arrows="\n".join(arrows()), rows="\n".join(map(row, EVENTS.values())))


# ── asyncapi.yaml ────────────────────────────────────────────────────────────────────────────────────


def channel(event: type[Event]) -> Node:
    """An event's routing keys at the exchange, one per lane."""
    exchange = {"name": EXCHANGE, "type": "topic", "durable": True, "autoDelete": False, "vhost": "/"}
    return {
        "address": f"{{lane}}.{event.type}",
        "title": short(event),
        "description": promise(event),
        "parameters": {"lane": {"enum": list(LANES), "description": "stat for the studies that cannot wait"}},
        "messages": {event.__name__: {"$ref": f"#/components/messages/{event.__name__}"}},
        "bindings": {"amqp": {"is": "routingKey", "exchange": exchange, **BINDING}},
    }


def operation(service: Service, event: type[Event], action: str, description: str, binding: Node) -> Node:
    name = event.__name__
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{name}"},
        "title": f"{service.name} {'emits' if action == 'send' else 'consumes'} {short(event)}",
        "description": description,
        "tags": [{"name": service.name}],
        "bindings": {"amqp": {**binding, **BINDING}},
        "messages": [{"$ref": f"#/channels/{name}/messages/{name}"}],
    }


def operations() -> Iterator[tuple[str, Node]]:
    """What each service sends and receives, in pipeline order."""
    for service in SERVICES:
        for event in EVENTS.values():
            if event in service.emits:
                said = "Stored with the state it follows from, then published with confirms."
                binding = {"deliveryMode": 2, "mandatory": True}
                yield f"{service.name}.send.{event.__name__}", operation(service, event, "send", said, binding)
        for event in EVENTS.values():
            if event in service.handlers:
                queues = " and ".join(f"`{queue_name(service.name, lane)}`" for lane in LANES)
                said = f"From the queues {queues}."
                binding = {"ack": True}
                yield f"{service.name}.receive.{event.__name__}", operation(service, event, "receive", said, binding)


def envelope(event: type[Event]) -> Any:
    return Envelope[event]  # type: ignore[valid-type]  # a type at run time


def schemas() -> tuple[dict[type[Event], Node], Node]:
    """The reference to each event's envelope, and every schema by name."""
    models = [(envelope(event), "serialization") for event in EVENTS.values()]
    references, found = models_json_schema(models, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]  # the mode is a literal
    by_event = {event: references[envelope(event), "serialization"] for event in EVENTS.values()}
    every: Node = found["$defs"]
    for event, reference in by_event.items():
        every[reference["$ref"].rpartition("/")[2]]["properties"]["type"]["const"] = event.type
    return by_event, every


def message(event: type[Event], payload: Node) -> Node:
    return {
        "name": event.type,
        "title": event.__name__,
        "summary": promise(event),
        "contentType": CONTENT_TYPE,
        "payload": payload,
        "bindings": {"amqp": {"messageType": event.type, **BINDING}},
    }


def asyncapi() -> Node:
    """The whole bus as an AsyncAPI 3.0.0 document."""
    payloads, every_schema = schemas()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "RadRelay events",
            "version": version("radrelay-shared"),
            "description": ABOUT,
            "license": {"name": "Apache 2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
            "tags": [{"name": service.name} for service in SERVICES],
        },
        "defaultContentType": CONTENT_TYPE,
        "servers": {
            "rabbitmq": {
                "host": "rabbitmq:5672",
                "protocol": "amqp",
                "protocolVersion": "0.9.1",
                "description": "RabbitMQ 3.10 to 4.x, as `RADRELAY_BUS_URL` says",
            }
        },
        "channels": {event.__name__: channel(event) for event in EVENTS.values()},
        "operations": dict(operations()),
        "components": {
            "messages": {event.__name__: message(event, payloads[event]) for event in EVENTS.values()},
            "schemas": every_schema,
        },
    }


class Plain(yaml.SafeDumper):
    """YAML without anchors, and long texts as they were written."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


Plain.add_representer(str, text)


def write(folder: Path) -> None:
    """Replace both documents."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "flow.md").write_text(flow(), encoding="utf-8")
    said = yaml.dump(asyncapi(), Dumper=Plain, sort_keys=False, width=110, allow_unicode=True)
    header = "# Made by `make docs` from the services' own tables: change those, not this file.\n"
    (folder / "asyncapi.yaml").write_text(header + said, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs")
