"""QIDO-RS (PS3.18 §10.6): which studies, series and instances there are, for the caller's sites."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from radrelay_shared.ports import Eq, Where
from radrelay_storage import qido
from radrelay_storage.access import Ctx, Reader, VisibleSeries, VisibleStudy, own_sites
from radrelay_storage.attributes import RETURNED, Attributes, Element, Level, element, pick, searchable, tag
from radrelay_storage.context import StorageContext
from radrelay_storage.domain import Series, Study
from radrelay_storage.negotiation import json_type

router = APIRouter(prefix="/dicom-web", tags=["QIDO-RS"])

NOT_FUZZY = '299 radrelay "The fuzzymatching parameter is not supported. Only literal matching has been performed."'
MORE = '299 radrelay "There are additional results that can be requested."'


class Search:
    """One search request: its query, and how to answer it."""

    def __init__(self, request: Request, level: Level) -> None:
        self.query = qido.parse(request.query_params.multi_items(), level)
        self.media_type = json_type(request.headers.get("accept"))
        self.base = f"{request.base_url}dicom-web/studies"

    def chosen(self, attributes: Mapping[str, Element], *levels: Level) -> Attributes:
        """The attributes that are returned at these levels, and those asked for by includefield."""
        if self.query.everything:
            return dict(attributes)
        return pick(attributes, [*(name for each in levels for name in RETURNED[each]), *self.query.include])

    def answer(self, found: list[Attributes], *, more: bool) -> Response:
        warnings = [*([NOT_FUZZY] if self.query.fuzzy else []), *([MORE] if more else [])]
        headers = {"Warning": ", ".join(warnings)} if warnings else {}
        return Response(json.dumps(found), media_type=self.media_type, headers=headers)


def study_search(request: Request) -> Search:
    return Search(request, Level.STUDY)


def series_search(request: Request) -> Search:
    return Search(request, Level.SERIES)


def instance_search(request: Request) -> Search:
    return Search(request, Level.INSTANCE)


InstanceSearch = Annotated[Search, Depends(instance_search)]


@router.get("/studies")
async def studies(search: Annotated[Search, Depends(study_search)], caller: Reader, context: Ctx) -> Response:
    """Search for studies; the latest received come first."""
    query = search.query
    found = await context.store.find(
        Study,
        [*query.where, *own_sites(caller)],
        sort="received_at",
        descending=True,
        limit=query.limit + 1,
        offset=query.offset,
    )
    answers = [study_answer(each, search) for each in found[: query.limit]]
    return search.answer(answers, more=len(found) > query.limit)


@router.get("/series")
async def all_series(search: Annotated[Search, Depends(series_search)], caller: Reader, context: Ctx) -> Response:
    """Search for series of every study."""
    return await answer_series(search, own_sites(caller), (Level.STUDY, Level.SERIES), context)


@router.get("/studies/{study}/series")
async def study_series(
    study: VisibleStudy, search: Annotated[Search, Depends(series_search)], context: Ctx
) -> Response:
    """Search for series of one study."""
    return await answer_series(search, [Eq("study", study.study)], (Level.SERIES,), context)


@router.get("/studies/{study}/instances")
async def study_instances(study: VisibleStudy, search: InstanceSearch, context: Ctx) -> Response:
    """Search for instances of one study."""
    where = [Eq("study", study.study), *search.query.where]
    series = await context.store.find(Series, where, limit=study.series)
    return await answer_instances(search, series, (Level.SERIES, Level.INSTANCE), context)


@router.get("/studies/{study}/series/{series}/instances")
async def series_instances(
    study: VisibleStudy, series: VisibleSeries, search: InstanceSearch, context: Ctx
) -> Response:
    """Search for instances of one series."""
    where = [Eq("study", study.study), Eq("series_instance_uid", series.series_instance_uid), *search.query.where]
    found = await context.store.find(Series, where, limit=1)
    return await answer_instances(search, found, (Level.INSTANCE,), context)


async def answer_series(
    search: Search, within: list[Where], levels: tuple[Level, ...], context: StorageContext
) -> Response:
    query = search.query
    found = await context.store.find(Series, [*query.where, *within], limit=query.limit + 1, offset=query.offset)
    answers = [series_answer(each, search, levels) for each in found[: query.limit]]
    return search.answer(answers, more=len(found) > query.limit)


async def answer_instances(
    search: Search, within: list[Series], levels: tuple[Level, ...], context: StorageContext
) -> Response:
    query, answers = search.query, []
    for series in within:
        for instance in await context.shelf.metadata(series):
            keys = searchable(instance, Level.INSTANCE)
            if all(qido.holds(condition, keys) for condition in query.instances):
                answers.append(instance_answer(series, instance, search, levels))
    page = answers[query.offset : query.offset + query.limit]
    return search.answer(page, more=len(answers) > query.offset + query.limit)


def study_answer(study: Study, search: Search) -> Attributes:
    return completed(
        search.chosen(study.attributes, Level.STUDY),
        ModalitiesInStudy=study.modalities,
        StudyInstanceUID=(study.study_instance_uid,),
        NumberOfStudyRelatedSeries=(study.series,),
        NumberOfStudyRelatedInstances=(study.instances,),
        RetrieveURL=(f"{search.base}/{study.study_instance_uid}",),
    )


def series_answer(series: Series, search: Search, levels: tuple[Level, ...]) -> Attributes:
    return completed(
        search.chosen(series.attributes, *levels),
        StudyInstanceUID=(series.study_instance_uid,),
        NumberOfSeriesRelatedInstances=(series.instances,),
        RetrieveURL=(f"{search.base}/{series.study_instance_uid}/series/{series.series_instance_uid}",),
    )


def instance_answer(series: Series, instance: Attributes, search: Search, levels: tuple[Level, ...]) -> Attributes:
    uid = searchable(instance, Level.INSTANCE)["SOPInstanceUID"]
    path = f"{series.study_instance_uid}/series/{series.series_instance_uid}/instances/{uid}"
    return completed(
        search.chosen(instance, *levels),
        StudyInstanceUID=(series.study_instance_uid,),
        SeriesInstanceUID=(series.series_instance_uid,),
        RetrieveURL=(f"{search.base}/{path}",),
    )


def completed(attributes: Attributes, **computed: tuple[str | int, ...]) -> Attributes:
    """An answer in tag order, with what every level has and what was counted here, by keyword."""
    computed |= {"SpecificCharacterSet": ("ISO_IR 192",), "InstanceAvailability": ("ONLINE",)}
    return dict(sorted((attributes | {tag(name): element(name, *values) for name, values in computed.items()}).items()))
