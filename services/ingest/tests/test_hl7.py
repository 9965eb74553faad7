"""HL7 v2: what an order says wherever hospitals write it, in whatever character set, and what the answer says."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hl7_messages import OMI, ORM, adt, sent
from radrelay_ingest.domain.orders import Request, Status
from radrelay_ingest.domain.patients import Identifier, Patient
from radrelay_ingest.hl7.acks import acknowledged
from radrelay_ingest.hl7.er7 import Message, read
from radrelay_ingest.hl7.errors import Rejected, Unacceptable
from radrelay_ingest.hl7.priorities import meaning
from radrelay_ingest.hl7.reading import merges_in, orders_in, patient_of
from radrelay_shared.events import Priority
from radrelay_shared.named import Named

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def orders(message: str) -> list[Request]:
    return orders_in(read(sent(message)))


def test_a_head_ct_ordered_with_orm() -> None:
    assert orders(ORM) == [
        Request(
            accession=Identifier(value="ACC123"),
            placer=Identifier(value="PL100", issuer="HIS"),
            filler=Identifier(value="FL100", issuer="RIS"),
            priority=Priority.STAT,
            modality="CT",
            procedure="70450",
            codes=("70450",),
            description="CT HEAD W/O",
            reason="sudden headache",
            requested_procedure_id="RP1",
            step_id="SPS1",
            scheduled="20261101100000",
            ordered="20261101092500",
            referring_physician="SMITH^JOHN^^DR",
            patient=Patient(
                ids=(Identifier(value="123456", issuer="HOSP_A"),), name="DOE^JANE^Q", birth_date="19800101", sex="F"
            ),
            besides=Named(
                people=("DOE^JANE^Q", "SMITH^JOHN^^DR"),
                numbers=("9988", "123456", "PL100", "FL100"),
                dates=("19800101",),
            ),
        )
    ]


def test_a_left_sided_head_ct_ordered_with_omi_for_its_scanner() -> None:
    [order] = orders(OMI)
    assert order.accession == Identifier(value="ACC200", issuer="RIS")
    assert order.patient.ids == (Identifier(value="123456", issuer="HOSP_A", universal="1.2.3"),)
    assert (order.study_instance_uid, order.requested_procedure_id, order.step_id) == ("1.2.840.99.1", "RP2", "SPS2")
    assert (order.modality, order.station_ae, order.scheduled) == ("CT", "CT_ONE", "20261101100000")
    assert (order.priority, order.laterality, order.procedure) == (Priority.URGENT, "L", "30799-1")


def test_two_orders_in_one_message_are_two_orders_of_one_patient() -> None:
    spine = "ORC|NW|PL101^HIS\nOBR|1|PL101^HIS||72125^CT C-SPINE^CPT4||||||||||||||ACC124\n"
    assert [order.accession.value for order in orders(ORM + spine)] == ["ACC123", "ACC124"]


@pytest.mark.parametrize(
    ("control", "status", "meant"),
    [
        ("NW", "", Status.ACTIVE),
        ("XO", "", Status.ACTIVE),
        ("RP", "", Status.ACTIVE),
        ("CA", "", Status.CANCELLED),
        ("DC", "", Status.CANCELLED),
        ("OC", "", Status.CANCELLED),
        ("CR", "", Status.CANCELLED),
        ("HD", "", Status.ON_HOLD),
        ("OH", "", Status.ON_HOLD),
        ("SC", "IP", Status.ACTIVE),
        ("SC", "CM", Status.COMPLETED),
        ("SC", "CA", Status.CANCELLED),
        ("SC", "HD", Status.ON_HOLD),
    ],
)
def test_order_control_and_status(control: str, status: str, meant: Status) -> None:
    message = ORM.replace("ORC|NW", f"ORC|{control}").replace("||SC||", f"||{status}||")
    assert orders(message)[0].status is meant


@pytest.mark.parametrize(
    ("code", "meant"),
    [
        ("S", Priority.STAT),
        ("A", Priority.URGENT),
        ("P", Priority.URGENT),
        ("C", Priority.URGENT),
        ("T", Priority.URGENT),
        ("R", Priority.ROUTINE),
        ("TM30", Priority.STAT),
        ("TS90", Priority.STAT),
        ("TH3", Priority.URGENT),
        ("TD2", Priority.ROUTINE),
        ("whenever", Priority.ROUTINE),
    ],
)
def test_priority_as_hl7_says_it(code: str, meant: Priority) -> None:
    assert meaning(code) is meant


def test_priority_of_tq1_counts_more_than_that_of_orc() -> None:
    [order] = orders(ORM.replace("OBR|", "TQ1|1||||||||R\nOBR|", 1))
    assert order.priority is Priority.ROUTINE


# ── character sets ──


@pytest.mark.parametrize(
    ("charset", "encoding", "name", "read_as"),
    [
        ("", "ascii", "DOE^JANE", "DOE^JANE"),
        ("UNICODE UTF-8", "utf-8", "Müller^Jürgen", "Müller^Jürgen"),
        ("8859/1", "latin-1", "Buc^Jérôme", "Buc^Jérôme"),
        ("8859/5", "iso8859-5", "Люкceмбypг^Юрий", "Люкceмбypг^Юрий"),  # noqa: RUF001  Cyrillic
        ("8859/6", "iso8859-6", "قباني^لنزار", "قباني^لنزار"),
        ("8859/7", "iso8859-7", "Διονυσιος^Νικος", "Διονυσιος^Νικος"),
        ("8859/8", "iso8859-8", "שרון^דבורה", "שרון^דבורה"),
        ("GB 18030-2000", "gb18030", "王^小东", "王^小东"),
        ("BIG-5", "big5", "許^功蓋", "許^功蓋"),  # each ends with a byte that looks like a backslash
        ("KS X 1001", "euc_kr", "김^희중", "김^희중"),
        ("~ISO IR87", "iso2022_jp", "山田^太郎^^^^^L^I", "山田^太郎"),
        ("ISO IR14~ISO IR87", "iso2022_jp", "ヤマダ^タロウ^^^^^L^P", "ヤマダ^タロウ"),
        (
            "~ISO IR87",
            "iso2022_jp",
            "Yamada^Tarou^^^^^L^A~山田^太郎^^^^^L^I~やまだ^たろう^^^^^L^P",
            "Yamada^Tarou=山田^太郎=やまだ^たろう",
        ),
    ],
)
def test_names_come_through_in_every_character_set(charset: str, encoding: str, name: str, read_as: str) -> None:
    message = ORM.replace("UNICODE UTF-8", charset).replace("DOE^JANE^Q", name)
    read_back = read(sent(message, encoding))
    assert patient_of(read_back).name == read_as
    assert orders_in(read_back)[0].accession.value == "ACC123"


def test_what_the_transport_says_counts_more_than_msh_18() -> None:
    message = sent(ORM.replace("UNICODE UTF-8", "ASCII").replace("DOE", "Müller"), "latin-1")
    assert patient_of(read(message, "latin-1")).name == "Müller^JANE^Q"


def test_escaped_delimiters_and_bytes_are_the_characters_that_they_stand_for() -> None:
    message = ORM.replace("DOE^JANE^Q", r"O\T\NEIL^M\XC3BC\nir").replace("sudden headache", r"fall \F\ pain\.br\ left")
    [order] = orders(message)
    assert (order.patient.name, order.reason) == ("O&NEIL^Münir", "fall | pain\n left")


# ── what is refused ──


@pytest.mark.parametrize(
    ("message", "acknowledgement", "code", "location"),
    [
        (ORM.replace("PL100^HIS", "").replace("FL100^RIS", "").replace("ACC123", ""), "AE", "101", "ORC^1^2"),
        (ORM.replace("ORC|NW", "ORC|ZZ"), "AE", "103", "ORC^1^1"),
        (ORM.replace("20261101100000", "20261399100000"), "AE", "102", "ORC^1^7"),
        (ORM.replace("19800101", "yesterday"), "AE", "102", "PID^1^7"),
        (ORM.replace("123456^^^HOSP_A^MR", "").replace("DOE^JANE^Q", ""), "AE", "101", "PID^1^3"),
        (ORM.replace("PID|", "ZID|"), "AE", "100", "PID^1"),
        (ORM.partition("ORC")[0], "AE", "100", "ORC^1"),
        (ORM.replace("UNICODE UTF-8", "CNS 11643-1992"), "AR", "103", "MSH^1^18"),
        ("PID|1||123456\n", "AR", "100", "MSH^1"),
        ("", "AR", "100", "MSH^1"),
        (r"MSH|^~\|" + "\n", "AR", "100", "MSH^1"),
    ],
)
def test_a_message_that_is_wrong_is_told_where_in_hl7_s_own_codes(
    message: str, acknowledgement: str, code: str, location: str
) -> None:
    with pytest.raises(Unacceptable) as refused:
        orders(message)
    assert (refused.value.acknowledgement, refused.value.code, refused.value.location) == (
        acknowledgement,
        code,
        location,
    )
    assert not {"DOE", "JANE", "123456", "ACC123"} & set(refused.value.detail.split())


def test_bytes_that_are_not_what_msh_18_says_are_refused_and_not_guessed() -> None:
    with pytest.raises(Rejected) as refused:
        read(sent(ORM.replace("DOE", "Müller"), "latin-1"))
    assert refused.value.location == "MSH^1^18"


def test_a_merge_without_the_retired_id_is_refused() -> None:
    with pytest.raises(Unacceptable) as refused:
        list(merges_in(read(sent(adt("A40", "PID|1||123456^^^HOSP_A", "MRG|")))))
    assert refused.value.location == "MRG^1^1"


# ── acknowledgements ──


def as_read(text: str) -> Message:
    return read(text.encode())


def test_an_acknowledgement_names_the_message_and_changes_sender_and_receiver() -> None:
    ack = as_read(acknowledged(read(sent(ORM)), NOON, "A1"))
    assert [ack.header.text(number) for number in (3, 4, 5, 6)] == ["TELERAD", "HUB", "HIS", "HOSP_A"]
    assert (ack.type, ack.header.text(7), ack.header.text(10)) == (("ACK", "O01"), "20261101120000+0000", "A1")
    [answer] = [each for each in ack.segments if each.name == "MSA"]
    assert (answer.text(1), answer.text(2)) == ("AA", "MSG0001")


def test_a_refusal_says_where_and_why_and_names_nobody() -> None:
    error = Unacceptable("not a date", "102", "PID^1^7")
    text = acknowledged(read(sent(ORM)), NOON, "A1", error)
    assert text.split("\r")[1:3] == ["MSA|AE|MSG0001", "ERR||PID^1^7|102^Data type error^HL70357|E||||not a date"]
    assert not any(word in text for word in ("DOE", "JANE", "123456"))


def test_what_cannot_be_read_at_all_is_answered_all_the_same() -> None:
    ack = as_read(acknowledged(None, NOON, "A1", Rejected("no HL7", "100", "MSH^1")))
    assert (ack.segments[1].text(1), ack.segments[1].text(2)) == ("AR", "")
