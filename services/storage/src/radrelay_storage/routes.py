"""What storage answers over HTTP, and under which paths the ingress sends it here."""

from __future__ import annotations

from radrelay_storage import pictures, retrieve, search, wado_uri
from radrelay_storage.custody import api as custody
from radrelay_storage.derived import api as derived
from radrelay_storage.lifecycle import api as lifecycle
from radrelay_storage.priors import api as priors
from radrelay_storage.viewers import api as viewers

STREAMS = ("/dicom-web/studies",)  # whose bodies may be long
PATHS = ("/dicom-web", "/custody", "/holds", "/purges", "/viewers")
ROUTERS = (
    search.router,
    retrieve.router,
    pictures.router,
    wado_uri.router,
    derived.router,
    custody.router,
    lifecycle.router,
    priors.router,
    viewers.router,
)
