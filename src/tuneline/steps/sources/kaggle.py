"""Files of a dataset on Kaggle: `kaggle://OWNER/DATASET[/versions/N]/FILE`, as `kagglehub` names datasets.

`kagglehub` logs in (KAGGLE_API_TOKEN, KAGGLE_USERNAME and KAGGLE_KEY, ~/.kaggle), says which version is the
newest and lists its files; the bytes come from the address Kaggle leads to, resumed and compared with the MD5
that its store names. A version never changes: only what is newer is brought again. Limits: datasets, no
competitions and no models.
"""

import base64
import hashlib
import os
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from shutil import copyfileobj
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from tuneline.errors import DataError, MissingPartError, SettingError
from tuneline.steps import remote
from tuneline.steps.downloads import Desk
from tuneline.steps.patience import AgainError, patiently, retry_after_s
from tuneline.steps.remote import Listing, Piece, Remote, choose, refuse_secrets
from tuneline.steps.sources import Fetched
from tuneline.steps.transfer import client, download

T = TypeVar("T")

SCHEMES = ("kaggle",)
PER_PAGE = 200
_ADDRESS = re.compile(r"kaggle://(?:datasets/)?([\w-]+)/([\w-]+)(?:/versions/(\d+))?(?:/(.*))?")


@dataclass(frozen=True)
class Dataset:
    """What an address names."""

    owner: str
    name: str
    version: int
    """0 for the newest."""
    path: str
    """A file, a folder or a glob in it; empty for all."""

    @property
    def handle(self) -> str:
        """As Kaggle writes it."""
        return f"{self.owner}/{self.name}"


def fetch(address: str, desk: Desk) -> Fetched:
    """The files at `address`. Raises: as `remote.fetch`."""
    found = parse(address)
    asked = _Kaggle(found, desk)
    return remote.fetch(
        Remote(address, {"dataset": found.handle, "path": found.path}, asked.look, asked.bring), desk
    )


def parse(address: str) -> Dataset:
    """The parts of an address. Raises DataError if it has another shape, or holds a key."""
    refuse_secrets(address)
    match = _ADDRESS.fullmatch(address)
    if not match:
        raise DataError(
            f"`{address}` is not of the shape kaggle://OWNER/DATASET[/versions/N]/FILE.",
            hint="OWNER/DATASET is what follows kaggle.com/datasets/ in a browser.",
        )
    return Dataset(match[1], match[2], int(match[3] or 0), match[4] or "")


@dataclass(frozen=True)
class _Kaggle:
    """One dataset, asked by `kagglehub`."""

    found: Dataset
    desk: Desk

    def look(self) -> Listing:
        """See `Remote.look`."""
        with _library().build_kaggle_client() as kaggle:
            api = kaggle.datasets.dataset_api_client
            version = self.found.version or int(self._ask(lambda: self._newest(api)))
            files = self._ask(lambda: self._files(api, version))
        names = choose(files, self.found.path, f"version {version} of {self.found.handle} on Kaggle")
        pieces = [
            Piece(name, PurePosixPath(name).name, f"versions/{version}", files[name], "", str(version))
            for name in names
        ]
        return Listing(tuple(pieces), {"version": version})

    def bring(self, piece: Piece, scratch: Path) -> Piece:
        """See `Remote.bring`. A file that Kaggle keeps zipped is unpacked."""
        packed = scratch.with_suffix(".download")
        with _library().build_kaggle_client() as kaggle:
            url = self._ask(lambda: self._place(kaggle.datasets.dataset_api_client, piece))
        with client(self.desk.env) as http:
            answer = download(http, url, packed, self.desk)
        _check_md5(packed, answer.headers, f"{self.found.handle}/{piece.path}")
        if unquote(urlsplit(url).path).endswith(f"{piece.name}.zip") and zipfile.is_zipfile(packed):
            _unpack(packed, piece.name, scratch)
            packed.unlink()
        else:
            packed.replace(scratch)
        return piece

    def _ask(self, ask: Callable[[], T]) -> T:
        what = f"{self.found.handle} on Kaggle"
        return patiently(lambda: self._guarded(ask), self.desk, what)

    def _newest(self, api: Any) -> int:
        request = _types().ApiGetDatasetRequest()
        request.owner_slug, request.dataset_slug = self.found.owner, self.found.name
        return int(api.get_dataset(request).current_version_number)

    def _files(self, api: Any, version: int) -> dict[str, int]:
        """Every file of a version: path to size in bytes."""
        found: dict[str, int] = {}
        token = ""
        while True:
            request = _types().ApiListDatasetFilesRequest()
            request.owner_slug, request.dataset_slug = self.found.owner, self.found.name
            request.dataset_version_number, request.page_size = version, PER_PAGE
            if token:
                request.page_token = token
            answer = api.list_dataset_files(request)
            found |= {str(one.name): int(one.total_bytes or 0) for one in answer.files or ()}
            if not answer.next_page_token or answer.next_page_token == token:
                return found
            token = answer.next_page_token

    def _place(self, api: Any, piece: Piece) -> str:
        """The signed address of a file's bytes. It is a secret for as long as it holds."""
        request = _types().ApiDownloadDatasetRequest()
        request.owner_slug, request.dataset_slug = self.found.owner, self.found.name
        request.dataset_version_number, request.file_name = int(piece.version), piece.path
        answer = api.download_dataset(request)
        answer.close()
        if not answer.history:
            raise DataError(
                "Kaggle gave a file in another way than by leading to it, which is not known here.",
                hint="Update tuneline, or download the file by hand and give its path.",
            )
        return str(answer.url)

    def _guarded(self, ask: Callable[[], T]) -> T:
        """What `ask` gives, the library's errors made ours."""
        import requests  # noqa: PLC0415 - kagglehub's own

        try:
            return ask()
        except requests.HTTPError as error:
            raise self._status(error.response) from error
        except requests.ConnectionError as error:
            raise AgainError("no connection", unreachable=True) from error
        except requests.RequestException as error:
            raise AgainError(f"no whole answer ({type(error).__name__})") from error
        except ValueError as error:  # a credentials file that is not what it should be
            raise SettingError(f"Kaggle's login cannot be read: {error}.", hint=_LOGIN) from error

    def _status(self, response: Any) -> Exception:
        status = int(response.status_code) if response is not None else 0
        if status in (408, 425, 429) or status >= 500:
            return AgainError(f"Kaggle answered {status}", retry_after_s(response.headers))
        page = f"https://www.kaggle.com/datasets/{self.found.handle}"
        if status in (401, 403):
            return SettingError(
                f"Kaggle does not give out {self.found.handle}: it answered {status}.",
                hint=f"Look at {page}, accept its terms if it has any. {_LOGIN}",
            )
        version = f" in version {self.found.version}" if self.found.version else ""
        return DataError(
            f"Kaggle has no dataset {self.found.handle}{version}: it answered {status}.",
            hint=f"Look at {page}. One that is private needs a login. {_LOGIN}",
        )


_LOGIN = "Log in with KAGGLE_API_TOKEN, with KAGGLE_USERNAME and KAGGLE_KEY, or with ~/.kaggle/kaggle.json."


def _check_md5(path: Path, headers: Mapping[str, str], what: str) -> None:
    """Raises DataError, removing the file, if the store named another MD5 than it has."""
    named = re.search(r"md5=([A-Za-z0-9+/=]+)", headers.get("x-goog-hash", ""))
    if not named:
        return
    with path.open("rb") as file:
        found = base64.b64encode(hashlib.file_digest(file, "md5").digest()).decode()
    if found != named[1]:
        path.unlink()
        raise DataError(
            f"What arrived of {what} is not what Kaggle has: its MD5 is {found}, not {named[1]}.",
            hint="It was damaged on the way. Run it again: it is fetched anew.",
        )


def _unpack(packed: Path, name: str, target: Path) -> None:
    try:
        with zipfile.ZipFile(packed) as archive, archive.open(name) as source, target.open("wb") as file:
            copyfileobj(source, file, 1 << 20)
    except (zipfile.BadZipFile, KeyError, EOFError) as error:
        packed.unlink()
        raise DataError(f"Kaggle's archive of {name} cannot be unpacked: {error}.") from error


def _library() -> Any:
    os.environ.setdefault("KAGGLEHUB_VERBOSITY", "error")
    try:
        import kagglehub.clients  # noqa: PLC0415 - only who names Kaggle pays for it, or has it
    except ImportError as error:
        raise MissingPartError(
            "kaggle:// needs kagglehub, which is not installed.",
            hint="Install it with: pip install 'tuneline[kaggle]'",
        ) from error
    return kagglehub.clients


def _types() -> Any:
    import kagglesdk.datasets.types.dataset_api_service as types  # noqa: PLC0415

    return types
