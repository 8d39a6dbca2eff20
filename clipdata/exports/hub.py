"""The hub: the few requests by which a folder becomes a data set there. It knows folders, and nothing of tables.

A token is found where `huggingface_hub` finds it, and shown nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clipdata.errors import ClipdataError, CredentialsError, NotFoundError, StorageError, TransientError, UsageError
from clipdata.storage import redact

SCHEME = "hf://datasets/"
_REPO = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")
_TOKEN = re.compile(r"\b(hf|api_org)_[A-Za-z0-9]{8,}")
_DENIED, _MISSING = (401, 403), 404


def repo_of(place: str) -> str | None:
    """The name of a data set on the hub, "org/name"; None for any other place.

    Raises:
        UsageError: the place is on the hub, and no data set.
    """
    if not place.startswith("hf://"):
        return None
    name = place.removeprefix(SCHEME).strip("/")
    if not place.startswith(SCHEME) or not _REPO.fullmatch(name):
        raise UsageError(f"{place!r:.200} is no data set on the hub; expected {SCHEME}ORG/NAME")
    return name


def require_hub() -> None:
    """Make sure that the hub can be reached from here.

    Raises:
        UsageError: `huggingface_hub` is not installed.
    """
    try:
        import huggingface_hub  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "push: the package huggingface_hub is not installed", hint="pip install 'clipdata[datasets]'"
        ) from error


def card_on_hub(repo: str) -> str | None:
    """The README.md of a data set; None where there is none yet, or not the data set itself."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError

    with _told(repo):
        try:
            place = HfApi().hf_hub_download(repo, "README.md", repo_type="dataset")
        except (EntryNotFoundError, RepositoryNotFoundError):
            return None
    return Path(place).read_text(encoding="utf-8")


def upload(folder: Path, repo: str, *, public: bool, message: str, tag: str | None) -> str:
    """Make a folder the content of a data set, in one commit; returns where that is.

    Args:
        folder: all of it; files of a former table go.
        repo: "org/name", made where there is none.
        public: whether a new one can be seen by everybody.
        message: of the commit.
        tag: to give the commit; one of that name moves.

    Raises:
        CredentialsError: nobody is logged in, or may not write there.
        TransientError: the hub cannot be reached.
    """
    from huggingface_hub import HfApi

    api = HfApi(library_name="clipdata")
    with _told(repo):
        api.create_repo(repo, repo_type="dataset", private=not public, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo,
            repo_type="dataset",
            folder_path=folder,
            commit_message=message,
            delete_patterns=["data/**"],
            ignore_patterns=[".*"],
        )
        if tag is not None:
            api.delete_tag(repo, tag=tag, repo_type="dataset") if _has_tag(api, repo, tag) else None
            api.create_tag(repo, tag=tag, revision=commit.oid, repo_type="dataset")
    return str(commit.commit_url)


def _has_tag(api: object, repo: str, tag: str) -> bool:
    refs = api.list_repo_refs(repo, repo_type="dataset")  # type: ignore[attr-defined]
    return tag in {one.name for one in refs.tags}


@contextmanager
def _told(repo: str) -> Iterator[None]:
    """Say the hub's errors in our words.

    Raises:
        CredentialsError, NotFoundError, TransientError, StorageError: by what the hub answered.
    """
    try:
        yield
    except ClipdataError:
        raise
    except Exception as error:  # of whatever client the library uses
        said = _TOKEN.sub(r"\1_***", redact(str(error).strip().splitlines()[0][:300] if str(error).strip() else ""))
        found = f"{SCHEME}{repo}: {said or type(error).__name__}"
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in _DENIED or type(error).__name__ in ("LocalTokenNotFoundError", "GatedRepoError"):
            raise CredentialsError(
                found, hint="log in with `hf auth login`, as somebody who may write there"
            ) from error
        if status == _MISSING:
            raise NotFoundError(found) from error
        if status is not None and status < 500 and status != 429:
            raise StorageError(found) from error
        raise TransientError(found, hint="check the network (HF_HUB_OFFLINE forbids it), then run it again") from error
