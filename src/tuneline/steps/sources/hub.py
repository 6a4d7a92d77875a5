"""Files of a repository on the Hugging Face hub: `hf://datasets/OWNER/NAME[@REVISION]/PATH`; models have no
`datasets/`.

`huggingface_hub` logs in, resolves the revision to a commit and lists its files; the bytes come from that
commit's addresses, resumed and checked against the SHA-256 that the hub names. HF_TOKEN, `hf auth login` and
HF_ENDPOINT mean what they mean there. Limits: no Spaces, no buckets; what the hub keeps in Xet comes over its
HTTP bridge.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from tuneline.errors import DataError, MissingPartError, SettingError
from tuneline.steps import remote
from tuneline.steps.downloads import Desk
from tuneline.steps.patience import AgainError, patiently, retry_after_s
from tuneline.steps.remote import Listing, Piece, Remote, choose, refuse_secrets
from tuneline.steps.sources import Fetched
from tuneline.steps.sources.files import SUFFIXES
from tuneline.steps.transfer import check_address, client, download

T = TypeVar("T")

SCHEMES = ("hf",)
ENDPOINT = "https://huggingface.co"
_UNREACHABLE = frozenset(("ConnectError", "ConnectTimeout", "ProxyError", "ConnectionError"))
_CUT = frozenset(("TransportError", "RequestException", "JSONDecodeError"))
"""Names of what HTTP libraries raise; an answer that is no JSON was cut."""
_ADDRESS = re.compile(r"hf://(?:(datasets|models)/)?([\w.-]+/[\w.-]+)(?:@([^/]+(?:/pr/\d+)?))?(?:/(.*))?")


@dataclass(frozen=True)
class Repository:
    """What an address names."""

    kind: str
    """`dataset` or `model`."""
    id: str
    revision: str
    """A branch, tag or commit; empty for the main branch."""
    path: str
    """A file, a folder or a glob in it; empty for all."""

    @property
    def page(self) -> str:
        """Its page on the hub, below the endpoint."""
        return f"datasets/{self.id}" if self.kind == "dataset" else self.id


def fetch(address: str, desk: Desk, suffixes: tuple[str, ...] = SUFFIXES, part: str = "") -> Fetched:
    """The files at `address`. Raises: as `remote.fetch`."""
    found = parse(address)
    return remote.fetch(_remote(found, address, desk, suffixes), desk, part)


def look(address: str, desk: Desk, suffixes: tuple[str, ...]) -> Listing:
    """What `address` means now, without fetching it. Raises: as `remote.fetch`."""
    return _remote(parse(address), address, desk, suffixes).look()


def parse(address: str) -> Repository:
    """The parts of an address. Raises DataError if it has another shape, or holds a token."""
    refuse_secrets(address)
    match = _ADDRESS.fullmatch(address)
    if not match or match[2].split("/")[0] in ("spaces", "buckets", "datasets", "models"):
        raise DataError(
            f"`{address}` is not of the shape hf://datasets/OWNER/NAME[@REVISION]/PATH.",
            hint="For example hf://datasets/cornell-movie-review-data/rotten_tomatoes/train.parquet; a model "
            "is hf://OWNER/NAME.",
        )
    kind = "dataset" if match[1] == "datasets" else "model"
    return Repository(kind, match[2], (match[3] or "").replace("%2F", "/"), match[4] or "")


def _remote(found: Repository, address: str, desk: Desk, suffixes: tuple[str, ...]) -> Remote:
    endpoint = (desk.env.get("HF_ENDPOINT") or ENDPOINT).rstrip("/")
    check_address(endpoint, desk.env)
    hub = _Hub(found, endpoint, desk, suffixes)
    resolved = {"repository": found.page, "path": found.path}
    return Remote(address, resolved, hub.look, hub.bring)


@dataclass(frozen=True)
class _Hub:
    """One repository, asked by `huggingface_hub`."""

    found: Repository
    endpoint: str
    desk: Desk
    suffixes: tuple[str, ...]

    def look(self) -> Listing:
        """See `Remote.look`."""
        api, found = _library().HfApi(endpoint=self.endpoint), self.found
        revision = found.revision or None

        def ask() -> Any:
            return api.repo_info(found.id, revision=revision, repo_type=found.kind, files_metadata=True)

        info = patiently(lambda: self._guarded(ask), self.desk, f"{self.endpoint}/{found.page}")
        files = {one.rfilename: one for one in info.siblings or ()}
        names = choose(files, found.path, f"{found.page} on the hub", self.suffixes)
        pieces = tuple(_piece(name, files[name], str(info.sha)) for name in names)
        return Listing(pieces, {"commit": str(info.sha)})

    def bring(self, piece: Piece, scratch: Path) -> Piece:
        """See `Remote.bring`. A commit's file never changes."""
        library, found = _library(), self.found
        url = library.hf_hub_url(
            found.id, piece.path, repo_type=found.kind, revision=piece.version, endpoint=self.endpoint
        )
        headers = library.utils.build_hf_headers()
        try:
            with client(self.desk.env) as http:
                download(http, url, scratch, self.desk, headers=headers)
        except DataError as error:
            if "is not for us" in error.message:
                raise self._refused(error.message) from error
            raise
        return piece

    def _guarded(self, ask: Callable[[], T]) -> T:
        """What `ask` gives, the library's errors made ours."""
        errors = _library().errors
        try:
            return ask()
        except errors.GatedRepoError as error:
            raise self._refused("its owner gives it out only to who accepted its terms") from error
        except errors.RevisionNotFoundError as error:
            raise DataError(
                f"{self.found.page} on the hub has no revision `{self.found.revision}`.",
                hint="Give a branch, a tag or a commit of it.",
            ) from error
        except errors.RepositoryNotFoundError as error:
            raise self._refused("it is not there, or is private") from error
        except errors.HfHubHTTPError as error:
            raise self._status(error) from error
        except Exception as error:  # its HTTP library is another in every major version
            names = {each.__name__ for each in type(error).__mro__}
            if names & _UNREACHABLE:
                raise AgainError(f"no connection ({error})", unreachable=True) from error
            if names & _CUT:
                raise AgainError(f"no whole answer ({type(error).__name__})") from error
            raise

    def _status(self, error: Any) -> Exception:
        status = int(error.response.status_code)
        if status in (408, 425, 429) or status >= 500:
            return AgainError(f"the server answered {status}", retry_after_s(error.response.headers))
        if status in (401, 403):
            return self._refused(f"the hub answered {status}")
        return DataError(f"{self.found.page} on the hub: it answered {status}.", hint="Check the address.")

    def _refused(self, why: str) -> SettingError:
        return SettingError(
            f"The hub does not give out {self.found.page}: {why.removesuffix('.')}.",
            hint=f"Look at {self.endpoint}/{self.found.page}, accept its terms if it has any, and log in "
            "with `hf auth login` or HF_TOKEN.",
        )


def _piece(name: str, listed: Any, commit: str) -> Piece:
    """A file of a commit. Its tag is its content's digest: a commit that left it alone changes nothing."""
    sha256 = str(listed.lfs.sha256) if listed.lfs else ""
    tag = str(sha256 or listed.blob_id or commit)
    return Piece(name, PurePosixPath(name).name, tag, listed.size, sha256, commit)


def _library() -> Any:
    try:
        import huggingface_hub  # noqa: PLC0415 - only who names the hub pays for it, or has it
        import huggingface_hub.errors  # noqa: PLC0415
        import huggingface_hub.utils  # noqa: PLC0415
    except ImportError as error:
        raise MissingPartError(
            "hf:// needs huggingface_hub, which is not installed.",
            hint="Install it with: pip install 'tuneline[hub]'",
        ) from error
    return huggingface_hub
