"""One trace from the door to the webhook, metrics by the conventions, and nothing that could name a patient."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import pytest
from fastapi import APIRouter
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from radrelay_shared.adapters.memory import MemoryBus
from radrelay_shared.aggregate import Aggregate, Decision
from radrelay_shared.envelope import Envelope, wrap
from radrelay_shared.errors import Invalid, Unreachable
from radrelay_shared.events import AssignmentStranded, Event, OrderReceived, Priority
from radrelay_shared.ports import Dead, Delivery, Retry
from radrelay_shared.security import Operator, Role
from radrelay_shared.service import Context, Runtime, Service
from radrelay_shared.telemetry import JsonLines, OnlyOurs, Telemetry, current_service, current_study
from radrelay_shared.testing import client, embedded, running

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
ORDER = OrderReceived(site="clinic-a", study="st-1", order="or-1", jurisdiction="US-MT", priority=Priority.STAT)
STRANDED = AssignmentStranded(site="clinic-a", study="st-1", workitem="wi-1", study_instance_uid="2.25.1", reasons=())
ORDERS, STRANDS = "stat.radrelay.order.received.v1", "stat.radrelay.assignment.stranded.v1"


class Note(Aggregate):
    collection: ClassVar[str] = "notes"


def told(event: Event) -> Decision[Note]:
    return Decision(Note(), [event])


async def on_order_received(envelope: Envelope[OrderReceived], context: Context[Any]) -> None:
    await context.store.change(Note, envelope.subject, lambda _: told(STRANDED), because=envelope)


async def on_assignment_stranded(_: Envelope[AssignmentStranded], __: Context[Any]) -> None:
    return


FIRST = Service("first", {}, (OrderReceived,))
SECOND = Service("second", {OrderReceived: on_order_received}, (AssignmentStranded,))
THIRD = Service("third", {AssignmentStranded: on_assignment_stranded}, ())


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
async def pipeline(tmp_path: Path, exporter: InMemorySpanExporter) -> AsyncIterator[list[Runtime]]:
    """Three services, one after the other, in one process; their spans go to one exporter."""
    bus, processors = MemoryBus(), [SimpleSpanProcessor(exporter)]
    async with AsyncExitStack() as started:
        runtimes = []
        for service in (FIRST, SECOND, THIRD):
            settings = service.settings(**embedded(service, tmp_path / service.name))
            runtimes.append(Runtime(service, settings, bus=bus, processors=processors))
            await runtimes[-1].start()
            started.push_async_callback(runtimes[-1].stop)
        yield runtimes
    await bus.close()


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def test_what_a_radiologist_does_later_stays_in_the_studys_trace_and_names_the_request(
    pipeline: list[Runtime], exporter: InMemorySpanExporter
) -> None:
    first, second, _ = pipeline
    with first.telemetry.span("C-STORE", SpanKind.SERVER):
        await first.context.store.change(Note, "st-1", lambda _: told(ORDER))
    await first.relay.idle()
    await second.relay.idle()
    exporter_before = len(exporter.get_finished_spans())
    with second.telemetry.span("POST sign", SpanKind.SERVER):
        await second.context.store.change(Note, "st-1", lambda _: told(STRANDED))
    await second.relay.idle()

    earlier = exporter.get_finished_spans()[:exporter_before]
    later = {span.name: span for span in exporter.get_finished_spans()[exporter_before:]}
    request, sending = later["POST sign"], later[f"send radrelay.events:{STRANDS}"]
    assert sending.context.trace_id == earlier[0].context.trace_id != request.context.trace_id
    assert [link.context.span_id for link in sending.links] == [request.context.span_id]


async def test_one_trace_leads_from_the_door_through_every_service(
    pipeline: list[Runtime], exporter: InMemorySpanExporter
) -> None:
    first, second, _ = pipeline
    with first.telemetry.span("C-STORE", SpanKind.SERVER):
        await first.context.store.change(Note, "st-1", lambda _: told(ORDER))
    await first.relay.idle()
    await second.relay.idle()

    spans = {span.name: span for span in exporter.get_finished_spans()}
    way = [
        "C-STORE",
        f"send radrelay.events:{ORDERS}",
        f"process radrelay.events:{ORDERS}:radrelay.second.stat",
        f"send radrelay.events:{STRANDS}",
        f"process radrelay.events:{STRANDS}:radrelay.third.stat",
    ]
    assert set(spans) == set(way)
    assert len({span.context.trace_id for span in spans.values()}) == 1
    for before, after in pairwise(way):
        parent = spans[after].parent
        assert parent is not None
        assert parent.span_id == spans[before].context.span_id
        links = [link.context.span_id for link in spans[after].links]
        assert links == ([spans[before].context.span_id] if after.startswith("process") else [])
    assert [spans[name].kind.name for name in way] == ["SERVER", "PRODUCER", "CONSUMER", "PRODUCER", "CONSUMER"]
    assert [spans[name].resource.attributes["service.name"] for name in way] == [
        *("radrelay-first", "radrelay-first", "radrelay-second", "radrelay-second", "radrelay-third")
    ]


async def test_messaging_spans_have_the_attributes_of_the_conventions(
    pipeline: list[Runtime], exporter: InMemorySpanExporter
) -> None:
    first, second, _ = pipeline
    await first.context.store.change(Note, "st-1", lambda _: told(ORDER))
    await first.relay.idle()
    await second.relay.idle()
    sent, processed = (
        next(span for span in exporter.get_finished_spans() if span.name.startswith(f"{what} radrelay.events:{ORDERS}"))
        for what in ("send", "process")
    )
    common = {
        "messaging.system": "rabbitmq",
        "messaging.rabbitmq.destination.routing_key": ORDERS,
        "messaging.message.id": attributes_of(sent)["messaging.message.id"],
        "messaging.message.body.size": attributes_of(sent)["messaging.message.body.size"],
    }
    assert attributes_of(sent) == common | {
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": f"radrelay.events:{ORDERS}",
    }
    assert attributes_of(processed) == common | {
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": f"radrelay.events:{ORDERS}:radrelay.second.stat",
    }


@pytest.mark.parametrize(
    ("error", "kind", "verdict"),
    [
        (ValueError("DOE^JANE"), "ValueError", Retry),
        (Invalid("no modality"), "Invalid", Dead),
        (Unreachable("the vault is away"), "Unreachable", Retry),
    ],
)
async def test_a_failed_delivery_marks_its_span_with_the_kind_of_error_only(
    tmp_path: Path, exporter: InMemorySpanExporter, error: Exception, kind: str, verdict: type
) -> None:
    async def failing(_: Envelope[OrderReceived], context: Context[Any]) -> None:
        with context.telemetry.span("reading"):
            raise error

    service = Service("second", {OrderReceived: failing}, ())
    runtime = Runtime(
        service, service.settings(**embedded(service, tmp_path)), processors=[SimpleSpanProcessor(exporter)]
    )
    await runtime.start()
    message = wrap(ORDER, service="first", at=NOON, sequence=1).message
    assert isinstance(await runtime.consume(Delivery(message, 1)), verdict)
    await runtime.stop()
    inner, outer = exporter.get_finished_spans()
    for span in (inner, outer):
        assert attributes_of(span)["error.type"] == kind
        assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, None)
        assert span.events == ()
        assert "DOE" not in span.to_json()


router = APIRouter()


@router.get("/studies/{study}")
async def read(_: Operator, study: str) -> dict[str, str]:
    return {"study": study}


async def test_a_request_continues_its_callers_trace_and_its_query_is_not_kept(
    tmp_path: Path, exporter: InMemorySpanExporter
) -> None:
    async with running(Service("first", {}, (), routers=(router,)), tmp_path) as (runtime, _):
        runtime.telemetry.traces.add_span_processor(SimpleSpanProcessor(exporter))
        traceparent = f"00-{'ab' * 16}-{'cd' * 8}-01"
        async with client(runtime, Role.OPERATOR) as http:
            await http.get("/studies/st-1", params={"name": "DOE^JANE"}, headers={"traceparent": traceparent})
            await http.get("/readyz")
    (span,) = exporter.get_finished_spans()
    assert f"{span.context.trace_id:032x}" == "ab" * 16
    assert (span.name, span.kind) == ("GET /studies/{study}", SpanKind.SERVER)
    assert attributes_of(span) == {"http.request.method": "GET", "http.route": "/studies/{study}"}
    assert "DOE" not in span.to_json()


# ── metrics ──────────────────────────────────────────────────────────────────────────────────────────


def points(reader: InMemoryMetricReader) -> dict[str, list[tuple[Mapping[str, Any], int]]]:
    """Each metric's points, as attributes and how often."""
    data = reader.get_metrics_data()
    found: dict[str, list[tuple[Mapping[str, Any], int]]] = {}
    for resource in data.resource_metrics if data else ():
        for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
            found[metric.name] = [(dict(point.attributes or {}), count_of(point)) for point in metric.data.data_points]
    return found


def count_of(point: Any) -> int:
    match point:
        case HistogramDataPoint():
            return point.count
        case NumberDataPoint():
            return int(point.value)
    raise TypeError(type(point))


def test_what_is_sent_and_processed_is_counted_and_timed_by_the_conventions() -> None:
    reader = InMemoryMetricReader()
    telemetry = Telemetry("second", readers=[reader])
    message = wrap(ORDER, service="first", at=NOON, sequence=1).message
    with telemetry.send(message):
        pass
    with pytest.raises(Unreachable), telemetry.send(message):
        raise Unreachable("the broker is away")
    with telemetry.process(message, "radrelay.second.stat") as failed:
        failed("Invalid")

    sent = {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": f"radrelay.events:{ORDERS}",
        "messaging.rabbitmq.destination.routing_key": ORDERS,
    }
    processed = sent | {
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": f"radrelay.events:{ORDERS}:radrelay.second.stat",
        "error.type": "Invalid",
    }
    sends = [(sent, 1), (sent | {"error.type": "Unreachable"}, 1)]
    assert points(reader) == {
        "messaging.client.sent.messages": sends,
        "messaging.client.operation.duration": sends,
        "messaging.client.consumed.messages": [(processed, 1)],
        "messaging.process.duration": [(processed, 1)],
    }
    telemetry.close()


# ── logs ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What `log_to_stderr` would print, of these two loggers."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonLines())
    handler.addFilter(OnlyOurs())
    loggers = [logging.getLogger("radrelay.test"), logging.getLogger("foreign.library")]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    yield written
    for logger in loggers:
        logger.removeHandler(handler)


def test_a_log_line_is_json_that_names_service_study_and_trace(lines: io.StringIO) -> None:
    current_service.set("triage")
    current_study.set("st-1")
    telemetry = Telemetry("triage")
    with telemetry.span("deciding") as span:
        logging.getLogger("radrelay.test").warning('%d instances of "%s"\nare late', 3, "st-1")
    line = json.loads(lines.getvalue())
    assert datetime.fromisoformat(line.pop("time")).tzinfo is not None
    assert line == {
        "level": "warning",
        "service": "triage",
        "study": "st-1",
        "trace": f"{span.get_span_context().trace_id:032x}",
        "logger": "radrelay.test",
        "message": '3 instances of "st-1"\nare late',
    }
    assert lines.getvalue().count("\n") == 1
    telemetry.close()


def test_foreign_libraries_are_heard_but_not_quoted(lines: io.StringIO) -> None:
    logger = logging.getLogger("foreign.library")
    logger.warning("cannot decode (0010,0010) %s", "DOE^JANE")
    logger.info("connected as DOE^JANE")
    (line,) = map(json.loads, lines.getvalue().splitlines())
    assert line["message"].startswith("foreign.library says something at test_telemetry:")
    assert "DOE" not in lines.getvalue()


@pytest.mark.parametrize("name", ["radrelay.test", "foreign.library"])
def test_of_a_foreign_error_only_kind_and_place_are_logged(lines: io.StringIO, name: str) -> None:
    try:
        int("DOE^JANE")
    except ValueError:
        logging.getLogger(name).exception("reading failed")
    line = json.loads(lines.getvalue())
    assert line["error"].startswith("ValueError at test_of_a_foreign_error_only_kind_and_place_are_logged:")
    assert "DOE" not in lines.getvalue()
