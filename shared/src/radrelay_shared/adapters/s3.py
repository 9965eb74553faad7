"""`Blobs` in an S3 bucket (MinIO, SeaweedFS, Ceph, AWS) through the blocking `minio` client, in threads of its own.

Retention is S3 object lock, so it needs a bucket that was made with lock. Such a bucket keeps versions: `delete`
removes every version of a key, for a delete marker alone would keep the pixels. What a crash leaves of a multipart
upload is invisible; a lifecycle rule (AbortIncompleteMultipartUpload) clears it.

Three bounds of servers: MinIO lets no key be another key's folder (`a` and `a/b`); SeaweedFS lists `a/b` before `a-b`,
segment by segment, where S3 compares whole keys, and of several racers for a key more than one may win if they come in
parts. RadRelay races for keys that follow from their content only.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit
from xml.etree.ElementTree import Element, SubElement, fromstring, tostring

import urllib3
from minio import Minio
from minio.error import MinioException, S3Error
from minio.retention import COMPLIANCE, Retention

from radrelay_shared.adapters.blobs import PIECE, blocks, check_key, check_prefix, check_range, in_threads
from radrelay_shared.errors import Conflict, Full, Invalid, NotFound, RadRelayError, Refused, Unreachable
from radrelay_shared.ports import BlobInfo

PART = 8 << 20  # of a multipart upload; with 10,000 parts an object has at most 80 GiB
THREADS = 16

_TIMEOUT = urllib3.Timeout(connect=3, read=30)  # seconds, per socket operation
_RETRIES = urllib3.Retry(
    total=2, connect=1, backoff_factor=0.2, status_forcelist=(500, 502, 503, 504), raise_on_status=False
)

_ERRORS: Mapping[str, type[RadRelayError]] = {
    "NoSuchKey": NotFound,
    "NoSuchVersion": NotFound,
    "PreconditionFailed": Conflict,
    "ConditionalRequestConflict": Conflict,
    "ObjectLocked": Refused,
    "InsufficientStorage": Full,
    "QuotaExceeded": Full,
    "XMinioStorageFull": Full,
    "XMinioAdminBucketQuotaExceeded": Full,
}
_INSUFFICIENT_STORAGE = 507  # RFC 4918 §11.5
_NO_LOCK = ("ObjectLockConfigurationNotFoundError", "NotImplemented", "MethodNotAllowed")
_PROBE = "radrelay-health"  # never an object: its upload is always aborted

T = TypeVar("T")


class S3Blobs:
    """Objects of one bucket: `s3://host:port/bucket?secure=false&region=us-east-1`; TLS unless `secure=false`."""

    def __init__(self, url: str, access_key: str, secret_key: str) -> None:
        parts = urlsplit(url)
        options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        self._bucket = parts.path.strip("/")
        if parts.scheme != "s3" or not parts.netloc or not self._bucket or "/" in self._bucket:
            raise Invalid("an S3 bucket's URL looks like s3://host:port/bucket?secure=false&region=us-east-1")
        self._pool = urllib3.PoolManager(timeout=_TIMEOUT, retries=_RETRIES, maxsize=THREADS)
        self._client = Minio(
            parts.netloc.rpartition("@")[2],
            access_key,
            secret_key,
            secure=options.get("secure", "true") != "false",
            region=options.get("region", "us-east-1"),
            http_client=self._pool,
        )
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="s3")
        self._locks: bool | None = None  # whether the bucket has object lock; not asked yet

    async def ensure_bucket(self, *, lock: bool = False) -> None:
        """Create the bucket, with object lock if asked, unless it exists."""
        await self._call(self._bucket, lambda: self._make_bucket(lock=lock))

    async def put(self, key: str, source: bytes | AsyncIterator[bytes], *, if_absent: bool = False) -> int:
        check_key(key)
        if not if_absent:
            await self._call(key, lambda: self._check_overwriting(key))
        condition = {"If-None-Match": "*"} if if_absent else {}
        async with aclosing(blocks(source, PART)) as parts:
            part = await anext(parts, b"")
            if len(part) < PART:
                await self._request("PUT", key, part, condition)
                return len(part)
            async with self._upload(key) as upload:
                tags: Sequence[str] = ()
                size = 0
                while part:
                    size += len(part)
                    tags = (*tags, await self._part(key, upload, len(tags) + 1, part))
                    part = b""  # lets go of it before the next one is gathered
                    part = await anext(parts, b"")
                await self._complete(key, upload, tags, condition)
                return size

    async def stream(self, key: str, *, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        check_key(key)
        check_range(start, length)
        response = await self._call(key, lambda: self._open(key, start, length))
        if response is None:
            return
        try:
            while piece := await self._call(key, lambda: bytes(response.read(PIECE))):
                yield piece
        finally:
            response.close()

    async def pour(
        self, key: str, take: Callable[[bytes], object], *, start: int = 0, length: int | None = None
    ) -> None:
        check_key(key)
        check_range(start, length)
        await asyncio.get_running_loop().run_in_executor(self._threads, self._pour, key, take, start, length)

    async def read(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        check_key(key)
        check_range(start, length)
        return await self._call(key, lambda: self._read(key, start, length))

    async def stat(self, key: str) -> BlobInfo | None:
        check_key(key)
        head = await self._call(key, lambda: self._head(key))
        return head and BlobInfo(key, head.size, head.last_modified)

    async def list(self, prefix: str = "") -> AsyncIterator[BlobInfo]:
        check_prefix(prefix)
        found = self._client.list_objects(self._bucket, prefix=prefix, recursive=True)
        with _translated(self._bucket):
            async for each in in_threads(found, self._threads):
                yield BlobInfo(each.object_name, each.size, each.last_modified)

    async def delete(self, key: str) -> None:
        check_key(key)
        await self._call(key, lambda: self._delete(key))

    async def retain(self, key: str, until: datetime) -> None:
        check_key(key)
        await self._call(key, lambda: self._retain(key, until))

    async def healthy(self) -> None:
        """One byte is uploaded and the upload aborted: bucket, keys and room are there, and nobody sees an object."""
        upload = await self._begin(_PROBE)
        try:
            await self._part(_PROBE, upload, 1, b"1")
        finally:
            await self._abort(_PROBE, upload)

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._pool.clear()

    # ── multipart uploads ────────────────────────────────────────────────────────────────────────────

    @asynccontextmanager
    async def _upload(self, key: str) -> AsyncIterator[str]:
        """The id of an upload that is aborted if anything fails before it is complete."""
        upload = await self._begin(key)
        try:
            yield upload
        except BaseException:
            with suppress(RadRelayError):
                await self._abort(key, upload)
            raise

    async def _begin(self, key: str) -> str:
        answer = await self._request("POST", key, query={"uploads": ""})
        return str(fromstring(answer.data).findtext("{*}UploadId"))  # noqa: S314  our own bucket's answer

    async def _abort(self, key: str, upload: str) -> None:
        await self._request("DELETE", key, query={"uploadId": upload})

    async def _part(self, key: str, upload: str, number: int, part: bytes) -> str:
        answer = await self._request("PUT", key, part, query={"partNumber": str(number), "uploadId": upload})
        return str(answer.headers["etag"])

    async def _complete(self, key: str, upload: str, tags: Sequence[str], condition: Mapping[str, str]) -> None:
        body = Element("CompleteMultipartUpload")
        for number, tag in enumerate(tags, 1):
            part = SubElement(body, "Part")
            SubElement(part, "PartNumber").text = str(number)
            SubElement(part, "ETag").text = tag
        headers = {"Content-Type": "application/xml", **condition}
        answer = await self._request("POST", key, tostring(body), headers, {"uploadId": upload})
        if b"<Error" in answer.data:  # S3 may say 200 first, to keep the connection, and fail later
            raise _ours(S3Error.fromxml(answer), key)

    async def _request(
        self,
        method: str,
        key: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Any:
        """A signed request, with headers that minio's public methods cannot send, such as `If-None-Match`."""
        send = partial(self._client._execute, method, self._bucket, key)  # noqa: SLF001  see above
        return await self._call(key, lambda: send(body, dict(headers or {}), dict(query or {})))

    # ── in threads ───────────────────────────────────────────────────────────────────────────────────

    async def _call(self, key: str, work: Callable[[], T]) -> T:
        with _translated(key):
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _make_bucket(self, *, lock: bool) -> None:
        if self._client.bucket_exists(self._bucket):
            return
        try:
            self._client.make_bucket(self._bucket, object_lock=lock)
        except S3Error as error:
            if error.code != "BucketAlreadyOwnedByYou":  # someone was faster
                raise

    def _open(self, key: str, start: int, length: int | None) -> Any:
        """The response to read from, or None for a range without bytes."""
        if length == 0:  # which minio reads as "to the end"
            self._client.stat_object(self._bucket, key)
            return None
        try:
            return self._client.get_object(self._bucket, key, offset=start, length=length or 0)
        except S3Error as error:
            if error.code != "InvalidRange":
                raise
            return None

    def _pour(self, key: str, take: Callable[[bytes], object], start: int, length: int | None) -> None:
        with _translated(key):
            response = self._open(key, start, length)
        if response is None:
            return
        try:
            while piece := _piece(key, response):
                take(piece)
        finally:
            response.close()

    def _read(self, key: str, start: int, length: int | None) -> bytes:
        response = self._open(key, start, length)
        if response is None:
            return b""
        try:
            return bytes(response.read())
        finally:
            response.close()

    def _head(self, key: str) -> Any:
        try:
            return self._client.stat_object(self._bucket, key)
        except S3Error as error:
            if error.code != "NoSuchKey":
                raise
            return None

    def _delete(self, key: str) -> None:
        head = self._head(key)
        if head is None:
            return
        _check_retention(head)
        if head.version_id is None:
            self._client.remove_object(self._bucket, key)
            return
        versions = self._client.list_objects(self._bucket, prefix=key, include_version=True)
        mine = [each.version_id for each in versions if each.object_name == key]
        for version in reversed(mine):  # oldest first, so that no older one comes to light
            self._client.remove_object(self._bucket, key, version_id=version)

    def _retain(self, key: str, until: datetime) -> None:
        head = self._client.stat_object(self._bucket, key)
        if not self._has_lock():
            raise Refused("the bucket was made without object lock, so nothing in it can be retained")
        until = until.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1)  # S3 counts whole seconds
        if until > max(_retained_until(head), datetime.now(UTC)):
            self._client.set_object_retention(self._bucket, key, Retention(COMPLIANCE, until))

    def _check_overwriting(self, key: str) -> None:
        """In a bucket with lock, S3 itself would keep the old version and show the new one."""
        if self._has_lock():
            _check_retention(self._head(key))

    def _has_lock(self) -> bool:
        if self._locks is None:
            try:
                self._client.get_object_lock_config(self._bucket)
                self._locks = True
            except S3Error as error:
                self._locks = error.code not in _NO_LOCK  # who may not ask assumes that there is one
        return self._locks


def _piece(key: str, response: Any) -> bytes:
    with _translated(key):
        return bytes(response.read(PIECE))


def _retained_until(head: Any) -> datetime:
    text = head.metadata.get("x-amz-object-lock-retain-until-date")
    return datetime.fromisoformat(text) if text else datetime.min.replace(tzinfo=UTC)


def _check_retention(head: Any) -> None:
    if head is not None and datetime.now(UTC) < (until := _retained_until(head)):
        raise Refused(f"{head.object_name} is retained until {until:%Y-%m-%d %H:%M:%S %Z}")


@contextmanager
def _translated(key: str) -> Iterator[None]:
    try:
        yield
    except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
        raise _ours(error, key) from error


def _ours(error: Exception, key: str) -> RadRelayError:
    """The table's error for an S3 code; whatever else a server or network does wrong may be right later."""
    if not isinstance(error, S3Error):
        return Unreachable(f"the object store did not answer as S3 does ({type(error).__name__}), for {key}")
    kind = Full if error.response.status == _INSUFFICIENT_STORAGE else _ERRORS.get(error.code, Unreachable)
    return kind(f"the object store answered {error.code} for {key}")
