"""HL7 messages of the tests: an order, and what happens to patients."""

from __future__ import annotations

ORM = r"""MSH|^~\&|HIS|HOSP_A|TELERAD|HUB|20261101093000+0100||ORM^O01^ORM_O01|MSG0001|P|2.5.1|||AL|NE||UNICODE UTF-8
PID|1||123456^^^HOSP_A^MR||DOE^JANE^Q||19800101|F
PV1|1|E|ED^12^A|||||||||||||||||VN123^^^HOSP_A^VN
ORC|NW|PL100^HIS|FL100^RIS||SC||1^^^20261101100000^^S||20261101092500|||9988^SMITH^JOHN^^^DR
OBR|1|PL100^HIS|FL100^RIS|70450^CT HEAD W/O^CPT4|||20261101093000||||||sudden headache|||9988^SMITH^JOHN^^^DR||ACC123|RP1|SPS1||||CT|||1^^^^^S
"""  # noqa: E501  a message as it comes

OMI = r"""MSH|^~\&|RIS|HOSP_A|TELERAD|HUB|20261101093000||OMI^O23^OMI_O23|MSG0002|P|2.5.1
PID|||123456^^^HOSP_A&1.2.3&ISO^MR||DOE^JANE
ORC|NW|PL200^HIS||||||||
TQ1|1||||||20261101100000||A
OBR|1|PL200^HIS||30799-1^CT head^LN|||||||||||^^^HEAD^LT
IPC|ACC200^RIS|RP2|1.2.840.99.1|SPS2|CT|||ROOM1|CT_ONE
"""


def adt(event: str, *segments: str, control_id: str = "ADT1") -> str:
    header = rf"MSH|^~\&|HIS|HOSP_A|TELERAD|HUB|20261101120000||ADT^{event}|{control_id}|P|2.5.1"
    return "\n".join((header, *segments)) + "\n"


def sent(message: str, encoding: str = "utf-8") -> bytes:
    """As it comes over a wire."""
    return message.replace("\n", "\r").encode(encoding)
