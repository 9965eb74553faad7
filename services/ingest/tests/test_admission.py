"""Who is let in over DICOM, and TLS, as dcmtk's tools speak it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

from hl7_messages import ORM, sent
from radrelay_ingest.dicom.listener import tls_of
from radrelay_ingest.settings import IngestSettings
from radrelay_shared.errors import Invalid
from radrelay_shared.events import StudyReceived
from radrelay_shared.security import Role
from radrelay_shared.testing import PATIENCE_SECONDS
from servers.dcmtk import dcmtk

Door = Callable[..., AbstractAsyncContextManager[Any]]
Slice = Callable[..., bytes]

NOON = datetime.now(UTC)


@dataclass(frozen=True)
class Pair:
    """A key and its certificate, as PEM files."""

    key: Path
    certificate: Path


def issued(folder: Path, name: str, by: tuple[x509.Name, ec.EllipticCurvePrivateKey] | None = None) -> Pair:
    """A certificate that an authority has signed, or one that signs itself and others."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer, signer = by or (subject, key)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOON - timedelta(days=1))
        .not_valid_after(NOON + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
        .sign(signer, hashes.SHA256())
    )
    pair = Pair(folder / f"{name}.key", folder / f"{name}.pem")
    pair.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    pair.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))
    return pair


@dataclass(frozen=True)
class Certificates:
    server: Pair
    scanner: Pair  # signed by the authority whose clients are taken
    stranger: Pair  # signed by itself
    authority: Pair


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    authority = issued(tmp_path, "authority")
    loaded = x509.load_pem_x509_certificate(authority.certificate.read_bytes()).subject
    secret = load_pem_private_key(authority.key.read_bytes(), None)
    assert isinstance(secret, ec.EllipticCurvePrivateKey)
    by = (loaded, secret)
    return Certificates(
        issued(tmp_path, "server", by), issued(tmp_path, "scanner", by), issued(tmp_path, "stranger"), authority
    )


def tls_settings(certificates: Certificates, *, clients: bool) -> dict[str, Any]:
    return {
        "dicom_tls_port": 0,
        "dicom_tls_certificate": certificates.server.certificate,
        "dicom_tls_key": certificates.server.key,
        "dicom_tls_client_ca": certificates.authority.certificate if clients else None,
    }


async def echoed(port: int, *tls: object) -> bool:
    """Whether dcmtk's echoscu is answered there."""
    code, _ = await dcmtk("echoscu", *tls, "-aet", "BOZEMAN", "127.0.0.1", port)
    return code == 0


def over_tls(certificates: Certificates, pair: Pair | None) -> list[object]:
    trusted = ["+cf", certificates.authority.certificate]
    return ["+tls", pair.key, pair.certificate, *trusted] if pair else ["+tla", *trusted]


@pytest.mark.parametrize("tool", ["echoscu", "storescu", "findscu"])
async def test_dcmtk_is_served_over_tls_without_a_certificate_of_its_own(
    open_door: Door, certificates: Certificates, ct_slice: Slice, tmp_path: Path, tool: str
) -> None:
    (tmp_path / "1.dcm").write_bytes(ct_slice())
    more: dict[str, list[object]] = {"storescu": [tmp_path / "1.dcm"], "findscu": ["-W", "-k", "PatientName"]}
    async with open_door(**tls_settings(certificates, clients=False)) as door:
        port = door.context.dicom_tls_port
        tls = over_tls(certificates, None)
        code, output = await dcmtk(tool, *tls, "-aet", "BOZEMAN", "127.0.0.1", port, *more.get(tool, []))
        assert code == 0, output
        if tool == "storescu":
            assert (await door.told(StudyReceived))[0].site == "bozeman"


@pytest.mark.parametrize(
    ("who", "taken"), [("scanner", True), ("stranger", False), (None, False)], ids=["known", "stranger", "none"]
)
async def test_only_clients_with_a_certificate_of_the_authority_are_taken_where_that_is_asked(
    open_door: Door, certificates: Certificates, who: str | None, *, taken: bool
) -> None:
    pair = getattr(certificates, who) if who else None
    async with open_door(**tls_settings(certificates, clients=True)) as door:
        tls = over_tls(certificates, pair)
        assert await echoed(door.context.dicom_tls_port, *tls) is taken
        assert await echoed(door.context.dicom_port)  # without TLS, still


async def test_what_is_no_tls_or_an_old_one_is_shut_out(open_door: Door, certificates: Certificates) -> None:
    async with open_door(**tls_settings(certificates, clients=False)) as door:
        port = door.context.dicom_tls_port
        assert not await echoed(port)
        with pytest.raises((ssl.SSLError, OSError)):
            await asyncio.to_thread(handshake, port, ssl.TLSVersion.TLSv1_1)
        assert await asyncio.to_thread(handshake, port, ssl.TLSVersion.TLSv1_2) == "TLSv1.2"


def handshake(port: int, version: ssl.TLSVersion) -> str | None:
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1") if version < ssl.TLSVersion.TLSv1_2 else nullcontext():
        client.minimum_version = client.maximum_version = version
    with socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS) as plain, client.wrap_socket(plain) as secure:
        return secure.version()


async def test_a_client_that_never_speaks_tls_holds_nobody_up(open_door: Door, certificates: Certificates) -> None:
    async with open_door(**tls_settings(certificates, clients=False)) as door:
        with socket.create_connection(("127.0.0.1", door.context.dicom_tls_port)):
            tls = over_tls(certificates, None)
            assert await echoed(door.context.dicom_tls_port, *tls)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"dicom_tls_certificate": None}, "needs RADRELAY_DICOM_TLS_CERTIFICATE"),
        ({"dicom_tls_key": Path("/nowhere.key")}, "cannot be used"),
    ],
    ids=["no certificate", "no key"],
)
def test_tls_without_its_files_is_refused_in_plain_words(
    certificates: Certificates, settings: dict[str, Any], reason: str
) -> None:
    chosen = tls_settings(certificates, clients=False) | settings
    with pytest.raises(Invalid, match=reason):
        tls_of(IngestSettings.model_construct(**chosen))


@pytest.mark.parametrize(("networks", "taken"), [(["127.0.0.0/8"], True), (["203.0.113.0/24"], False)])
async def test_an_ae_title_calls_from_its_sites_networks_only(
    open_door: Door, networks: list[str], *, taken: bool
) -> None:
    site = {"name": "Bozeman Clinic", "jurisdiction": "US-MT", "ae_titles": ["BOZEMAN"], "networks": networks}
    async with open_door() as door:
        async with door.as_(Role.OPERATOR) as operator:
            assert (await operator.put("/ingest/sites/bozeman", json=site)).is_success
        assert await echoed(door.context.dicom_port) is taken


async def acknowledged(port: int, certificates: Certificates, pair: Pair | None) -> bytes:
    """What comes back over TLS for an order; nothing if the connection is refused."""
    tls = ssl.create_default_context(cafile=str(certificates.authority.certificate))
    tls.check_hostname = False
    if pair:
        tls.load_cert_chain(pair.certificate, pair.key)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
            writer.write(b"\x0b" + sent(ORM) + b"\x1c\r")
            answer = await reader.read(4096)
            writer.transport.abort()
    except (ConnectionError, ssl.SSLError):
        return b""
    return answer


async def test_hl7_over_tls_is_taken_from_clients_with_a_certificate_of_the_authority_only(
    open_door: Door, certificates: Certificates
) -> None:
    settings = tls_settings(certificates, clients=True) | {"mllp_host": "127.0.0.1", "mllp_tls_port": 0}
    async with open_door(**settings) as door:
        port = door.context.mllp_tls_port
        assert b"MSA|AR|MSG0001" in await acknowledged(port, certificates, certificates.scanner)  # of no site yet
        assert await acknowledged(port, certificates, certificates.stranger) == b""
        assert await acknowledged(port, certificates, None) == b""
