"""Orders and patients as hospitals' interface engines send them: over MLLP, over HTTP, signed, and more than once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import hl7
import pytest
import yaml
from hl7.client import MLLPClient
from standardwebhooks.webhooks import Webhook

from hl7_messages import OMI, ORM, adt, sent
from radrelay_ingest.domain.orders import Order, Status, Visit
from radrelay_ingest.domain.receipts import Receipt
from radrelay_shared.events import OrderReceived, Priority
from radrelay_shared.security import Role
from radrelay_shared.testing import PATIENCE_SECONDS

Door = Callable[..., AbstractAsyncContextManager[Any]]
HL7 = {"Content-Type": "application/hl7-v2; charset=utf-8"}
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BEGIN, END = b"\x0b", b"\x1c\r"


@asynccontextmanager
async def hospital(open_door: Door, **settings: Any) -> AsyncIterator[Any]:
    """A front door that takes HOSP_A's messages from this machine, for Bozeman."""
    async with open_door(mllp_host="127.0.0.1", mllp_port=0, **settings) as door:
        async with door.as_(Role.OPERATOR) as operator:
            site = (await operator.get("/ingest/sites")).json()["bozeman"]
            site |= {"hl7_facilities": ["HOSP_A"], "networks": ["127.0.0.0/8"]}
            assert (await operator.put("/ingest/sites/bozeman", json=site)).status_code == 200
        yield door


def over_mllp(port: int, *messages: bytes) -> list[Any]:
    """The acknowledgements that python-hl7's client gets, on one connection."""
    with MLLPClient("127.0.0.1", port) as client:
        return [hl7.parse(client.send_message(message).strip(BEGIN + END).decode()) for message in messages]


async def told(door: Any, *messages: str | bytes) -> list[tuple[str, str]]:
    """MSA-1 and MSA-2 of each answer."""
    raw = [message if isinstance(message, bytes) else sent(message) for message in messages]
    answers = await asyncio.to_thread(over_mllp, door.context.mllp_port, *raw)
    return [(str(ack.segment("MSA")[1]), str(ack.segment("MSA")[2])) for ack in answers]


async def orders(door: Any) -> list[Order]:
    found: list[Order] = await door.context.store.find(Order, sort="request.accession.value")
    return found


async def test_an_order_over_mllp_is_durable_before_it_is_acknowledged(open_door: Door) -> None:
    async with hospital(open_door) as door:
        assert await told(door, ORM) == [("AA", "MSG0001")]
        [order] = await orders(door)
        assert (order.site, order.request.patient.name) == ("bozeman", "DOE^JANE^Q")
        [kept] = [blob.key async for blob in door.context.originals.list("messages/bozeman/")]
        assert await door.context.originals.read(kept) == sent(ORM)
        [received] = await door.told(OrderReceived)
        assert (received.priority, received.modality, received.procedure) == (Priority.STAT, "CT", "70450")
        assert "ACC123" not in received.model_dump_json()


async def test_many_messages_on_one_connection_are_answered_one_after_the_other(open_door: Door) -> None:
    async with hospital(open_door) as door:
        assert await told(door, ORM, OMI, ORM) == [("AA", "MSG0001"), ("AA", "MSG0002"), ("AA", "MSG0001")]
        assert [order.request.accession.value for order in await orders(door)] == ["ACC123", "ACC200"]


async def test_a_message_that_comes_again_is_acknowledged_and_does_nothing(open_door: Door) -> None:
    async with hospital(open_door) as door:
        raised = ORM.replace("MSG0001", "MSG0003").replace("^^S||", "^^R||").replace("1^^^^^S", "")
        assert await told(door, ORM, raised, ORM) == [("AA", "MSG0001"), ("AA", "MSG0003"), ("AA", "MSG0001")]
        [order] = await orders(door)
        assert order.request.priority is Priority.ROUTINE  # the first one, late, does not undo the second
        await door.runtime.relay.idle()
        assert [each.priority for each in door.seen.of(OrderReceived)] == [Priority.STAT, Priority.ROUTINE]


async def test_a_control_id_used_twice_over_different_orders_loses_neither(open_door: Door) -> None:
    async with hospital(open_door) as door:
        await told(door, ORM, OMI.replace("MSG0002", "MSG0001"))
        assert len(await orders(door)) == 2


@pytest.mark.parametrize(
    ("message", "answered"),
    [
        (ORM.replace("HOSP_A|TELERAD", "HOSP_B|TELERAD"), "AR"),  # nobody registered HOSP_B
        (ORM.replace("ORM^O01^ORM_O01", "ORU^R01"), "AR"),
        (ORM.replace("ORM^O01^ORM_O01", "ADT^A02"), "AR"),
        (ORM.replace("|P|2.5.1", "|T|2.5.1"), "AR"),
        (ORM.replace("|P|2.5.1", "|P|3.0"), "AR"),
        (ORM.replace("ORC|NW", "ORC|ZZ"), "AE"),
        ("nonsense", "AR"),
    ],
)
async def test_what_cannot_be_taken_is_refused_and_leaves_nothing(open_door: Door, message: str, answered: str) -> None:
    async with hospital(open_door) as door:
        [(code, _), (after, _)] = await told(door, message, OMI)
        assert (code, after) == (answered, "AA")
        assert len(await orders(door)) == 1


async def test_a_sender_from_elsewhere_is_refused_even_if_it_says_the_right_name(open_door: Door) -> None:
    async with hospital(open_door) as door:
        await door.register(quiet=0.2)  # the site has no network any more
        assert await told(door, ORM) == [("AR", "MSG0001")]


async def test_a_message_without_an_end_is_cut_off_at_its_bound_and_told_so(open_door: Door) -> None:
    async with hospital(open_door, mllp_max_bytes=4096) as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.context.mllp_port)
        writer.write(BEGIN + b"MSH" + b"A" * 10_000)
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert b"MSA|AR" in await reader.readuntil(END)
            assert await closed(reader)
        writer.close()
        assert await told(door, ORM) == [("AA", "MSG0001")]


async def test_a_silent_sender_is_hung_up_on(open_door: Door) -> None:
    async with hospital(open_door, mllp_timeout=0.05) as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.context.mllp_port)
        writer.write(BEGIN + b"MSH")
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await closed(reader)
        writer.close()


async def test_no_more_connections_than_there_is_room_for(open_door: Door) -> None:
    async with hospital(open_door, mllp_max_connections=1) as door:
        _, first = await asyncio.open_connection("127.0.0.1", door.context.mllp_port)
        reader, second = await asyncio.open_connection("127.0.0.1", door.context.mllp_port)
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await closed(reader)
        first.close()
        second.close()


async def closed(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read() == b""
    except ConnectionResetError:
        return True


async def test_the_way_of_an_order_held_then_cancelled_while_its_patient_goes_home(open_door: Door) -> None:
    async with hospital(open_door) as door:
        hold = "\n".join((ORM.partition("\n")[0].replace("MSG0001", "M2"), ORM.split("\n")[1], "ORC|HD|PL100^HIS", ""))
        await told(door, ORM, hold)
        [order] = await orders(door)
        assert (order.request.status, order.request.accession.value) == (
            Status.ON_HOLD,
            "ACC123",
        )  # what was said stays
        patient = "PID|1||123456^^^HOSP_A^MR"
        await told(door, hold.replace("|HD|", "|CA|").replace("|M2|", "|M3|"), adt("A03", patient))
        [order] = await orders(door)
        assert (order.request.status, order.visit) == (Status.CANCELLED, Visit.DISCHARGED)
        assert [each.status for each in await door.told(OrderReceived, 3)] == ["active", "on-hold", "cancelled"]


# ── over HTTP ──


async def test_an_order_over_http_is_answered_with_its_acknowledgement(open_door: Door) -> None:
    async with open_door() as door, door.as_(Role.SITE, "bozeman") as machine:
        answer = await machine.post("/ingest/hl7", content=sent(ORM), headers=HL7)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/hl7-v2; charset=utf-8")
        assert "\rMSA|AA|MSG0001\r" in answer.text
        refused = await machine.post("/ingest/hl7", content=sent(ORM.replace("ORC|NW", "ORC|ZZ")), headers=HL7)
        assert (refused.status_code, "\rMSA|AE|MSG0001\r" in refused.text) == (200, True)
        xml = await machine.post("/ingest/hl7", content=b"<MSH/>", headers={"Content-Type": "application/hl7-v2+xml"})
        assert (xml.status_code, xml.headers["content-type"]) == (415, "application/problem+json")
        assert len(await orders(door)) == 1


async def test_an_idempotency_key_stands_for_one_body(open_door: Door) -> None:
    async with open_door() as door, door.as_(Role.SITE, "bozeman") as machine:
        headers = HL7 | {"Idempotency-Key": "k1"}
        first = await machine.post("/ingest/hl7", content=sent(ORM), headers=headers)
        again = await machine.post("/ingest/hl7", content=sent(ORM), headers=headers)
        assert first.text == again.text
        other = await machine.post("/ingest/hl7", content=sent(OMI), headers=headers)
        assert other.status_code == 422
        wrong = sent(ORM.replace("ORC|NW", "ORC|ZZ"))
        refused = await machine.post("/ingest/hl7", content=wrong, headers=HL7 | {"Idempotency-Key": "k2"})
        assert "MSA|AE" in refused.text
        receipts = await door.context.store.find(Receipt)
        assert [each.answer is None for each in receipts].count(True) == 1  # a refusal is judged anew
        async with door.as_(Role.SITE, "hamburg") as neighbour:  # whose keys are its own
            assert (await neighbour.post("/ingest/hl7", content=sent(OMI), headers=headers)).status_code == 200


REQUEST = {
    "resourceType": "ServiceRequest",
    "status": "active",
    "intent": "order",
    "identifier": [{"type": {"coding": [{"code": "ACSN"}]}, "value": "ACC123"}],
    "subject": {"identifier": {"value": "123456"}, "display": "Jane Doe"},
}


def signed(body: str, message_id: str = "msg_1", at: datetime | None = None) -> dict[str, str]:
    """As the reference library of Standard Webhooks signs."""
    moment = at or datetime.now(UTC)
    signature = Webhook(SECRET).sign(message_id, moment, body)
    return {
        "Content-Type": "application/fhir+json",
        "X-RadRelay-Site": "bozeman",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": f"v1,bm90IHRoaXMgb25l {signature}",
    }


async def test_a_signed_order_needs_no_token_and_has_its_effect_once(open_door: Door, tmp_path: Path) -> None:
    (tmp_path / "webhooks.yaml").write_text(yaml.safe_dump({"bozeman": [SECRET]}))
    body = json.dumps(REQUEST)
    async with open_door(webhook_secrets_file=tmp_path / "webhooks.yaml") as door, door.as_(Role.SITE) as http:
        del http.headers["authorization"]
        first = await http.post("/ingest/fhir", content=body, headers=signed(body))
        assert first.status_code == 202
        assert (await http.post("/ingest/fhir", content=body, headers=signed(body))).json() == first.json()
        changed = body.replace("Jane", "June")
        assert (await http.post("/ingest/fhir", content=changed, headers=signed(changed))).status_code == 422
        for wrong in (
            signed(changed),
            signed(body, at=datetime.now(UTC) - timedelta(hours=1)),
            signed(body) | {"X-RadRelay-Site": "hamburg"},
            signed(body) | {"webhook-id": "msg_2"},
            signed(body) | {"webhook-signature": "v1,!"},
        ):
            assert (await http.post("/ingest/fhir", content=body, headers=wrong)).status_code == 401
        assert len(await orders(door)) == 1


async def test_a_fhir_client_is_told_what_is_wrong_as_an_operation_outcome(open_door: Door) -> None:
    async with open_door() as door, door.as_(Role.SITE, "bozeman") as machine:
        wrong = REQUEST | {"authoredOn": "2026-02-30T10:00:00Z"}
        answer = await machine.post("/ingest/fhir", json=wrong, headers={"Accept": "application/fhir+json"})
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/fhir+json")
        assert answer.json() == {
            "resourceType": "OperationOutcome",
            "issue": [
                {
                    "severity": "error",
                    "code": "invalid",
                    "diagnostics": "a date and time that does not exist",
                    "expression": ["ServiceRequest.authoredOn"],
                }
            ],
        }
