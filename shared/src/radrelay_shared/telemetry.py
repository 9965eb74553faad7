"""Traces, metrics and JSON logs of one service. Nothing here ever holds identity.

Messaging spans and metrics follow the OpenTelemetry messaging conventions (semantic conventions 1.44).
"""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import Counter, Histogram
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from radrelay_shared.errors import RadRelayError
from radrelay_shared.ports import CAUSE, Message

EXCHANGE = "radrelay.events"
PROPAGATOR = TraceContextTextMapPropagator()

current_service: ContextVar[str] = ContextVar("current_service", default="radrelay")
current_study: ContextVar[str] = ContextVar("current_study", default="")


class Telemetry:
    """The tracer and meters of one service; several live side by side in the all-in-one."""

    def __init__(
        self,
        service: str,
        otlp_endpoint: str | None = None,
        *,
        processors: Sequence[SpanProcessor] = (),
        readers: Sequence[MetricReader] = (),
    ) -> None:
        resource = Resource.create({"service.name": f"radrelay-{service}", "service.namespace": "radrelay"})
        self.traces = TracerProvider(resource=resource, shutdown_on_exit=False)
        found_readers = list(readers)
        for processor in processors:
            self.traces.add_span_processor(processor)
        if otlp_endpoint:
            spans = OTLPSpanExporter(endpoint=f"{otlp_endpoint.rstrip('/')}/v1/traces")
            self.traces.add_span_processor(BatchSpanProcessor(spans))
            metrics = OTLPMetricExporter(endpoint=f"{otlp_endpoint.rstrip('/')}/v1/metrics")
            found_readers.append(PeriodicExportingMetricReader(metrics))
        self.metrics = MeterProvider(found_readers, resource=resource, shutdown_on_exit=False)
        self.tracer = self.traces.get_tracer("radrelay")
        meter = self.metrics.get_meter("radrelay")
        self.sent = meter.create_counter("messaging.client.sent.messages", "{message}")
        self.consumed = meter.create_counter("messaging.client.consumed.messages", "{message}")
        self.sending = meter.create_histogram("messaging.client.operation.duration", "s")
        self.processing = meter.create_histogram("messaging.process.duration", "s")

    @contextmanager
    def send(self, message: Message) -> Iterator[dict[str, str]]:
        """A measured PRODUCER span in the event's own trace; yields the headers that carry it to the consumer.

        It links to the request of a person, or the step of a clock, that caused the event.
        """
        headers, attributes = dict(message.headers), destination_attributes(message, "send")
        links = origin_of({"traceparent": headers.pop(CAUSE, "")})
        name = f"send {attributes['messaging.destination.name']}"
        with (
            measured(self.sent, self.sending, attributes),
            self.span(name, SpanKind.PRODUCER, PROPAGATOR.extract(headers), links) as span,
        ):
            span.set_attributes({**attributes, **message_attributes(message)})
            PROPAGATOR.inject(headers)
            yield headers

    @contextmanager
    def process(self, message: Message, queue: str) -> Iterator[Callable[[str], None]]:
        """A measured CONSUMER span that continues the sender's trace and links to it.

        Yields what to call, with the error's kind, when the message was not handled.
        """
        attributes = destination_attributes(message, "process", queue)
        name = f"process {attributes['messaging.destination.name']}"
        parent = PROPAGATOR.extract(dict(message.headers))
        with (
            measured(self.consumed, self.processing, attributes),
            self.span(name, SpanKind.CONSUMER, parent, origin_of(message.headers)) as span,
        ):
            span.set_attributes({**attributes, **message_attributes(message)})

            def failed(kind: str) -> None:
                attributes["error.type"] = kind
                mark_failed(span, kind)

            yield failed

    @contextmanager
    def span(
        self,
        name: str,
        kind: SpanKind = SpanKind.INTERNAL,
        parent: Context | None = None,
        links: Sequence[Link] = (),
    ) -> Iterator[Span]:
        """A span that records an error's kind, but never its text: foreign texts may hold identity."""
        with self.tracer.start_as_current_span(
            name, parent, kind, links=links, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield span
            except BaseException as error:
                mark_failed(span, type(error).__qualname__)
                raise

    def close(self) -> None:
        """Send what waits, then stop. Blocks for at most a few seconds."""
        self.traces.force_flush(3_000)
        self.traces.shutdown()
        self.metrics.shutdown(timeout_millis=3_000)


def origin_of(headers: Mapping[str, str]) -> list[Link]:
    """A link to the span that a `traceparent` names, if it names one."""
    origin = get_current_span(PROPAGATOR.extract(dict(headers), Context())).get_span_context()
    return [Link(origin)] if origin.is_valid else []


def mark_failed(span: Span, kind: str) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR))


@contextmanager
def measured(count: Counter, duration: Histogram, attributes: dict[str, str]) -> Iterator[None]:
    """Count what happens inside and how long it took, with the attributes as they are at its end."""
    started = time.monotonic()
    try:
        yield
    except BaseException as error:
        attributes["error.type"] = type(error).__qualname__
        raise
    finally:
        count.add(1, attributes)
        duration.record(time.monotonic() - started, attributes)


def destination_attributes(message: Message, operation: str, queue: str = "") -> dict[str, str]:
    """Few values each, so that metrics can have them, too; a consumer's destination names its queue."""
    routing_key = f"{'stat' if message.urgent else 'routine'}.{message.type}"
    return {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": ":".join(filter(None, (EXCHANGE, routing_key, queue))),
        "messaging.rabbitmq.destination.routing_key": routing_key,
    }


def message_attributes(message: Message) -> dict[str, str | int]:
    return {"messaging.message.id": message.id, "messaging.message.body.size": len(message.body)}


class JsonLines(logging.Formatter):
    """One JSON object per line: when, which service, which study (by key), which trace, what."""

    def format(self, record: logging.LogRecord) -> str:
        context = get_current_span().get_span_context()
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": current_service.get(),
            "study": current_study.get() or None,
            "trace": f"{context.trace_id:032x}" if context.is_valid else None,
            "logger": record.name,
            "message": record.getMessage(),
            "error": describe(record.exc_info[1]) if record.exc_info and record.exc_info[1] else None,
        }
        return json.dumps({key: value for key, value in line.items() if value is not None}, ensure_ascii=False)


def describe(error: BaseException) -> str:
    """The error's kind and place; its text only where RadRelay itself wrote it, for others may quote identity."""
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    place = " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames))
    text = f": {error.detail}" if isinstance(error, RadRelayError) else ""
    return f"{type(error).__qualname__}{text} at {place}"


class OnlyOurs(logging.Filter):
    """Foreign libraries' messages may quote what they were given; only their warnings' origin is kept."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith("radrelay"):
            record.msg, record.args = f"{record.name} says something at {record.module}:{record.lineno}", ()
            return record.levelno >= logging.WARNING
        return True


def log_to_stderr(level: str = "INFO") -> None:
    """Send every log record and warning of this process to standard error as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    handler.addFilter(OnlyOurs())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)  # pydicom's quote values
