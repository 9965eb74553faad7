"""Associations that RadRelay asks for itself, by pynetdicom."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pynetdicom import AE

from radrelay_ingest.domain.sites import Peer
from radrelay_shared.dicom.asking import keep_answers

PATIENCE_SECONDS = 10


@contextmanager
def associated(entity: AE, peer: Peer, roles: Sequence[Any] = ()) -> Iterator[Any | None]:
    """An association with the peer, None if it cannot be had; released at the end. Blocks."""
    try:
        socket.create_connection(
            (peer.host, peer.port), PATIENCE_SECONDS
        ).close()  # pynetdicom leaks one that is refused
    except OSError:
        yield None
        return
    entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = PATIENCE_SECONDS
    association = entity.associate(peer.host, peer.port, ae_title=peer.ae_title, ext_neg=list(roles))
    keep_answers(association)
    try:
        yield association if association.is_established else None
    finally:
        association.release()
