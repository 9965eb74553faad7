"""What everybody needs who asks a DICOM peer by pynetdicom."""

from __future__ import annotations

from typing import Any


def keep_answers(association: Any) -> None:
    """Let pynetdicom's reactor, which looks for requests of the peer's, find none: on a busy machine it goes on for a
    moment after it said that it rests, and takes the answer that its `send_…` methods wait for.
    """
    receive = association.dimse.get_msg
    association.dimse.get_msg = lambda block=False: receive(block=True) if block else (None, None)
