"""Locations: one set of settings that becomes an fsspec filesystem, Lance storage options and a DataChain config.

A location is a local path or a URL (`gs://`, `s3://`, `az://`, or for reading any other fsspec URL). The same neutral
words configure every library, so that a source and a table on the same bucket are described once. Credentials that are
not given come from the environment, where each cloud's users expect them. This module knows nothing of tables or
images, and never shows a secret: `repr` and errors mask them.
"""

from __future__ import annotations

import json
import logging
import os
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from clipdata.answering import answered, guard
from clipdata.current_folder import absolute_path
from clipdata.errors import CredentialsError, TransientError, UsageError
from clipdata.redaction import redact as redact

if TYPE_CHECKING:
    import fsspec

# Word → what it means; the whole vocabulary of `--storage-option`.
OPTION_WORDS: dict[str, str] = {
    "endpoint": "URL of the service, for emulators and S3-compatible stores",
    "region": "region of the bucket (S3)",
    "access_key_id": "access key (S3)",
    "secret_access_key": "secret of the access key (S3)",
    "session_token": "session token that goes with the key (S3)",
    "profile": "profile name in the AWS configuration files (S3)",
    "token": "path of a service account key, or a bearer token (GCS)",
    "project": "project that pays for the requests (GCS)",
    "account_name": "storage account (Azure)",
    "account_key": "key of the storage account (Azure)",
    "sas_token": "shared access signature (Azure)",
    "timeout": "limit of one request, such as 30s",
    "connect_timeout": "how long to wait for a store's first answer, 30s by default",
    "cache_folder": "folder of this machine that keeps what streams read from the store, for the next epoch",
    "cache_bytes": "most to keep there, such as 200GB; 50GB by default",
}
SECRET_WORDS = frozenset({"secret_access_key", "session_token", "token", "account_key", "sas_token", "access_key_id"})
_SCHEMES = {"gs": "gs", "gcs": "gs", "s3": "s3", "s3a": "s3", "az": "az", "abfs": "az", "abfss": "az", "file": "file"}
_URL = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+)://")
_S3_CONNECTIONS = 64
_CANONICAL = {"gcs": "gs", "s3a": "s3"}  # spellings that Lance and DataChain do not know
T = TypeVar("T")
CONNECT_TIMEOUT_S = 30.0
_DURATION = re.compile(r"^(\d+(?:\.\d+)?)(ms|s|m|h)$")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
CACHE_BYTES = 50 * 10**9
_SIZE = re.compile(r"^(\d+(?:\.\d+)?) ?([kKMGT]?)B?$")
_FACTOR = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def scheme(uri: str | os.PathLike[str]) -> str:
    """Return the scheme of a location: "file", "gs", "s3", "az", or the fsspec protocol as written."""
    found = _URL.match(os.fspath(uri))
    return _SCHEMES.get(found.group(1).lower(), found.group(1).lower()) if found else "file"


def is_remote(uri: str | os.PathLike[str]) -> bool:
    """Tell whether a location is reached through a network."""
    return scheme(uri) != "file"


def join(uri: str | os.PathLike[str], *parts: str) -> str:
    """Append path segments to a location, for paths and URLs alike."""
    return "/".join([os.fspath(uri).rstrip("/"), *(part.strip("/") for part in parts)])


def absolute(uri: str | os.PathLike[str]) -> str:
    """Return a location that does not depend on the working directory (a plain absolute path, or the URL).

    Raises:
        UsageError: keys stand in the URL of a bucket, where every message of every library would repeat them.
        NotFoundError: it begins at the current folder, which is gone.
    """
    text = os.fspath(uri)
    if is_remote(text):
        written, _, rest = text.partition("://")
        user, is_named, _ = rest.partition("/")[0].rpartition("@")
        if is_named and (":" in user or scheme(text) in ("gs", "s3")) and scheme(text) in ("gs", "s3", "az"):
            raise UsageError(
                f"{redact(text)} holds keys before its bucket; expected {scheme(text)}://BUCKET/PATH",
                hint="give keys by --storage-option access_key_id=… (Storage(options=…)), or by the environment",
            )
        return f"{_CANONICAL.get(written.lower(), written.lower())}://{rest}".rstrip("/")
    return str(absolute_path(text.removeprefix("file://")))


@dataclass(frozen=True, repr=False)
class Storage:
    """How to reach locations.

    Args:
        anonymous: send unsigned requests (public buckets).
        options: words of `OPTION_WORDS`; `fsspec.<key>` and `lance.<key>` pass a key of those libraries through.

    Raises:
        UsageError: a word is unknown (the message lists those that exist), or its value cannot be right.
    """

    anonymous: bool = False
    options: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = [w for w in self.options if w not in OPTION_WORDS and not w.startswith(("fsspec.", "lance."))]
        if unknown:
            known = ", ".join(OPTION_WORDS)
            raise UsageError(
                f"unknown storage option {', '.join(map(repr, unknown))}; known: {known}",
                hint="pass a library's own key as fsspec.<key>=<value> or lance.<key>=<value>",
            )
        for word, value in self.options.items():
            _check_value(word, value)
        object.__setattr__(self, "options", dict(self.options))

    def __repr__(self) -> str:
        shown = {w: "***" if self._is_secret(w) else redact(v) for w, v in self.options.items()}
        return f"Storage(anonymous={self.anonymous}, options={shown})"

    @staticmethod
    def _is_secret(word: str) -> bool:
        return word in SECRET_WORDS or word.startswith(("fsspec.", "lance."))

    @classmethod
    def parse(cls, pairs: list[str] | tuple[str, ...] = (), *, anonymous: bool = False) -> Storage:
        """Read `key=value` pairs as typed on the command line."""
        broken = [pair for pair in pairs if "=" not in pair]
        if broken:  # shown only where it is a word: it may be a secret that lost its key
            shown = repr(broken[0]) if broken[0] in OPTION_WORDS else f"number {pairs.index(broken[0]) + 1}"
            raise UsageError(f"storage option {shown} is not written key=value")
        return cls(anonymous=anonymous, options=dict(pair.split("=", 1) for pair in pairs))

    def signed(self) -> Storage:
        """The same settings without `anonymous`: what a table is written with when only its source is public."""
        return Storage(anonymous=self.anonymous and "endpoint" in self.options, options=self.options)

    def answered(self, ask: Callable[[], T], uri: str, doing: str) -> T:
        """Make a first request: a local one just so, one to a store no longer than `connect_timeout` allows.

        Args:
            ask: the request.
            uri: of what is asked for.
            doing: what is done, as in "opening gs://bucket/table".

        Raises:
            NoAnswerError: no answer came in time; it names the endpoint and what to check.
        """
        if not is_remote(uri):
            return ask()
        account = self.options.get("account_name", "the account")
        usual = {"gs": "https://storage.googleapis.com", "s3": "Amazon S3", "az": f"{account}.blob.core.windows.net"}
        place = redact(self.options.get("endpoint") or usual.get(scheme(uri), uri))
        return answered(ask, doing, place, _seconds(self.options.get("connect_timeout", "")) or CONNECT_TIMEOUT_S)

    @property
    def cache_bytes(self) -> int:
        """Most bytes to keep in `cache_folder`."""
        found = _SIZE.match(self.options.get("cache_bytes", ""))
        return int(float(found[1]) * _FACTOR[found[2]]) if found else CACHE_BYTES

    def passthrough(self, library: str) -> dict[str, str]:
        """Keys meant for one library only, without their prefix."""
        prefix = f"{library}."
        return {w.removeprefix(prefix): v for w, v in self.options.items() if w.startswith(prefix)}

    def filesystem(self, uri: str | os.PathLike[str]) -> tuple[fsspec.AbstractFileSystem, str]:
        """Open the filesystem of a location.

        Returns:
            The filesystem, and the path of the location inside it.

        Raises:
            UsageError: the scheme needs a package that is not installed, or is unknown.
            TransientError: nobody answers there.
        """
        text = absolute(uri)
        kind = scheme(text)
        keywords = {"gs": self._gcsfs, "s3": self._s3fs, "az": self._adlfs}.get(kind, dict)()
        if kind in ("gs", "s3", "az"):
            keywords["use_listings_cache"] = False  # or a job would not see what was added since the last one
        if kind == "s3":  # its client sends no more than 10 requests at once
            keywords["config_kwargs"] = {"max_pool_connections": _S3_CONNECTIONS, **keywords.get("config_kwargs", {})}
        import fsspec

        try:
            # Not url_to_fs: to that "a::b.jpg" is a chain of filesystems, and it would write to "a".
            kind_of_fs = _class_of(kind) or fsspec.get_filesystem_class(
                text.partition("://")[0] if is_remote(text) else "file"
            )
            keywords = kind_of_fs._get_kwargs_from_urls(text) | keywords | self.passthrough("fsspec")
            filesystem = kind_of_fs(**keywords)
            if kind in ("gs", "s3", "az"):
                guard(filesystem, lambda ask: self.answered(ask, text, f"reaching {redact(text)}"))
            return filesystem, kind_of_fs._strip_protocol(text)
        except (ConnectionError, TimeoutError, socket.gaierror) as error:  # some connect before they are asked
            raise TransientError(
                f"cannot reach {redact(text)}: {redact(error.strerror or str(error))}",
                hint="check the address and the network, and run the same command again",
            ) from error
        except (ImportError, ValueError) as error:
            extra = {"gs": "gcs", "s3": "s3", "az": "azure"}.get(kind)
            hint = f"pip install 'clipdata[{extra}]'" if extra else "use a local path, gs://, s3:// or az://"
            raise UsageError(f"cannot open {redact(text)}: {redact(str(error))}", hint=hint) from error

    def lance_options(self, uri: str | os.PathLike[str]) -> dict[str, str]:
        """Storage options in Lance's own words for the location's scheme (empty for local paths)."""
        kind = scheme(uri)
        if kind == "file":
            return {}
        own = {"gs": self._lance_gcs, "s3": self._lance_s3, "az": self._lance_azure}.get(kind)
        if own is None:
            raise UsageError(
                f"a table cannot live on {kind}://; expected a local path, gs://, s3:// or az://",
                hint="read from there, and write the table elsewhere",
            )
        options = own()
        if "timeout" in self.options:
            options["timeout"] = self.options["timeout"]
        if self.options.get("endpoint", "").startswith("http://"):
            options["allow_http"] = "true"
        return options | self.passthrough("lance")

    def datachain_config(self, uri: str | os.PathLike[str]) -> dict[str, Any]:
        """Keyword arguments for `datachain.read_storage`: `anon` and `client_config`."""
        config = {"gs": self._gcsfs, "s3": self._s3fs, "az": self._adlfs}.get(scheme(uri), dict)()
        config.pop("anon", None)  # has an argument of its own
        if scheme(uri) == "s3" and "endpoint_url" in config:
            config["aws_endpoint_url"] = config.pop("endpoint_url")
        return {"anon": self.anonymous or None, "client_config": config or None}

    def _gcsfs(self) -> dict[str, Any]:
        _prepare_google()
        token = self.options.get("token")
        return _present(
            {
                "token": "anon" if self.anonymous else token and (_file_of(token) or token),
                "endpoint_url": self.options.get("endpoint"),
                "project": self.options.get("project"),
                "requests_timeout": self._timeout_s(),
            }
        )

    def _s3fs(self) -> dict[str, Any]:
        words = {"key": "access_key_id", "secret": "secret_access_key", "token": "session_token", "profile": "profile"}
        timeout_s = self._timeout_s()
        return _present(
            {
                **{theirs: self.options.get(ours) for theirs, ours in words.items()},
                "anon": self.anonymous or None,
                "endpoint_url": self.options.get("endpoint"),
                "client_kwargs": {"region_name": self.options["region"]} if "region" in self.options else None,
                "config_kwargs": {"connect_timeout": timeout_s, "read_timeout": timeout_s} if timeout_s else None,
            }
        )

    def _timeout_s(self) -> float | None:
        return _seconds(self.options.get("timeout", ""))

    def _adlfs(self) -> dict[str, Any]:
        words = ("account_name", "account_key", "sas_token")
        return _present({**{w: self.options.get(w) for w in words}, "anon": self.anonymous or None})

    def _lance_gcs(self) -> dict[str, str]:
        _prepare_google()
        endpoint = self.options.get("endpoint")
        if endpoint and self.anonymous:
            key = {"gcs_base_url": endpoint, "disable_oauth": True, "client_email": ""}
            return {"google_service_account_key": json.dumps(key | {"private_key": "", "private_key_id": ""})}
        token = None if self.anonymous else self.options.get("token")
        key_file = _file_of(token) if token else None
        return _present(
            {
                "google_skip_signature": "true" if self.anonymous else None,
                "google_base_url": endpoint,
                "google_application_credentials": key_file,  # takes keys of service accounts and of users
                "google_bearer_token": None if key_file else token,
            }
        )

    def _lance_s3(self) -> dict[str, str]:
        words = {"aws_region": "region", "aws_access_key_id": "access_key_id", "aws_endpoint": "endpoint"}
        words |= {"aws_secret_access_key": "secret_access_key", "aws_session_token": "session_token"}
        options = _present({theirs: self.options.get(ours) for theirs, ours in words.items()})
        if "endpoint" in self.options:
            options["aws_virtual_hosted_style_request"] = "false"
        if self.anonymous:
            return options | {"aws_skip_signature": "true"}
        profile = self.options.get("profile") or os.environ.get("AWS_PROFILE")
        if profile and "aws_access_key_id" not in options:
            options = _aws_profile(profile) | options
        return options

    def _lance_azure(self) -> dict[str, str]:
        words = {"azure_storage_account_name": "account_name", "azure_storage_account_key": "account_key"}
        words |= {"azure_storage_sas_token": "sas_token", "azure_endpoint": "endpoint"}
        options = _present({theirs: self.options.get(ours) for theirs, ours in words.items()})
        return options | ({"azure_skip_signature": "true"} if self.anonymous else {})


def _seconds(duration: str) -> float | None:
    found = _DURATION.match(duration)
    return float(found[1]) * _SECONDS[found[2]] if found else None


def _present(pairs: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in pairs.items() if value is not None}


def _check_value(word: str, value: object) -> None:
    if not isinstance(value, str) or not value:
        found = "empty" if value == "" else f"of type {type(value).__name__}"
        raise UsageError(f"storage option {word} is {found}; expected text")
    if word == "endpoint" and not value.startswith(("http://", "https://")):
        raise UsageError(f"storage option endpoint is {redact(value)!r}; expected a URL such as https://host:9000")
    if word in ("timeout", "connect_timeout") and not _DURATION.match(value):
        raise UsageError(f"storage option {word} is {value!r}; expected a duration such as 30s, 500ms or 2m")
    if word == "cache_bytes" and not _SIZE.match(value):
        raise UsageError(f"storage option {word} is {value!r}; expected a size such as 200GB, 500MB or 50000000")
    if word == "cache_folder" and is_remote(value):
        raise UsageError(f"storage option {word} is {redact(value)!r}; expected a folder of this machine")


def _file_of(token: str) -> str | None:
    """The path of a key file, or None where a token is the token itself (and may be too long for a path)."""
    path = os.path.expanduser(token)
    return path if os.path.isfile(path) else None


def _prepare_google() -> None:
    """Settle what Google's libraries read from the environment; gcsfs does so when it is imported."""
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # its probe stalls 60 s where gRPC is shut
    os.environ.setdefault("FETCH_RAW_TOKEN_EXPIRY", "false")  # or gcsfs sends a bearer token to Google inside a URL
    logging.getLogger("gcsfs").addHandler(logging.NullHandler())  # it logs tracebacks of errors that we tell as ours
    if os.environ.get("GOOGLE_APPLICATION_CREDENTIALS") == "":
        del os.environ["GOOGLE_APPLICATION_CREDENTIALS"]  # Lance takes the empty string for a file name


def _class_of(kind: str) -> Any:
    """gcsfs's plain class, also where something imported gcsfs before `_prepare_google` could ask for it."""
    if kind != "gs" or os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] != "false":
        return None
    from gcsfs.core import GCSFileSystem

    return GCSFileSystem


def _aws_profile(profile: str) -> dict[str, str]:
    """Look up a profile (keys or single sign-on) for Lance, which does not read AWS configuration files itself."""
    try:
        import botocore.exceptions
        import botocore.session
    except ImportError as error:
        raise UsageError(f"AWS profile {profile!r} needs s3fs", hint="pip install 'clipdata[s3]'") from error
    try:
        session = botocore.session.Session(profile=profile)
        credentials = session.get_credentials()
        if credentials is None:
            raise CredentialsError(
                f"AWS profile {profile!r} holds no credentials", hint=f"aws configure --profile {profile}"
            )
        frozen = credentials.get_frozen_credentials()
    except botocore.exceptions.BotoCoreError as error:
        raise CredentialsError(
            f"AWS profile {profile!r}: {error}", hint=f"aws sso login --profile {profile}"
        ) from error
    return _present(
        {
            "aws_access_key_id": frozen.access_key,
            "aws_secret_access_key": frozen.secret_key,
            "aws_session_token": frozen.token,
            "aws_region": session.get_config_variable("region"),
        }
    )
