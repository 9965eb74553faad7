"""How a search is answered: studies and series from documents, instances from what lies beside their packs."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Mapping, Sequence

from fastapi import Request, Response

from radrelay_shared.errors import TooLarge
from radrelay_shared.ports import Has, In, Where
from radrelay_storage import qido
from radrelay_storage.attributes import RETURNED, Attributes, Element, Level, element, pick, tag
from radrelay_storage.context import StorageContext
from radrelay_storage.domain import Series, Study
from radrelay_storage.listing import Listed
from radrelay_storage.multipart import answer_at_once
from radrelay_storage.nativexml import native
from radrelay_storage.negotiation import DICOM_XML, described_type, takes_gzip

NOT_FUZZY = '299 radrelay "The fuzzymatching parameter is not supported. Only literal matching has been performed."'
MORE = '299 radrelay "There are additional results that can be requested."'
WORTH_GZIP = 1024  # bytes
STUDIES_MOST = 10_000  # with a modality, when series or instances of every study are searched
SERIES_AT_ONCE, SERIES_MOST = 100, 1000  # that are read to find instances

Found = tuple[list[Attributes], bool]  # a page of answers, and whether there are more


class Search:
    """One search request: its query, and how to answer it."""

    def __init__(self, request: Request, level: Level) -> None:
        self.query = qido.parse(request.query_params.multi_items(), level)
        self.media_type = described_type(request.headers.get("accept"))
        self.gzip = takes_gzip(request.headers.get("accept-encoding"))
        self.base = f"{request.base_url}dicom-web/studies"

    def chosen(self, attributes: Mapping[str, Element], *levels: Level) -> Attributes:
        """The attributes that are returned at these levels, and those asked for by includefield."""
        if self.query.everything:
            return dict(attributes)
        return pick(attributes, [*(name for each in levels for name in RETURNED[each]), *self.query.include])

    async def answer(self, found: list[Attributes], more: bool) -> Response:  # noqa: FBT001  the two parts of `Found`
        warnings = [*([NOT_FUZZY] if self.query.fuzzy else []), *([MORE] if more else [])]
        headers = {"Vary": "Accept, Accept-Encoding"} | ({"Warning": ", ".join(warnings)} if warnings else {})
        if self.media_type == DICOM_XML:
            documents = await asyncio.to_thread(lambda: list(map(native, found)))
            return answer_at_once(documents, DICOM_XML, DICOM_XML, headers)
        content, packed = await asyncio.to_thread(encoded, found, self.gzip)
        if packed:
            headers["Content-Encoding"] = "gzip"
        return Response(content, media_type=self.media_type, headers=headers)


def encoded(found: list[Attributes], pack: bool) -> tuple[bytes, bool]:  # noqa: FBT001  what the client takes
    """The answers as JSON, and whether that is compressed."""
    content = json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode()
    packed = pack and len(content) > WORTH_GZIP
    return (gzip.compress(content, 1) if packed else content), packed


# ── studies and series ───────────────────────────────────────────────────────────────────────────────


async def find_studies(search: Search, within: Sequence[Where], context: StorageContext) -> Found:
    query = search.query
    end = query.offset + query.limit + 1
    if len(query.modalities) > 1:
        found = (await any_of(query.modalities, [*query.where, *within], end, context))[query.offset :]
    else:
        found = await context.store.find(
            Study,
            [*query.where, *query.modalities, *within],
            sort="received_at",
            descending=True,
            limit=query.limit + 1,
            offset=query.offset,
        )
    return [study_answer(each, search) for each in found[: query.limit]], len(found) > query.limit


async def any_of(
    alternatives: Sequence[Where], where: Sequence[Where], most: int, context: StorageContext
) -> list[Study]:
    """The studies that meet one of the alternatives and all of `where`, latest first, once each."""
    if most > STUDIES_MOST:
        raise TooLarge("this page lies too far back; narrow the search, by date for instance")
    found: dict[str, Study] = {}
    for each in alternatives:
        page = await context.store.find(Study, [each, *where], sort="received_at", descending=True, limit=most)
        found |= {study.study: study for study in page}
    return sorted(found.values(), key=lambda each: (each.received_at, each.study), reverse=True)[:most]


async def find_series(
    search: Search, within: Sequence[Where], levels: tuple[Level, ...], context: StorageContext
) -> Found:
    query, within = search.query, await of_studies(search.query, within, context)
    where = [*query.where, *within, *await of_modalities(query, within, context)]
    found = await context.store.find(Series, where, limit=query.limit + 1, offset=query.offset)
    return [series_answer(each, search, levels) for each in found[: query.limit]], len(found) > query.limit


async def of_studies(query: qido.Query, within: Sequence[Where], context: StorageContext) -> Sequence[Where]:
    """What it means for a series that a caller sees single studies only: that its study is one of these."""
    if not any(isinstance(each, Has) for each in within):
        return within
    named = [each for each in query.where if each.path == "keys.StudyInstanceUID"]
    studies = await context.store.find(Study, [*within, *named], limit=SERIES_MOST + 1)
    if len(studies) > SERIES_MOST:
        raise TooLarge("you may see too many studies to search the series of all; name a study")
    return [In("study", tuple(each.study for each in studies))]


async def of_modalities(query: qido.Query, within: Sequence[Where], context: StorageContext) -> list[Where]:
    """What ModalitiesInStudy means for a series: that its study is one of these."""
    if not query.modalities:
        return []
    own = [each for each in within if each.path in ("site", "study")]
    studies = await any_of(query.modalities, own, STUDIES_MOST, context)
    if len(studies) == STUDIES_MOST:
        raise TooLarge("too many studies have this modality; name a study, or search for Modality")
    return [In("study", tuple(each.study for each in studies))]


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


# ── instances ────────────────────────────────────────────────────────────────────────────────────────


async def find_instances(
    search: Search, within: Sequence[Where], levels: tuple[Level, ...], context: StorageContext
) -> Found:
    query, within = search.query, await of_studies(search.query, within, context)
    where = [*query.where, *within, *await of_modalities(query, within, context)]
    page: list[tuple[Series, Listed]] = []
    passed = 0
    async for series in every(where, context):
        if not query.instances and passed + series.instances <= query.offset:
            passed += series.instances
            continue
        for each in await context.descriptions.listing(series):
            if all(qido.holds(condition, each.keys) for condition in query.instances):
                passed += 1
                if passed > query.offset:
                    page.append((series, each))
        if len(page) > query.limit:
            break
    chosen = [
        (series, each, await context.descriptions.text(series.study, each.metadata, each.place) if query.wide else b"")
        for series, each in page[: query.limit]
    ]
    return await asyncio.to_thread(instance_answers, chosen, search, levels), len(page) > query.limit


async def every(where: Sequence[Where], context: StorageContext) -> AsyncIterator[Series]:
    """All series that meet the conditions, some at a time; `TooLarge` after `SERIES_MOST` of them."""
    for start in range(0, SERIES_MOST, SERIES_AT_ONCE):
        found = await context.store.find(Series, where, limit=SERIES_AT_ONCE, offset=start)
        for each in found:
            yield each
        if len(found) < SERIES_AT_ONCE:
            return
    raise TooLarge("this search would read the metadata of too many series; name a study or a series")


def instance_answers(
    chosen: Sequence[tuple[Series, Listed, bytes]], search: Search, levels: tuple[Level, ...]
) -> list[Attributes]:
    """Each instance's answer, out of what is listed or, where more is asked for, out of its whole metadata."""
    return [
        instance_answer(series, each.uid, json.loads(text) if text else each.attributes, search, levels)
        for series, each, text in chosen
    ]


def instance_answer(
    series: Series, uid: str, attributes: Attributes, search: Search, levels: tuple[Level, ...]
) -> Attributes:
    path = f"{series.study_instance_uid}/series/{series.series_instance_uid}/instances/{uid}"
    return completed(
        search.chosen(attributes, *levels),
        StudyInstanceUID=(series.study_instance_uid,),
        SeriesInstanceUID=(series.series_instance_uid,),
        RetrieveURL=(f"{search.base}/{path}",),
    )


def completed(attributes: Attributes, **computed: tuple[str | int, ...]) -> Attributes:
    """An answer in tag order, with what every level has and what was counted here, by keyword."""
    computed |= {"SpecificCharacterSet": ("ISO_IR 192",), "InstanceAvailability": ("ONLINE",)}
    return dict(sorted((attributes | {tag(name): element(name, *values) for name, values in computed.items()}).items()))
