"""Objects in buckets, through fsspec and the library of each kind; their errors made ours at this one seam.

The libraries find credentials by their own chains (environment, profile, the machine's role) and make their
own retries; nothing of either is read, kept or shown here. They are imported when the first object is asked
for: the base install has none of them.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar
from urllib.parse import urlsplit

from tuneline.errors import (
    DataError,
    MissingPartError,
    NetworkError,
    NotFoundError,
    ResourceError,
    SettingError,
    TunelineError,
)

T = TypeVar("T")


@dataclass(frozen=True)
class Kind:
    """One kind of object store."""

    protocol: str
    """As fsspec calls it."""
    library: str
    extra: str
    login: str
    """How its library is given credentials, for a hint."""


_S3 = Kind("s3", "s3fs", "s3", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or `aws configure`")
_GCS = Kind(
    "gs", "gcsfs", "gcs", "`gcloud auth application-default login`, or GOOGLE_APPLICATION_CREDENTIALS"
)
_AZURE = Kind("abfs", "adlfs", "azure", "AZURE_STORAGE_ACCOUNT_NAME with a key, or `az login`")
_HUB = Kind("hf", "huggingface_hub", "train", "`hf auth login`, or HF_TOKEN")
KINDS = {
    "s3": _S3, "s3a": _S3, "minio": _S3, "gs": _GCS, "gcs": _GCS,
    "az": _AZURE, "abfs": _AZURE, "abfss": _AZURE, "hf": _HUB,
}  # fmt: skip
"""Scheme of a URI -> what reads and writes it. `minio` is S3 at AWS_ENDPOINT_URL, as Kubeflow writes it."""

_REFUSED = frozenset((
    "PermissionError", "NoCredentialsError", "PartialCredentialsError", "TokenRetrievalError",
    "ProfileNotFound", "DefaultCredentialsError", "RefreshError", "ClientAuthenticationError",
    "CredentialUnavailableError", "HfHubHTTPError",
))  # fmt: skip
"""Names of the exceptions by which the libraries say that nobody, or the wrong one, is logged in."""
_FULL = (28, 122)  # ENOSPC, EDQUOT


@dataclass(frozen=True)
class Found:
    """One object under a URI."""

    relative: str
    """Path below the URI, `/` between its parts; empty if the URI is the object itself."""
    size_bytes: int
    tag: str
    """What changes when the object does: an ETag, checksum, generation or time."""


def scheme_of(uri: str) -> str:
    """`s3` of `s3://bucket/key`; empty for a plain path."""
    head, separator, _ = uri.partition("://")
    return head.lower() if separator else ""


def kind_of(uri: str) -> Kind | None:
    """The kind of bucket that `uri` lies in; None for anything else."""
    return KINDS.get(scheme_of(uri))


def is_object(uri: str) -> bool:
    """Whether a URI is of a kind that is read and written here."""
    return scheme_of(uri) in KINDS


def require(uri: str) -> None:
    """Check that the library for `uri` is there. Raises: MissingPartError; SettingError if none reads it."""
    _filesystem(uri)


def upload(files: Sequence[tuple[Path, str]], uri: str) -> None:
    """Write local files below `uri`, each to its relative path (empty: the URI itself).

    Raises: NotFoundError without the bucket; SettingError without the right; NetworkError.
    """

    def work(fs: Any) -> None:
        fs.put([str(path) for path, _ in files], [_join(fs, uri, relative) for _, relative in files])

    _guarded(uri, "written", work)


def remove(relatives: Sequence[str], uri: str) -> None:
    """Delete objects below `uri`. Raises: as `upload`."""
    if relatives:
        _guarded(uri, "cleared", lambda fs: fs.rm([_join(fs, uri, relative) for relative in relatives]))


def find(uri: str) -> list[Found]:
    """Every object at `uri` or below it, by relative path; empty if there is none. Raises: as `upload`."""

    def work(fs: Any) -> list[Found]:
        base = str(fs._strip_protocol(_known(uri))).rstrip("/")
        listed = fs.find(base, detail=True)
        if isinstance(listed, list):  # adlfs, of an object itself
            listed = {str(name): fs.info(name) for name in listed}
        found = [
            Found(name[len(base) :].lstrip("/"), int(info.get("size") or 0), _tag(info))
            for name, info in listed.items()
            if info.get("type") != "directory" and not name.endswith("/")
        ]
        return sorted(found, key=lambda each: each.relative)

    return _guarded(uri, "read", work)


def download(found: Sequence[Found], uri: str, path: Path) -> None:
    """Read what `find` gave to `path`: a file if the URI is an object itself, else a folder.

    Raises: as `upload`; DataError for an object whose name would leave the folder; ResourceError if the disk
    is full.
    """
    for each in found:
        if ".." in PurePosixPath(each.relative).parts or PurePosixPath(each.relative).is_absolute():
            raise DataError(f"{uri} holds an object named `{each.relative}`, which is no path of a file.")
    targets = [path / each.relative if each.relative else path for each in found]
    for target in targets:
        target.parent.mkdir(parents=True, exist_ok=True)

    def work(fs: Any) -> None:
        fs.get([_join(fs, uri, each.relative) for each in found], [str(target) for target in targets])

    _guarded(uri, "read", work)


def read(uri: str, start: int, end: int) -> bytes:
    """The bytes of one object from `start` to before `end`. Raises: as `upload`."""

    def work(fs: Any) -> bytes:
        return bytes(fs.cat_file(_join(fs, uri, ""), start=start, end=end))

    return _guarded(uri, "read", work)


_lock = threading.Lock()


def _filesystem(uri: str) -> Any:
    kind = KINDS.get(scheme_of(uri))
    if kind is None:
        known = ", ".join(f"{scheme}://" for scheme in KINDS)
        raise SettingError(
            f"`{scheme_of(uri)}://` is no kind of bucket that can be used.", hint=f"There are {known}."
        )
    options: dict[str, Any] = {"use_listings_cache": False}
    if kind is _S3:
        # connect soon or not at all; the library's own retries stay
        options["config_kwargs"] = {"connect_timeout": 10, "retries": {"total_max_attempts": 2}}
    try:
        with _lock:  # imports of two threads at once have met half-made modules
            import fsspec  # noqa: PLC0415 - only who has a bucket pays for it, or has it

            return fsspec.filesystem(kind.protocol, **options)
    except ImportError as error:
        raise MissingPartError(
            f"{scheme_of(uri)}:// needs {kind.library}, which is not installed.",
            hint=f"Install it with: pip install 'tuneline[{kind.extra}]'",
        ) from error
    except Exception as error:
        raise _ours(error, uri, "opened") from error


def _guarded(uri: str, done: str, work: Callable[[Any], T]) -> T:
    fs = _filesystem(uri)
    try:
        return work(fs)
    except TunelineError:
        raise
    except Exception as error:
        raise _ours(error, uri, done) from error


def _ours(error: Exception, uri: str, done: str) -> TunelineError:
    kind, bucket = KINDS[scheme_of(uri)], urlsplit(uri).netloc.rpartition("@")[2]
    names = {each.__name__ for each in type(error).__mro__}
    said = " ".join(str(error).split())[:300] or type(error).__name__
    if isinstance(error, FileNotFoundError):
        return NotFoundError(
            f"{uri} could not be {done}: there is no such bucket or object.",
            hint=f"Check the name of the bucket `{bucket}`, and that nothing in it was deleted.",
        )
    if names & _REFUSED or (done == "opened" and isinstance(error, ValueError)):
        return SettingError(
            f"{uri} could not be {done}: the bucket `{bucket}` refuses it: {said}.",
            hint=f"Log in with {kind.login}; that identity must be allowed to list, read and write there.",
        )
    if isinstance(error, OSError) and error.errno in _FULL:
        return ResourceError(f"{uri} could not be {done}: the disk is full.", hint="Free some space.")
    return NetworkError(
        f"{uri} could not be {done}: {said}.",
        hint=f"Check that the store of `{bucket}` can be reached from here.",
    )


def _join(fs: Any, uri: str, relative: str) -> str:
    base = str(fs._strip_protocol(_known(uri))).rstrip("/")
    return f"{base}/{relative}" if relative else base


def _known(uri: str) -> str:
    """The URI under the scheme its library knows."""
    _, _, rest = uri.partition("://")
    return f"{KINDS[scheme_of(uri)].protocol}://{rest}"


def _tag(info: dict[str, Any]) -> str:
    for key in (
        "ETag",
        "etag",
        "md5Hash",
        "generation",
        "VersionId",
        "blob_id",
        "last_modified",
        "LastModified",
    ):
        if info.get(key):
            return str(info[key])
    return ""
