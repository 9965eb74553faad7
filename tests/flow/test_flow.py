"""The flow as data: no event is an orphan, nobody emits in secret, and the documents say what the code does."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from radrelay.services import SERVICES
from radrelay_shared.envelope import wrap
from radrelay_shared.events import EVENTS, READERS, Event, OrderReceived, Priority, StudyReceived
from radrelay_shared.service import Service
from radrelay_shared.settings import ServiceSettings
from radrelay_shared.testing import PATIENCE_SECONDS

ROOT = Path(__file__).resolve().parents[2]
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
ORDER = OrderReceived(site="clinic-a", order="or-1", jurisdiction="US-MT", priority=Priority.STAT)
BY_NAME = {service.name: service for service in SERVICES}
every_service = pytest.mark.parametrize("service", SERVICES, ids=BY_NAME)
every_event = pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS)


def sources(service: Service) -> dict[str, ast.Module]:
    """The service's modules but its `main.py`, by path."""
    folder = ROOT / "services" / service.name / "src" / f"radrelay_{service.name}"
    return {str(file): ast.parse(file.read_text()) for file in folder.rglob("*.py") if file != folder / "main.py"}


def names(nodes: Iterator[ast.AST]) -> set[str]:
    """`StudyStored` and `events.StudyStored` alike."""
    return {
        node.id if isinstance(node, ast.Name) else node.attr
        for node in nodes
        if isinstance(node, ast.Name | ast.Attribute)
    }


def test_the_seven_services_are_in_pipeline_order() -> None:
    assert list(BY_NAME) == ["ingest", "anonymize", "storage", "triage", "assignment", "reporting", "notification"]


@every_event
def test_no_event_is_an_orphan(event: type[Event]) -> None:
    assert [service.name for service in SERVICES if event in service.emits]
    assert [service.name for service in SERVICES if event in service.handlers]


@every_service
def test_a_service_listens_to_no_event_of_its_own(service: Service) -> None:
    assert not set(service.emits) & set(service.handlers)


@every_service
def test_the_bus_keeps_events_for_exactly_those_who_handle_them(service: Service) -> None:
    """READERS is known before any service runs, HANDLERS only afterwards."""
    assert set(READERS.get(service.name, ())) == set(service.handlers)
    assert set(READERS) <= set(BY_NAME)


@every_service
def test_a_service_makes_the_events_that_it_declares_and_no_others(service: Service) -> None:
    nodes = [node for module in sources(service).values() for node in ast.walk(module)]
    known = {event.__name__ for event in EVENTS.values()}
    declared = {event.__name__ for event in service.emits}
    made = names(node.func for node in nodes if isinstance(node, ast.Call)) & known
    assert made <= declared
    assert declared <= names(iter(nodes))


@every_service
def test_a_service_opens_with_what_it_listens_to(service: Service) -> None:
    folder = ROOT / "services" / service.name
    package = folder / "src" / f"radrelay_{service.name}"
    assert len((package / "main.py").read_text().splitlines()) <= 30
    assert (package / "py.typed").is_file()
    assert (package / "domain.py").is_file() != (package / "domain" / "__init__.py").is_file()
    assert (package / "handlers.py").is_file() is bool(service.handlers)
    assert [*(folder / "tests").glob("test_*.py")]
    assert {path.name for path in folder.iterdir() if path.is_dir()} <= {"src", "tests"}
    for handler in service.handlers.values():
        assert handler.__module__ == f"radrelay_{service.name}.handlers"
        assert handler.__name__.startswith("on_")


@every_service
def test_its_readme_names_what_it_consumes_and_what_it_emits(service: Service) -> None:
    readme = (ROOT / "services" / service.name / "README.md").read_text()
    assert "consumes" in readme
    assert "emits" in readme
    for event in (*service.handlers, *service.emits):
        noun_and_verb = ".".join(event.type.split(".")[1:-1])
        assert event.__name__ in readme or f"`{noun_and_verb}`" in readme, event.type


def test_the_settings_of_every_service_are_all_in_one_table() -> None:
    readme = (ROOT / "shared" / "README.md").read_text()
    told = set(re.findall(r"`RADRELAY_([A-Z_]+)`", readme.partition("| variable |")[2]))
    assert told == {name.upper() for name in ServiceSettings.model_fields}


@every_service
def test_its_readme_names_each_setting_of_its_own(service: Service) -> None:
    readme = (ROOT / "services" / service.name / "README.md").read_text()
    own = set(service.settings.model_fields) - set(ServiceSettings.model_fields)
    assert {name for name in own if name.upper() not in readme} == set()


def test_the_checked_in_documents_are_those_that_the_code_makes(tmp_path: Path) -> None:
    """If not: `make docs`."""
    subprocess.run([sys.executable, ROOT / "scripts" / "make_docs.py", tmp_path], check=True, timeout=PATIENCE_SECONDS)
    for name in ("flow.md", "asyncapi.yaml"):
        assert (ROOT / "docs" / name).read_text() == (tmp_path / name).read_text()


# ── asyncapi.yaml ────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docs" / "asyncapi.yaml").read_text())
    return found


def references(node: Any) -> Iterator[str]:
    match node:
        case {"$ref": str(target)}:
            yield target
        case dict():
            for value in node.values():
                yield from references(value)
        case list():
            for value in node:
                yield from references(value)


def resolve(document: dict[str, Any], reference: str) -> Any:
    found: Any = document
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found


def test_every_reference_of_the_asyncapi_document_leads_somewhere(document: dict[str, Any]) -> None:
    found = set(references(document))
    assert len(found) > 3 * len(EVENTS)
    for reference in found:
        assert resolve(document, reference)


# What AsyncAPI 3.0.0 and its AMQP bindings 0.3.0 require of the parts that we use.
SHAPE: dict[str, Any] = {
    "type": "object",
    "required": ["asyncapi", "info", "servers", "channels", "operations", "components"],
    "properties": {
        "asyncapi": {"const": "3.0.0"},
        "info": {"required": ["title", "version"]},
        "servers": {"additionalProperties": {"required": ["host", "protocol"]}},
        "channels": {
            "additionalProperties": {
                "required": ["address", "messages", "parameters", "bindings"],
                "properties": {
                    "messages": {"additionalProperties": {"required": ["$ref"]}, "minProperties": 1},
                    "parameters": {"additionalProperties": {"properties": {"enum": {"items": {"type": "string"}}}}},
                    "bindings": {
                        "properties": {
                            "amqp": {
                                "required": ["is", "exchange", "bindingVersion"],
                                "properties": {
                                    "is": {"const": "routingKey"},
                                    "bindingVersion": {"const": "0.3.0"},
                                    "exchange": {"properties": {"type": {"enum": ["topic", "direct", "fanout"]}}},
                                },
                            }
                        }
                    },
                },
            }
        },
        "operations": {
            "additionalProperties": {
                "required": ["action", "channel", "messages"],
                "properties": {"action": {"enum": ["send", "receive"]}, "channel": {"required": ["$ref"]}},
            }
        },
        "components": {
            "properties": {"messages": {"additionalProperties": {"required": ["name", "contentType", "payload"]}}}
        },
    },
}


def test_the_asyncapi_document_has_the_shape_of_the_specification(document: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(SHAPE).validate(document)


def test_every_event_has_a_channel_and_both_sides_of_it(document: dict[str, Any]) -> None:
    assert list(document["channels"]) == [event.__name__ for event in EVENTS.values()]
    assert [channel["address"] for channel in document["channels"].values()] == [f"{{lane}}.{name}" for name in EVENTS]
    said = {
        (operation["action"], operation["tags"][0]["name"], operation["channel"]["$ref"].rpartition("/")[2])
        for operation in document["operations"].values()
    }
    sent = {("send", service.name, event.__name__) for service in SERVICES for event in service.emits}
    received = {("receive", service.name, event.__name__) for service in SERVICES for event in service.handlers}
    assert said == sent | received


@pytest.mark.parametrize(
    ("change", "valid"),
    [
        ({}, True),
        ({"type": StudyReceived.type}, False),
        ({"specversion": "0.3"}, False),
        ({"data": {"site": "clinic-a"}}, False),
        ({"later": "an extension"}, True),
    ],
)
def test_a_message_of_the_bus_is_what_the_document_says(
    document: dict[str, Any], change: dict[str, Any], *, valid: bool
) -> None:
    payload = document["components"]["messages"]["OrderReceived"]["payload"]
    body = json.loads(wrap(ORDER, service="ingest", at=NOON, sequence=1).message.body) | change
    assert jsonschema.Draft7Validator(payload | {"components": document["components"]}).is_valid(body) is valid
