"""The clinics that may send, how they are recognised, and how long is waited for their studies."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_address
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, IPvAnyNetwork, StringConstraints

from radrelay_ingest.domain.completeness import Policy
from radrelay_shared.aggregate import Aggregate, Decision
from radrelay_shared.errors import Refused
from radrelay_shared.events import Priority
from radrelay_shared.named import Named

REGISTER = "register"  # the one document of `Sites`

SiteName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
# 1 to 16 printable characters without backslash, no space at either end (PS3.5 §6.2)
AETitle = Annotated[str, StringConstraints(pattern=r"^[!-\[\]-~]([ -\[\]-~]{0,14}[!-\[\]-~])?$")]
Jurisdiction = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$")]  # ISO 3166-1 or -2
Written = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=2, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")
]
Facility = Annotated[str, StringConstraints(min_length=1, max_length=227)]  # HL7 2.5.1 §2.A.33


class PublicKey(BaseModel):
    """An Ed25519 public key as a JSON Web Key (RFC 8037 §2)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kty: Literal["OKP"] = "OKP"
    crv: Literal["Ed25519"] = "Ed25519"
    x: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{43}$")]


class Peer(BaseModel):
    """Another application entity, and where it listens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ae_title: AETitle
    host: str = Field(min_length=1, max_length=253)
    port: int = Field(104, ge=1, le=65_535)


class Site(BaseModel):
    """One clinic. AE titles (PS3.5 §6.2) name it in associations; its jurisdiction is where its patients are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=200)
    jurisdiction: Jurisdiction
    names: tuple[Written, ...] = Field((), max_length=50)  # how people write it else, its services, street and town
    physicians: tuple[Written, ...] = Field((), max_length=200)  # who works there
    ae_titles: tuple[AETitle, ...] = ()
    networks: tuple[IPvAnyNetwork, ...] = ()  # from where its AE titles may call (none: from anywhere), and HL7 comes
    hl7_facilities: tuple[Facility, ...] = ()  # as which its HL7 messages come over MLLP (MSH-4)
    quiet_seconds: float = Field(20, gt=0, le=86_400)
    stat_quiet_seconds: float = Field(5, gt=0, le=86_400)
    patience_seconds: float = Field(900, gt=0, le=604_800)
    stat_patience_seconds: float = Field(60, gt=0, le=604_800)
    listeners: tuple[Peer, ...] = ()  # where its AE titles take the answers to storage commitment
    query: Peer | None = None  # who is asked by C-FIND how many instances a study of this site's has
    manifest_keys: tuple[PublicKey, ...] = Field((), max_length=10)  # whose signature under a manifest counts

    @property
    def named(self) -> Named:
        """What no text of its studies' copies may say."""
        return Named.of(people=self.physicians, institutions=[self.name, *self.names])

    def may_call_from(self, address: str) -> bool:
        peer = ip_address(address)
        peer = getattr(peer, "ipv4_mapped", None) or peer
        return not self.networks or any(peer in network for network in self.networks)

    def listener(self, ae_title: str) -> Peer | None:
        """Where this AE title of the site's listens, if it does."""
        return next((each for each in self.listeners if each.ae_title == ae_title), None)

    def policy(self, priority: Priority) -> Policy:
        """How long is waited for a study of this priority."""
        brief = timedelta(seconds=min(self.stat_quiet_seconds, self.quiet_seconds))
        if priority is Priority.STAT:
            return Policy(brief, brief, timedelta(seconds=self.stat_patience_seconds))
        return Policy(timedelta(seconds=self.quiet_seconds), brief, timedelta(seconds=self.patience_seconds))


class Sites(Aggregate):
    """All sites, in one document, so that no AE title can ever name two of them."""

    collection: ClassVar[str] = "sites"

    sites: dict[SiteName, Site] = Field(default_factory=dict)

    def calling(self, ae_title: str, address: str) -> SiteName | None:
        """The site that calls itself so, from one of its networks; or None."""
        found = next((name for name, site in self.sites.items() if ae_title.strip() in site.ae_titles), None)
        return found if found and self.sites[found].may_call_from(address) else None

    def sending_hl7(self, facility: str, address: str) -> SiteName | None:
        """The one site whose HL7 messages come as this facility (MSH-4), from one of its networks; or None."""
        found = [name for name, site in self.sites.items() if facility in site.hl7_facilities and site.networks]
        found = [name for name in found if self.sites[name].may_call_from(address)]
        return found[0] if len(found) == 1 else None


def register(current: Sites | None, name: SiteName, site: Site) -> Decision[Sites] | None:
    """Add the site or replace what is known of it; raises `Refused` if one of its AE titles names another site."""
    known = (current or Sites()).sites
    if known.get(name) == site:
        return None
    taken = {title for other, each in known.items() if other != name for title in each.ae_titles}
    if both := sorted(taken.intersection(site.ae_titles)):
        raise Refused(f"AE title {', '.join(both)} already names another site; every title names one site")
    return Decision(Sites(sites={**known, name: site}))
