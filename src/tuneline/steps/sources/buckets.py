"""Objects in a bucket: `s3://BUCKET/PATH`, `gs://`, `az://CONTAINER/PATH`, by the libraries of artifacts.

The listing's ETag, checksum or generation says whether an object changed. It is read in blocks, so that a cut
download goes on at the last of them, and listed again at the end: one that was overwritten meanwhile is begun
again. Credentials are found by the libraries' own chains. Limits: an object is its newest version; who
rewrites an object with its own bytes makes it be read again, not be another.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TypeVar

from tuneline.errors import DataError, NetworkError, NotFoundError
from tuneline.execute import objects
from tuneline.steps import remote
from tuneline.steps.downloads import Desk
from tuneline.steps.patience import AgainError, patiently, retry_after_s
from tuneline.steps.remote import Listing, Piece, Remote, choose, refuse_secrets
from tuneline.steps.sources import Fetched
from tuneline.steps.sources.files import SUFFIXES

T = TypeVar("T")

SCHEMES = ("s3", "gs", "gcs", "az", "abfs", "abfss")
BLOCK_BYTES = 8 << 20
"""What is read at once: what a cut may lose."""


def fetch(address: str, desk: Desk, suffixes: tuple[str, ...] = SUFFIXES, part: str = "") -> Fetched:
    """The objects at `address`. Raises: as `remote.fetch`."""
    return remote.fetch(_remote(address, desk, suffixes), desk, part)


def look(address: str, desk: Desk, suffixes: tuple[str, ...]) -> Listing:
    """What `address` means now, without fetching it. Raises: as `remote.fetch`."""
    return _remote(address, desk, suffixes).look()


def _remote(address: str, desk: Desk, suffixes: tuple[str, ...]) -> Remote:
    refuse_secrets(address)
    scheme, _, rest = address.partition("://")
    bucket, _, path = rest.partition("/")
    if not bucket:
        raise DataError(f"`{address}` names no bucket.", hint=f"Write {scheme}://BUCKET/PATH.")
    found = _Bucket(f"{scheme}://{bucket}", path.strip("/"), desk, suffixes)
    return Remote(address, {"bucket": f"{scheme}://{bucket}", "path": path}, found.look, found.bring)


class _Bucket:
    """One bucket, and the path in it that is meant."""

    def __init__(self, uri: str, path: str, desk: Desk, suffixes: tuple[str, ...]) -> None:
        self.uri, self.path, self.desk, self.suffixes = uri, path, desk, suffixes

    def look(self) -> Listing:
        """See `Remote.look`."""
        plain = self.path.partition("*")[0].partition("[")[0]
        folder = plain.rpartition("/")[0] if plain != self.path else plain
        listed = self._listed(folder) or self._listed(folder.rpartition("/")[0])  # what is there instead
        names = choose(listed, self.path, self.uri, self.suffixes)
        return Listing(tuple(_piece(name, listed[name]) for name in names), {})

    def bring(self, piece: Piece, scratch: Path) -> Piece:
        """See `Remote.bring`."""
        uri = f"{self.uri}/{piece.path}"

        def arrived() -> int:
            return scratch.stat().st_size if scratch.exists() else 0

        return patiently(lambda: self._attempt(uri, piece, scratch), self.desk, uri, arrived)

    def _attempt(self, uri: str, piece: Piece, scratch: Path) -> Piece:
        piece = self._again(uri, piece)
        version = scratch.with_suffix(".version")
        if not (version.is_file() and version.read_text(encoding="utf-8") == piece.tag):
            scratch.unlink(missing_ok=True)  # first: its bytes must never be taken for the new version's
            version.write_text(piece.tag, encoding="utf-8")
        total = piece.size_bytes or 0
        with scratch.open("ab") as file:
            for start, end in _blocks(file.tell(), total):
                block = self._guarded(partial(objects.read, uri, start, end))
                file.write(block)
                file.flush()
                self.desk.progress(file.tell(), total)
                if len(block) != end - start:
                    raise AgainError(f"the store gave {len(block)} of {end - start} bytes")
        if self._again(uri, piece).tag != piece.tag:
            self.desk.note(f"{uri} changed while it was being downloaded; begun again.")
            scratch.unlink()
            raise AgainError("it changes while it is read")
        version.unlink()
        return piece

    def _listed(self, folder: str) -> dict[str, objects.Found]:
        """Every object below a folder, by its whole path."""
        uri = f"{self.uri}/{folder}".rstrip("/")
        found = patiently(lambda: self._guarded(lambda: objects.find(uri)), self.desk, uri)
        return {f"{folder}/{one.relative}".strip("/"): one for one in found}

    def _again(self, uri: str, piece: Piece) -> Piece:
        """The object as it is now. Raises DataError if it is gone."""
        found = self._guarded(lambda: objects.find(uri))
        one = next((one for one in found if not one.relative), None)
        if one is None:
            raise DataError(f"{uri} was deleted while it was being downloaded.", hint="Run it again.")
        return _piece(piece.path, one)

    def _guarded(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except NotFoundError as error:
            raise DataError(error.message, hint=error.hint) from error
        except NetworkError as error:
            wait_s, unreachable = _asked(error)
            raise AgainError(error.message.removesuffix("."), wait_s, unreachable) from error


def _piece(path: str, found: objects.Found) -> Piece:
    tag = found.tag or str(found.size_bytes)
    return Piece(path, PurePosixPath(path).name, tag, found.size_bytes)


def _blocks(start: int, total: int) -> Iterator[tuple[int, int]]:
    while start < total:
        end = min(start + BLOCK_BYTES, total)
        yield start, end
        start = end


def _asked(error: BaseException) -> tuple[float | None, bool]:
    """How long the store's answer behind an error asks to wait, and whether there was no answer at all."""
    cause: BaseException | None = error
    while cause is not None:
        answer = getattr(cause, "response", None)
        headers = getattr(answer, "headers", None) or getattr(cause, "headers", None)
        if isinstance(answer, dict):  # botocore's
            headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders")
        if headers:
            return retry_after_s({str(name).lower(): value for name, value in dict(headers).items()}), False
        names = {each.__name__ for each in type(cause).__mro__}
        if names & {"EndpointConnectionError", "ClientConnectorError", "ConnectionRefusedError"}:
            return None, True
        cause = cause.__cause__ or cause.__context__
    return None, False
