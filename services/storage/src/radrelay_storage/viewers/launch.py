"""The viewers, and how each is told which study to open and as whom."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import quote, urlencode

from radrelay_storage.viewers.tokens import Claims

Template = Callable[[str, Claims, str], str]  # the platform's address, whose session, its token


def ohif(base: str, _: Claims, token: str) -> str:
    """The page that changes the link for a session: what follows `#` is never sent, logged or handed on."""
    return f"{base}/viewer/open.html#{token}"


def weasis(base: str, claims: Claims, token: str) -> str:
    """Weasis' own scheme: `dicom:rs` commands (weasis.org, "Weasis protocol")."""
    command = f'$dicom:rs --url "{base}/dicom-web" -H "Authorization: Bearer {token}"'
    return "weasis://" + quote(f'{command} -r "studyUID={claims.study}"' if claims.study else command)


def slicer(base: str, claims: Claims, token: str) -> str:
    """3D Slicer's own scheme (DICOM module, "viewer" command)."""
    wanted = {"dicomweb_endpoint": f"{base}/dicom-web", "access_token": token, "studyUID": claims.study or ""}
    return f"slicer://viewer/?{urlencode(wanted)}"


VIEWERS: Mapping[str, Template] = {"ohif": ohif, "weasis": weasis, "slicer": slicer}
NATIVE = frozenset({"weasis", "slicer"})  # they keep no cookies: the operating system hands them their session


def page(claims: Claims) -> str:
    """Where OHIF shows the study, or the list of studies."""
    return "/viewer/viewer?" + urlencode({"StudyInstanceUIDs": claims.study}) if claims.study else "/viewer/"
