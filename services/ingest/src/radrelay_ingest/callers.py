"""Who may call which route of ingest, and for which site."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Header

from radrelay_ingest.context import IngestContext
from radrelay_shared.errors import Invalid
from radrelay_shared.http import context_of
from radrelay_shared.security import EVERY_SITE, Principal, Role, require

IngestDep = Annotated[IngestContext, Depends(context_of)]
Machine = Annotated[Principal, require(Role.SITE)]
Viewer = Annotated[Principal, require(Role.SITE, Role.ASSISTANT, Role.OPERATOR)]


async def acting_site(
    caller: Machine, context: IngestDep, x_radrelay_site: Annotated[str | None, Header()] = None
) -> str:
    """The registered site that a machine acts for: its only one, or the one it names."""
    site = x_radrelay_site or (next(iter(caller.sites)) if len(caller.sites) == 1 else EVERY_SITE)
    if site == EVERY_SITE:
        raise Invalid("say in X-RadRelay-Site for which site this is")
    caller.must_see(site, "site")
    await context.refresh_sites()
    context.site(site)
    return site


ActingSite = Annotated[str, Depends(acting_site)]
