"""QIDO-RS (PS3.18 §10.6): which studies, series and instances there are, for the caller's sites."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from radrelay_shared.ports import Eq
from radrelay_storage.access import Ctx, Reader, VisibleSeries, VisibleStudy, visible_to
from radrelay_storage.attributes import Level
from radrelay_storage.searching import Search, find_instances, find_series, find_studies

router = APIRouter(prefix="/dicom-web", tags=["QIDO-RS"])


async def study_search(request: Request) -> Search:
    return Search(request, Level.STUDY)


async def series_search(request: Request) -> Search:
    return Search(request, Level.SERIES)


async def instance_search(request: Request) -> Search:
    return Search(request, Level.INSTANCE)


StudySearch = Annotated[Search, Depends(study_search)]
SeriesSearch = Annotated[Search, Depends(series_search)]
InstanceSearch = Annotated[Search, Depends(instance_search)]


@router.get("/studies")
async def studies(search: StudySearch, caller: Reader, context: Ctx) -> Response:
    """Search for studies; the latest received come first."""
    return await search.answer(*await find_studies(search, visible_to(caller), context))


@router.get("/series")
async def all_series(search: SeriesSearch, caller: Reader, context: Ctx) -> Response:
    """Search for series of every study."""
    levels = (Level.STUDY, Level.SERIES)
    return await search.answer(*await find_series(search, visible_to(caller), levels, context))


@router.get("/studies/{study}/series")
async def study_series(study: VisibleStudy, search: SeriesSearch, context: Ctx) -> Response:
    """Search for series of one study."""
    within = [Eq("study", study.study)]
    return await search.answer(*await find_series(search, within, (Level.SERIES,), context))


@router.get("/instances")
async def all_instances(search: InstanceSearch, caller: Reader, context: Ctx) -> Response:
    """Search for instances of every study."""
    return await search.answer(*await find_instances(search, visible_to(caller), tuple(Level), context))


@router.get("/studies/{study}/instances")
async def study_instances(study: VisibleStudy, search: InstanceSearch, context: Ctx) -> Response:
    """Search for instances of one study."""
    levels = (Level.SERIES, Level.INSTANCE)
    return await search.answer(*await find_instances(search, [Eq("study", study.study)], levels, context))


@router.get("/studies/{study}/series/{series}/instances")
async def series_instances(
    study: VisibleStudy, series: VisibleSeries, search: InstanceSearch, context: Ctx
) -> Response:
    """Search for instances of one series."""
    within = [Eq("study", study.study), Eq("series_instance_uid", series.series_instance_uid)]
    return await search.answer(*await find_instances(search, within, (Level.INSTANCE,), context))
