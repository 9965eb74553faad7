"""The `radrelay` command."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from radrelay import anonymize, register, send, upload
from radrelay import custody as ledger
from radrelay import demo as demonstration
from radrelay import doctor as checks
from radrelay.client import Client, Problem
from radrelay.keys import Keys
from radrelay.platform import Platform
from radrelay.services import SERVICES
from radrelay_anonymize.domain.profile import profiles_in
from radrelay_shared.errors import RadRelayError
from radrelay_shared.security import Role
from radrelay_shared.telemetry import log_to_stderr

app = typer.Typer(
    help="RadRelay: studies in, signed reports out. Not a medical device.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
custody = typer.Typer(help="The ledger of every instance's custody.", no_args_is_help=True)
app.add_typer(custody, name="custody")
console, errors = Console(), Console(stderr=True)

Folder = Annotated[Path, typer.Option("--data", help="Where this RadRelay keeps everything, keys included.")]
Url = Annotated[str, typer.Option("--url", help="Address of the running RadRelay.")]
Token = Annotated[
    str | None,
    typer.Option(
        envvar="RADRELAY_TOKEN",
        help="An operator's bearer token or API key, for a deployed RadRelay; without it, the keys in --data make one.",
    ),
]
HERE = Path(".radrelay")
LOCAL = "http://127.0.0.1:8042"
HIGHEST_PORT = 65535


def tell(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run it; an expected failure is one sentence and exit status 1, never a traceback."""
    try:
        return uvloop.run(work())
    except ValidationError as error:
        names = ", ".join(sorted({f"RADRELAY_{each['loc'][0]}".upper() for each in error.errors() if each["loc"]}))
        complain(f"these settings are not valid: {names}")
        raise typer.Exit(1) from error
    except (RadRelayError, Problem, OSError) as error:
        complain(getattr(error, "detail", None) or str(error))
        raise typer.Exit(1) from error


def complain(text: str) -> None:
    errors.print(f"[bold red]radrelay:[/] {escape(text)}", soft_wrap=True, highlight=False)


@app.command()
def up(
    data: Folder = HERE,
    http_host: Annotated[
        str, typer.Option(help="Address to listen on; loopback unless you say otherwise.")
    ] = "127.0.0.1",
    http_port: Annotated[int, typer.Option(help="DICOMweb, FHIR, webhooks and everything else over HTTP.")] = 8042,
    dicom_port: Annotated[int, typer.Option(help="C-STORE and C-ECHO.")] = 11112,
    allow_network: Annotated[
        list[str] | None, typer.Option(help="Private network (CIDR) that webhooks may go to; repeat it.")
    ] = None,
    log_level: str = "INFO",
) -> None:
    """Run all seven services in this process until you stop it (Ctrl-C or SIGTERM)."""
    log_to_stderr(log_level)
    settings = {"webhook_allow_networks": allow_network or []}
    platform = Platform(data, http_host, http_port, dicom_port, HERE / "viewer", settings)

    async def run() -> None:
        stopping = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        await platform.start()
        address = f"http://{http_host}:{http_port}"
        errors.print(
            f"RadRelay is up. HTTP {address}, DICOM {http_host}:{dicom_port} (AE RADRELAY), data in {data}",
            soft_wrap=True,
        )
        errors.print(f"Next: radrelay apply FILE --data {data} --url {address}", soft_wrap=True)
        errors.print(f"      radrelay doctor --data {data} --url {address}", soft_wrap=True)
        waits = {asyncio.create_task(stopping.wait()), failing := asyncio.create_task(platform.failed())}
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        stopped_by_itself = failing.result() if failing.done() else None
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        await platform.stop()
        if stopped_by_itself:
            raise RadRelayError(f"{stopped_by_itself} stopped by itself; the log says why. Nothing was lost")

    tell(run)


@app.command()
def demo(
    *, stay: Annotated[bool, typer.Option("--stay", help="Leave it up afterwards, to look around.")] = False
) -> None:
    """Do the main job once, on real studies and synthetic patients, and exit 0 only if it was done."""
    log_to_stderr("WARNING")
    if not tell(lambda: demonstration.demo(console, stay=stay)):
        raise typer.Exit(1)


@app.command()
def apply(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="YAML with sites, radiologists, webhooks.")],
    data: Folder = HERE,
    url: Url = LOCAL,
    token: Token = None,
) -> None:
    """Register the clinics, radiologists and webhook endpoints of a YAML file; doing it again changes nothing.

    A new endpoint's secret is shown this once: the clinic verifies its webhooks with it.
    """
    caller = operator(data, url, token)

    async def run() -> dict[str, str]:
        return await register.register(register.read(file), caller)

    secrets = tell(run)
    console.print(f"{file} is applied.", soft_wrap=True)
    for site, secret in secrets.items():
        console.print(f"webhook secret of {site}, shown once: {secret}", soft_wrap=True)


@app.command()
def token(
    subject: Annotated[str, typer.Argument(help="Who: a radiologist's id, or a machine's name.")],
    role: Annotated[list[Role], typer.Option(help="Repeat it for several.")],
    site: Annotated[list[str] | None, typer.Option(help="Repeat it for several; none: all sites.")] = None,
    hours: Annotated[float, typer.Option(min=0.1, max=24 * 366)] = 8,
    data: Folder = HERE,
) -> None:
    """Print a bearer token of the local issuer."""

    async def make() -> str:
        return Keys(data / "keys").token(subject, set(role), set(site or ["*"]), timedelta(hours=hours))

    typer.echo(tell(make))


@app.command()
def viewer(
    study: Annotated[str | None, typer.Argument(help="Study Instance UID; none: the list of studies.")] = None,
    kind: Annotated[str, typer.Option("--in", help="ohif, weasis or slicer.")] = "ohif",
    reader: Annotated[str | None, typer.Option("--as", help="A radiologist's id: only what they may see.")] = None,
    data: Folder = HERE,
    url: Url = LOCAL,
) -> None:
    """Print a link that opens a study in a viewer; it is good for a minute."""

    async def ask() -> str:
        role = Role.RADIOLOGIST if reader else Role.OPERATOR
        caller = Client(url, Keys(data / "keys").token(reader or "you", {role}, {"*"}))
        return str((await caller.call("POST", "/viewers/links", json={"study": study, "viewer": kind}))["url"])

    typer.echo(tell(ask))


@app.command(name="send")
def send_command(
    paths: Annotated[list[Path], typer.Argument(exists=True, help="DICOM files, or folders of them.")],
    to: Annotated[str, typer.Option(help="HOST:PORT of the receiver.")] = "127.0.0.1:11112",
    calling: Annotated[
        str | None,
        typer.Option(help="The AE title to send as; it must belong to a site. Without it: this machine's name."),
    ] = None,
    called: Annotated[str, typer.Option(help="The AE title of the receiver.")] = "RADRELAY",
) -> None:
    """Send DICOM files by C-STORE, each as it is; exit 0 only if all were stored."""
    host, _, port = to.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) <= HIGHEST_PORT:
        raise typer.BadParameter("say HOST:PORT, for instance 127.0.0.1:11112", param_hint="--to")

    async def run() -> int:
        failures = 0
        outcomes = await asyncio.to_thread(
            lambda: list(send.send_files(send.files_below(paths), host, int(port), calling or send.own_title(), called))
        )
        for outcome in outcomes:
            failures += not outcome.stored
            if not outcome.stored:
                errors.print(f"{outcome.name}: {outcome.message}", markup=False, soft_wrap=True)
        console.print(f"{len(outcomes) - failures} stored, {failures} not")
        return failures or not outcomes

    if tell(run):
        raise typer.Exit(1)


@app.command(name="upload")
def upload_command(
    paths: Annotated[list[Path], typer.Argument(exists=True, help="DICOM files, or folders of them.")],
    site: Annotated[str, typer.Option(help="The clinic whose studies these are.")],
    sign: Annotated[
        Path | None, typer.Option(exists=True, help="The clinic's Ed25519 key (PEM): signs a manifest of each study.")
    ] = None,
    data: Folder = HERE,
    url: Url = LOCAL,
    token: Token = None,
) -> None:
    """Upload DICOM files over a weak link; run again, it goes on where it broke off. Exit 0 only if all arrived."""
    caller = Client(url, token or local_token(data, Role.SITE, site, timedelta(days=1)))

    async def run() -> int:
        found = await asyncio.to_thread(lambda: list(upload.found_in(send.files_below(paths))))
        archive = await asyncio.to_thread(upload.zipped, found, data / "uploads")
        for manifest in upload.manifests(found, sign) if sign else []:
            await caller.call(
                "POST", upload.MANIFESTS, content=manifest, headers={"X-RadRelay-Site": site} | upload.JOSE
            )
        headers = {"Authorization": f"Bearer {caller.token}", "X-RadRelay-Site": site}
        with Progress(console=errors, transient=True) as bar:
            shown = partial(bar.update, bar.add_task("uploading"))
            place = await asyncio.to_thread(upload.send, archive, url, headers, shown)
        outcome = await upload.outcome_of(caller, place)
        for failure in outcome["failures"]:
            errors.print(f"{found[failure['entry'] - 1].file.name}: {failure['reason']}", markup=False, soft_wrap=True)
        console.print(f"{outcome['stored']} stored, {outcome['failed']} not")
        upload.forget(archive)
        return int(outcome["failed"])

    if tell(run):
        raise typer.Exit(1)


@app.command(name="anonymize")
def anonymize_command(
    source: Annotated[Path, typer.Argument(exists=True, help="A folder of DICOM files, or one file.")],
    out: Annotated[Path, typer.Argument(help="Where the copies go; apart from the originals.")],
    profile: Annotated[str, typer.Option(help="A packaged profile, or one of --profiles.")] = "teleradiology",
    profiles: Annotated[Path | None, typer.Option(exists=True, help="YAML with profiles of your own.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes; as many as there are cores.")] = os.cpu_count() or 1,
    data: Folder = HERE,
) -> None:
    """De-identify a folder of DICOM files, nothing else; exit 0 only if every file could leave.

    The secret in --data decides on pseudonyms, UIDs and dates: keep it, and a patient stays the same patient.
    """

    async def run() -> int:
        anonymize.must_be_apart(source, out)
        chosen = profiles_in(profiles.read_text("utf-8") if profiles else "").named(profile)
        keys = Keys(data / "keys")
        keys.ensure()
        files = list(send.files_below([source]))
        with Progress(console=errors, transient=True) as bar:
            shown = partial(bar.advance, bar.add_task("de-identifying", total=len(files)))
            secret = keys.secret("tenant_secret").encode()
            outcomes = await asyncio.to_thread(anonymize.anonymized, files, out, chosen, secret, jobs, shown)
        anonymize.write_report(out, outcomes, chosen)
        held = [each for each in outcomes if each.reasons]
        for each in held:
            errors.print(f"{each.file}: {', '.join(each.reasons)}", markup=False, soft_wrap=True)
        console.print(f"{len(outcomes) - len(held)} de-identified, {len(held)} held back; see {out / anonymize.REPORT}")
        return len(held)

    if tell(run):
        raise typer.Exit(1)


@app.command()
def status(data: Folder = HERE, url: Url = LOCAL, token: Token = None) -> None:
    """Show the newest studies and how far each has come (on an all-in-one)."""
    caller = operator(data, url, token)
    console.print(demonstration.board(tell(lambda: caller.call("GET", "/status"))))


@app.command()
def replay(
    service: Annotated[str | None, typer.Argument(help="One service; none: all of them.")] = None,
    message: Annotated[str | None, typer.Option(help="One dead letter's id; none: all.")] = None,
    *,
    list_only: Annotated[bool, typer.Option("--list", help="Only show them.")] = False,
    data: Folder = HERE,
    url: Url = LOCAL,
    token: Token = None,
) -> None:
    """Try again what services gave up (dead letters), or show it."""
    caller = operator(data, url, token)
    names = [service] if service else [each.name for each in SERVICES]
    table = Table("service", "id", "event", "attempts", "reason")
    for name in names:
        found = tell(partial(caller.call, "GET", f"/ops/{name}/dead-letters"))
        letters = [letter for letter in found if message in (None, letter["id"])]
        for letter in letters:
            table.add_row(name, letter["id"], letter["type"], str(letter["attempts"]), escape(letter["reason"]))
        if letters and not list_only:
            path = f"/ops/{name}/dead-letters" + (f"/{message}" if message else "") + "/replay"
            count = tell(partial(caller.call, "POST", path))["replayed"]
            console.print(f"{name}: {count} tried again")
    console.print(table if table.row_count else "There are no such dead letters.")


@custody.command()
def verify(
    study: Annotated[
        str | None, typer.Argument(help="One study's key; none: all of them, and all checkpoints.")
    ] = None,
    data: Folder = HERE,
    url: Url = LOCAL,
    token: Token = None,
) -> None:
    """Read ledger, checkpoints and stored objects again; name the first that does not hold, and exit 1."""
    caller = operator(data, url, token)
    looked, broken = tell(lambda: ledger.first_broken(caller, study))
    if broken:
        complain(f"{broken['subject']} does not hold: {broken['broken']}")
        raise typer.Exit(1)
    console.print(f"{looked} looked at (checkpoints and studies); all hold.", soft_wrap=True)


@app.command()
def doctor(data: Folder = HERE, url: Url = LOCAL) -> None:
    """Say in plain words what is missing or cannot be reached."""
    findings = tell(lambda: checks.examine(data, url))
    for finding in findings:
        console.print(
            f"{'[green]ok[/]  ' if finding.good else '[bold red]no[/]  '} {escape(finding.what)}", soft_wrap=True
        )
        if finding.advice:
            console.print(f"     {escape(finding.advice)}", soft_wrap=True)
    if not all(finding.good for finding in findings):
        raise typer.Exit(1)


def operator(data: Path, url: str, token: str | None) -> Client:
    """The caller of this command: whoever the token says, or an operator by the local keys."""
    return Client(url, token or local_token(data, Role.OPERATOR, "*", timedelta(minutes=5)))


def local_token(data: Path, role: Role, site: str, lasts: timedelta) -> str:
    """A token of the local issuer for this command."""

    async def make() -> str:
        return Keys(data / "keys").token(str(role), {role}, {site}, lasts)

    found: str = tell(make)
    return found
