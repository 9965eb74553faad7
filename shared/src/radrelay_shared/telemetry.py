"""Traces, metrics and JSON logs of one service. Nothing here ever holds identity.

Messaging spans and metrics follow the OpenTelemetry messaging conventions (semantic conventions 1.44).
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from radrelay_shared.errors import RadRelayError
from radrelay_shared.ports import Message

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
    def sending_span(self, message: Message) -> Iterator[dict[str, str]]:
        """A PRODUCER span in the event's own trace; yields the headers that carry it to the consumer."""
        headers = dict(message.headers)
        with self.span(f"send {EXCHANGE}", SpanKind.PRODUCER, PROPAGATOR.extract(headers)) as span:
            span.set_attributes(messaging_attributes(message, "send", "send"))
            PROPAGATOR.inject(headers)
            yield headers

    @contextmanager
    def processing_span(self, message: Message, queue: str) -> Iterator[Span]:
        """A CONSUMER span that continues the sender's trace and links to where the event came to be."""
        parent = PROPAGATOR.extract(dict(message.headers))
        origin = get_current_span(parent).get_span_context()
        links = [Link(origin)] if origin.is_valid else []
        with self.span(f"process {queue}", SpanKind.CONSUMER, parent, links) as span:
            span.set_attributes(messaging_attributes(message, "process", "process"))
            yield span

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
                span.set_attribute("error.type", type(error).__qualname__)
                span.set_status(Status(StatusCode.ERROR))
                raise

    def close(self) -> None:
        """Send what waits, then stop. Blocks for at most a few seconds."""
        self.traces.force_flush(3_000)
        self.traces.shutdown()
        self.metrics.shutdown(timeout_millis=3_000)


def messaging_attributes(message: Message, name: str, kind: str) -> dict[str, str | int]:
    return {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": name,
        "messaging.operation.type": kind,
        "messaging.destination.name": EXCHANGE,
        "messaging.rabbitmq.destination.routing_key": f"{'stat' if message.urgent else 'routine'}.{message.type}",
        "messaging.message.id": message.id,
        "messaging.message.body.size": len(message.body),
    }


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
    """Send every log record of this process to standard error as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    handler.addFilter(OnlyOurs())
    logging.basicConfig(level=level, handlers=[handler], force=True)
