"""Who may have an association, and what can be sent on it (PS3.8 §9.3.2 to §9.3.4); pynetdicom reads and writes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
)
from pynetdicom.presentation import build_context, negotiate_unrestricted
from pynetdicom.sop_class import Verification

from radrelay_ingest.dicom.conversation import SOP_CLASSES
from radrelay_ingest.dicom.elements import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from radrelay_ingest.dicom.pdu import (
    BY_PROVIDER_ACSE,
    BY_PROVIDER_PRESENTATION,
    BY_SERVICE_USER,
    REJECTED_PERMANENT,
    REJECTED_TRANSIENT,
    ProtocolError,
    Reason,
)

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
PROTOCOL_VERSION = 0x0001  # bit 0 must be set, the others are not tested
ACCEPTED = 0x00
SUPPORTED = [build_context(each) for each in (Verification, *SOP_CLASSES)]

Rejection = tuple[int, int, int]  # result, source, reason
NO_SUCH_VERSION: Rejection = (REJECTED_PERMANENT, BY_PROVIDER_ACSE, 2)
NO_SUCH_APPLICATION: Rejection = (REJECTED_PERMANENT, BY_SERVICE_USER, 2)
NO_SUCH_CALLER: Rejection = (REJECTED_PERMANENT, BY_SERVICE_USER, 3)
TOO_MANY: Rejection = (REJECTED_TRANSIENT, BY_PROVIDER_PRESENTATION, 2)


@dataclass(frozen=True, slots=True)
class Proposal:
    """An A-ASSOCIATE request as far as it is looked at."""

    calling: str
    primitive: Any  # pynetdicom's A_ASSOCIATE
    rejection: Rejection | None  # for what it is; whether the caller is known, others say


def read_proposal(encoded: bytes) -> Proposal:
    """An A-ASSOCIATE-RQ; raises `ProtocolError` if it cannot be read."""
    request = A_ASSOCIATE_RQ()
    try:
        request.decode(encoded)
        primitive = request.to_primitive()
        application, version = str(primitive.application_context_name), int(request.protocol_version)
        return Proposal(str(primitive.calling_ae_title).strip(), primitive, _rejection(version, application))
    except Exception as error:  # whatever the decoder makes of foreign bytes, the answer is the same
        raise ProtocolError(Reason.INVALID_PARAMETER, "an association request cannot be read") from error


def _rejection(version: int, application: str) -> Rejection | None:
    if not version & PROTOCOL_VERSION:
        return NO_SUCH_VERSION
    return None if application == APPLICATION_CONTEXT else NO_SUCH_APPLICATION


def accept(proposal: Proposal, max_pdu: int) -> tuple[bytes, dict[int, str]]:
    """The A-ASSOCIATE-AC, and the accepted contexts' transfer syntaxes by context id.

    Our services' abstract syntaxes in a plain transfer syntax, and every one that is no other service's in the first
    transfer syntax proposed.
    Asynchronous operations are not negotiated, so one message follows the other.
    """
    try:
        answer, accepted = _negotiate(proposal.primitive, max_pdu)
        return A_ASSOCIATE_AC(answer).encode(), accepted
    except Exception as error:  # a context without a transfer syntax, for instance
        raise ProtocolError(Reason.INVALID_PARAMETER, "presentation contexts cannot be negotiated") from error


def _negotiate(request: Any, max_pdu: int) -> tuple[Any, dict[int, str]]:
    asked = request.user_information
    roles = {
        item.sop_class_uid: (item.scu_role or False, item.scp_role or False)
        for item in asked
        if isinstance(item, SCP_SCU_RoleSelectionNegotiation)
    }
    proposed = request.presentation_context_definition_list
    results, role_answers = negotiate_unrestricted(proposed, SUPPORTED, roles)
    answer = A_ASSOCIATE()
    answer.application_context_name = APPLICATION_CONTEXT
    answer.calling_ae_title, answer.called_ae_title = request.calling_ae_title, request.called_ae_title
    answer.result, answer.result_source = 0x00, 0x01
    answer.presentation_context_definition_results_list = results
    answer.user_information = [*_about_us(max_pdu), *role_answers]
    return answer, {each.context_id: str(each.transfer_syntax[0]) for each in results if each.result == ACCEPTED}


def _about_us(max_pdu: int) -> Sequence[Any]:
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    version = ImplementationVersionNameNotification()
    length.maximum_length_received = max_pdu
    implementation.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    version.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    return length, implementation, version
