"""Listing: the objects under a prefix, one page after the other, with their stamps.

Google's and Amazon's lists are asked for page by page through the public `call` of their filesystems, with no more
fields than needed, so that a million objects are never held at once; fsspec's own `find` holds them all. Other stores
(Azure) offer nothing but `find`. It knows fsspec, and nothing of what the objects are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from clipdata import retries
from clipdata.errors import UsageError
from clipdata.objects.faults import PATIENCE, as_clipdata_error
from clipdata.objects.stamps import Stamp, stamp_of
from clipdata.storage import Storage, absolute, redact, scheme

T = TypeVar("T")
PAGE_OBJECTS = 1000  # the most that both stores give
_GOOGLE_FIELDS = "nextPageToken,items(name,size,etag,md5Hash,updated,contentEncoding)"


def list_objects(
    storage: Storage, prefix: str, *, patience: retries.Policy | None = None
) -> Iterator[tuple[str, Stamp]]:
    """Yield (URL, stamp) of every object inside a prefix, sorted as the store sorts them: by the bytes of the name.

    Args:
        prefix: URL of a bucket or of a "folder" in it.

    Raises:
        UsageError: it is a web address.
        NotFoundError: there is no such bucket.
        CredentialsError: the store refused access.
        TransientError: the store failed, again and again.
    """
    location = absolute(prefix)
    if scheme(location) in ("http", "https"):
        raise UsageError(
            f"{redact(location)} is a web address, and nothing can list what lies under one; expected a folder or a "
            "bucket's prefix",
            hint="clipdata ingest urls FILE --into TABLE.lance takes a list of web addresses of images",
        )
    fs, path = storage.filesystem(location)
    patient = _Patient(storage, f"listing {redact(location)}", patience or PATIENCE)
    bucket, _, inside = path.partition("/")
    pages = {"gs": _google_pages, "s3": _amazon_pages}.get(scheme(location))
    kind = location.partition("://")[0]
    start = f"{inside.rstrip('/')}/" if inside else ""
    if pages is None:
        listing = patient(lambda: fs.find(path, detail=True))
        yield from ((f"{kind}://{name}", stamp_of(listing[name])) for name in sorted(listing))
        return
    for name, about in pages(fs, bucket, start, patient):
        if not name.endswith("/"):  # an empty object that stands for a folder
            yield f"{kind}://{bucket}/{name}", stamp_of(about)


def is_object(storage: Storage, url: str) -> bool:
    """Tell whether there is an object of exactly this name, in one request where the store is Google's or Amazon's."""
    location = absolute(url)
    fs, path = storage.filesystem(location)
    bucket, _, inside = path.partition("/")
    pages = {"gs": _google_pages, "s3": _amazon_pages}.get(scheme(location))
    patient = _Patient(storage, f"listing {redact(location)}", PATIENCE)
    if pages is None:
        return bool(patient(lambda: fs.isfile(path)))
    # What begins with a name is sorted behind the name itself.
    return next((name for name, _ in pages(fs, bucket, inside, patient, 1)), None) == inside


class _Patient:
    """Calls again what failed for a passing reason, and says in our words what does not pass."""

    def __init__(self, storage: Storage, doing: str, patience: retries.Policy) -> None:
        self._storage, self._doing, self._patience = storage, doing, patience

    def __call__(self, ask: Callable[[], T]) -> T:
        try:
            return retries.call(self._patience, ask)
        except Exception as error:
            raise as_clipdata_error(error, self._doing, self._storage) from error


def _google_pages(
    fs: Any, bucket: str, start: str, patient: _Patient, page_objects: int | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    page: dict[str, Any] = {"nextPageToken": None}
    while "nextPageToken" in page:
        words = {
            "prefix": start or None,
            "pageToken": page["nextPageToken"],
            "maxResults": page_objects or PAGE_OBJECTS,
        }
        page = patient(
            lambda words=words: fs.call("GET", "b/{}/o", bucket, fields=_GOOGLE_FIELDS, json_out=True, **words)  # type: ignore[misc]
        )
        yield from ((about["name"], about) for about in page.get("items", ()))


def _amazon_pages(
    fs: Any, bucket: str, start: str, patient: _Patient, page_objects: int | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    words: dict[str, Any] = {"Bucket": bucket, "Prefix": start, "MaxKeys": page_objects or PAGE_OBJECTS, **fs.req_kw}
    while True:
        page = patient(lambda: fs.call_s3("list_objects_v2", **words))
        yield from ((about["Key"], about) for about in page.get("Contents", ()))
        if not page.get("IsTruncated"):
            return
        words["ContinuationToken"] = page["NextContinuationToken"]
