"""Events: what is written is what is read, in a CloudEvents 1.0 envelope that never grows large."""

from __future__ import annotations

import json
import re
import time
import uuid
from datetime import UTC, datetime, timedelta
from itertools import count
from types import MappingProxyType
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from radrelay_shared.envelope import CONTENT_TYPE, Envelope, unwrap, uuid7, wrap
from radrelay_shared.events import (
    EVENTS,
    Event,
    OrderReceived,
    PatientChanged,
    Priority,
    ReportFinalized,
    StudyReceived,
    StudyTriaged,
)
from radrelay_shared.ports import Message

NOON = datetime(2026, 3, 2, 12, 0, 0, 250_000, tzinfo=UTC)
FACTS = MappingProxyType(  # every field of any event that has no default
    {
        "site": "clinic-a",
        "study": "st-1",
        "order": "or-1",
        "jurisdiction": "US-MT",
        "received_at": NOON,
        "completed_at": NOON + timedelta(seconds=20),
        "manifest": "st-1/000001/manifest.json",
        "instances": 300,
        "size": 157_286_400,
        "modalities": ("CT", "SR"),
        "basis": "quiet-period",
        "study_instance_uid": "2.25.329800735698586629295641978511506172918",
        "reasons": ("STAT asked by order or-1",),
        "subspecialty": "neuro",
        "due_at": NOON + timedelta(minutes=30),
        "model": "key:findings-1",
        "workitem": "wi-1",
        "radiologist": "anna",
        "until": NOON + timedelta(minutes=1),
        "reason": "lapsed",
        "report": "re-1",
        "version": 1,
        "content": "reports/st-1/0001.json",
        "sha256": "0" * 64,
        "endpoint": "ep-1",
        "webhook_id": "msg_1",
        "attempts": 2,
        "identity": "identities/st-1/1.json",
        "batch": 1,
        "object": "st-1/000001/0001.pack",
        "manifest_sha256": "0" * 64,
        "held": True,
        "purged_at": NOON,
        "what": "originals",
        "objects": 3,
    }
)
OTHERWISE: dict[type[Event], dict[str, Any]] = {PatientChanged: {"reason": "merged"}}  # a code of its own
every_event = pytest.mark.parametrize("kind", EVENTS.values(), ids=EVENTS)


def example(kind: type[Event], **changes: Any) -> Event:
    facts = {**FACTS, **OTHERWISE.get(kind, {}), **changes}
    return kind(**{name: value for name, value in facts.items() if name in kind.model_fields})


def enveloped(event: Event) -> Envelope[Event]:
    return wrap(event, service="triage", at=NOON, sequence=7, traceparent=f"00-{'ab' * 16}-{'cd' * 8}-01")


def test_the_pipeline_is_told_in_its_order() -> None:
    assert [name.removeprefix("radrelay.").removesuffix(".v1") for name in EVENTS] == [
        "order.received",
        "patient.changed",
        "study.received",
        "study.updated",
        "study.anonymized",
        "study.quarantined",
        "study.stored",
        "pack.damaged",
        "pack.restored",
        "study.held",
        "study.purged",
        "study.erased",
        "study.triaged",
        "model.asked",
        "study.assigned",
        "assignment.claimed",
        "assignment.returned",
        "assignment.stranded",
        "report.preliminary",
        "report.finalized",
        "report.addended",
        "report.delivered",
        "report.undelivered",
    ]


@every_event
def test_what_one_service_wraps_the_next_one_unwraps(kind: type[Event]) -> None:
    sent = enveloped(example(kind))
    got = unwrap(sent.message)
    assert type(got.data) is kind
    assert got.model_dump() == sent.model_dump()


@every_event
def test_an_envelope_is_a_cloud_event(kind: type[Event]) -> None:
    body = json.loads(enveloped(example(kind)).message.body)
    assert all(re.fullmatch(r"[a-z0-9]{1,20}", name) for name in body)  # CloudEvents 1.0 §3
    assert all(isinstance(value, str) and value for name, value in body.items() if name != "data")
    assert set(body) - {"data"} == {
        *("specversion", "id", "source", "type", "subject", "time", "datacontenttype"),
        *("partitionkey", "sequence", "site", "traceparent"),
    }
    assert body["specversion"] == "1.0"
    assert body["datacontenttype"] == "application/json"
    assert re.fullmatch(r"radrelay\.[a-z]+\.[a-z]+\.v1", body["type"])
    assert body["source"] == "/radrelay/triage"
    assert body["subject"] == body["partitionkey"] == "st-1"
    assert body["time"] == "2026-03-02T12:00:00.250000Z"  # RFC 3339
    assert body["sequence"] == "0000000007"


def test_the_bus_gets_the_type_the_id_and_the_trace_of_the_event() -> None:
    envelope = enveloped(example(StudyTriaged))
    message = envelope.message
    assert (message.id, message.type) == (envelope.id, "radrelay.study.triaged.v1")
    assert message.headers == {"traceparent": envelope.traceparent}
    assert CONTENT_TYPE == "application/cloudevents+json; charset=UTF-8"


def test_an_order_without_images_is_named_by_its_order_key() -> None:
    assert enveloped(example(OrderReceived, study="")).subject == "or-1"


@pytest.mark.parametrize(("priority", "urgent"), [("stat", True), ("urgent", False), ("routine", False)])
def test_only_a_stat_study_takes_the_urgent_lane(priority: str, *, urgent: bool) -> None:
    assert enveloped(example(StudyReceived, priority=Priority(priority))).message.urgent is urgent


@every_event
def test_a_field_of_a_later_version_is_passed_over(kind: type[Event]) -> None:
    message = enveloped(example(kind)).message
    body = json.loads(message.body)
    body["dataschema"] = "urn:radrelay:later"
    body["data"]["laterality"] = "left"
    later = Message(message.id, message.type, message.urgent, json.dumps(body).encode())
    assert unwrap(later).data == example(kind)


@every_event
def test_its_json_schema_describes_exactly_what_is_sent(kind: type[Event]) -> None:
    schema = Envelope[kind].model_json_schema(mode="serialization")  # type: ignore[valid-type]  # a type at run time
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    body = json.loads(enveloped(example(kind)).message.body)
    validator.validate(body)
    del body["data"]["site"]
    assert not validator.is_valid(body)


@every_event
def test_an_event_of_a_study_with_many_reasons_stays_under_64_kib(kind: type[Event]) -> None:
    large = example(kind, reasons=tuple(f"(0010,{n:04x}) could not be cleaned in 300 instances" for n in range(500)))
    assert len(enveloped(large).message.body) < 64 * 1024


@every_event
def test_what_happened_cannot_be_changed_and_says_what_it_is(kind: type[Event]) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        example(kind).study = "st-2"  # type: ignore[misc]  # that is the point
    assert kind.doc


def test_a_time_without_zone_is_no_time() -> None:
    with pytest.raises(ValidationError, match="timezone"):
        example(StudyReceived, received_at=NOON.replace(tzinfo=None))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("radrelay.study.forgotten.v1", b"{}"),
        ("radrelay.report.finalized.v1", b"{}"),
        ("radrelay.report.finalized.v1", b"\xff\xfe"),
        ("radrelay.report.finalized.v1", b"[" * 10_000),
    ],
)
def test_a_foreign_message_is_refused_and_never_guessed_at(kind: str, body: bytes) -> None:
    with pytest.raises((ValidationError, KeyError)):
        unwrap(Message("1", kind, urgent=False, body=body))


def test_a_body_that_says_another_type_than_its_message_is_refused() -> None:
    body = enveloped(example(ReportFinalized)).message.body
    with pytest.raises((ValidationError, KeyError)):
        unwrap(Message("1", "radrelay.report.preliminary.v1", urgent=False, body=body))


def test_ids_are_uuid_version_7_that_sort_by_the_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = count(time.time_ns(), 300_000)  # a machine's own may be set back
    monkeypatch.setattr(time, "time_ns", lambda: next(clock))
    before = time.time_ns() // 1_000_000
    made = [uuid.UUID(uuid7()) for _ in range(2000)]
    after = time.time_ns() // 1_000_000
    assert {(each.version, each.variant) for each in made} == {(7, uuid.RFC_4122)}
    milliseconds = [each.int >> 80 for each in made]
    assert before <= milliseconds[0]
    assert milliseconds == sorted(milliseconds)
    assert milliseconds[-1] <= after
    assert len(set(made)) == 2000
    assert len({each.int & ((1 << 62) - 1) for each in made}) == 2000  # the random part differs, too


def test_an_id_of_a_later_millisecond_sorts_after(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = count(time.time_ns(), 1_000_000)
    monkeypatch.setattr(time, "time_ns", lambda: next(clock))
    assert uuid7() < uuid7()
