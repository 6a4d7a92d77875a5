"""Artifacts where a run's root says, and local files to read them by.

A root is a bucket's URI or a folder. Outputs are put under `<root>/<pipeline>/<run>/<task path>/<attempt>/
<name>`; what lies in a bucket is read back once, checked, and has a plain path in the local copies
(`kept.py`). An artifact's digest is that of its content wherever it lies, so a task is found in the run cache
under any root. Thread-safe.
"""

import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from tuneline.errors import DataError, NotFoundError, SettingError
from tuneline.execute import https, objects
from tuneline.execute.digests import digest_path, files_below
from tuneline.execute.files import MISSING
from tuneline.execute.kept import Fetched, Kept
from tuneline.execute.objects import Found
from tuneline.plan.events import ArtifactRef, Artifacts, Outputs
from tuneline.types import Digest, digest_json

_EMPTY_FOLDER = digest_json([])


def check_root(root: str) -> str:
    """`root` as it is used: a bucket's URI, or a folder's plain absolute path. Without a slash at its end.

    Raises: SettingError if it is neither, or holds a password; MissingPartError without the bucket's library.
    """
    plain = root.removeprefix("file://")
    if "://" not in plain:
        if not plain.startswith(("/", "~")):
            raise SettingError(
                f"Artifacts cannot be kept at `{root}`.",
                hint="Give a bucket, e.g. s3://bucket/prefix, or a folder's absolute path.",
            )
        return str(Path(plain).expanduser()).rstrip("/")
    _refuse_secret(root)
    objects.require(root)
    return root.rstrip("/")


def attempt_uri(root: str, pipeline: str, run: str, task: str, attempt: int) -> str:
    """Where an attempt's outputs go under a checked root. task: its path, `loop-1/0/train`."""
    return "/".join((root, pipeline, run, task, str(attempt)))


class Stores:
    """Puts outputs where their root is, and gives local files for what lies elsewhere."""

    def __init__(self, folder: Path) -> None:
        """folder: of the local copies."""
        self.folder = folder
        self._kept = Kept(folder)

    # Outputs

    def stored(self, ref: ArtifactRef, uri: str, path: Path) -> ArtifactRef:
        """An output of a task, put at `uri`, which is its own from now on. path: where the task left it.

        What the task itself put into a bucket of the same kind stays there, and is known by its objects'
        tags; any other URI (a table, a page, another kind of bucket) is a name, and stays one. Raises:
        NotFoundError, SettingError, NetworkError, ResourceError, naming the bucket.
        """
        if "://" in ref.uri:
            same = objects.is_object(ref.uri) and objects.kind_of(ref.uri) == objects.kind_of(uri)
            return self._adopted(ref) if same else ref
        if ref.digest != MISSING:
            self.put(path, uri, ref.digest)
        return replace(ref, uri=uri, custom_path="")

    def outputs(self, outputs: Outputs, uri: str, folder: Path) -> Outputs:
        """All outputs of an attempt, put below `uri` (see `attempt_uri`). folder: where it left its own.

        For the end of an attempt that succeeded, before that is on record. Raises: as `stored`.
        """
        artifacts = {
            key: tuple(
                self.stored(ref, f"{uri}/{_name(ref, key, place, folder)}", Path(ref.custom_path or ref.uri))
                for place, ref in enumerate(refs)
            )
            for key, refs in outputs.artifacts.items()
        }
        return Outputs(outputs.parameters, artifacts)

    def put(self, path: Path, uri: str, digest: Digest) -> None:
        """Put the file or folder at `path`, which has `digest`, at `uri`. Again is the same as once.

        A copy that was interrupted is no artifact: the record names it only after this returned. Raises: as
        `stored`.
        """
        if not objects.is_object(uri):
            _copy(path, Path(uri))
            return
        if path.is_dir():
            names = dict.fromkeys(files_below(path))
            objects.upload([(path / name, name) for name in names], uri)
            stale = [each.relative for each in objects.find(uri) if each.relative not in names]
            objects.remove(stale, uri)  # of an attempt that never got on record
        else:
            objects.upload([(path, "")], uri)
        with suppress(OSError):  # a task of this machine reads what is here already, if it is on this disk
            self._kept.seed(path, self.place(uri, digest))

    # Inputs

    def reading(self, inputs: Artifacts) -> Artifacts:
        """Inputs as a task of this machine is given them: the URI of what lies in a bucket is a plain path.

        Whether anything is there is for `absent` to say. What is only a name stays one.
        """
        return {
            key: tuple(
                replace(ref, uri=str(self.place(ref.uri, ref.digest))) if self._held(ref) else ref
                for ref in refs
            )
            for key, refs in inputs.items()
        }

    def absent(self, refs: Sequence[ArtifactRef]) -> list[ArtifactRef]:
        """Those of `refs` that must be read from a bucket before anything is at their `reading` path."""
        return [
            ref
            for ref in refs
            if self._held(ref)
            and ref.digest != MISSING
            and not self._kept.whole(self.place(ref.uri, ref.digest))
        ]

    def local(self, ref: ArtifactRef) -> Path | None:
        """Where this machine has `ref` now; None if it has not. Asks no network."""
        if self._held(ref):
            place = self.place(ref.uri, ref.digest)
            return place if self._kept.whole(place) else None
        path = Path(ref.custom_path or ref.uri)
        return path if path.is_absolute() and path.exists() else None

    def get(self, uri: str, digest: Digest) -> Path:
        """A local path to what is at `uri`; from a bucket, once, and checked.

        Raises: DataError if it is not what has that digest; as `stored` otherwise.
        """
        if not objects.is_object(uri):
            return Path(uri)
        place = self.place(uri, digest)
        if digest == MISSING:
            return place
        with self._kept.locked(place), self._kept.partial() as scratch:
            if not self._kept.whole(place):
                found = self._download(uri, digest, scratch)
                if digest not in (digest_path(scratch)[0], _tags_digest(uri, found)):
                    raise DataError(
                        f"{uri} is not what it was when it was recorded: its digest is not {digest}.",
                        hint="It was changed in the bucket: run the task that made it again, without cache.",
                    )
                self._kept.settle(scratch, place)
        return place

    def fetch(self, uri: str) -> Fetched:
        """What is at any URI that can be read (a path, a bucket, https), as local files with their digest.

        Nothing is read again that has not changed since. Raises: NotFoundError, SettingError, NetworkError.
        """
        _refuse_secret(uri)
        if objects.is_object(uri):
            return self._fetch_objects(uri)
        if objects.scheme_of(uri) in ("http", "https"):
            return self._fetch_page(uri)
        path = Path(uri.removeprefix("file://"))
        if "://" in str(path) or not path.is_absolute():
            raise SettingError(
                f"`{uri}` cannot be read.",
                hint="Give an absolute path, or a URI with s3, gs, az, hf or https.",
            )
        return Fetched(path, *digest_path(path))

    def place(self, uri: str, digest: Digest) -> Path:
        """Where the local copy of what `uri` holds is, or would be."""
        # what has no content has a path of its own, where nothing is
        return self._kept.place(uri, digest_json(uri) if digest == MISSING else digest)

    # Inside

    def _held(self, ref: ArtifactRef) -> bool:
        """Whether `ref` was put into a bucket, or found there, rather than only named."""
        return objects.is_object(ref.uri) and ref.digest != digest_json({"uri": ref.uri})

    def _adopted(self, ref: ArtifactRef) -> ArtifactRef:
        found = objects.find(ref.uri)
        if not found:
            return ref
        size = sum(each.size_bytes for each in found)
        return replace(ref, digest=_tags_digest(ref.uri, found), size_bytes=size)

    def _download(self, uri: str, digest: Digest, path: Path) -> list[Found]:
        if digest == _EMPTY_FOLDER:
            path.mkdir()
            return []
        found = objects.find(uri)
        if not found:
            raise NotFoundError(
                f"{uri} is not there.",
                hint="It was deleted from the bucket. Run the task that made it again.",
            )
        objects.download(found, uri, path)
        return found

    def _fetch_objects(self, uri: str) -> Fetched:
        found = objects.find(uri)
        if not found:
            raise NotFoundError(f"{uri} is not there.", hint="Check the bucket's and the object's name.")
        state = [[each.relative, each.size_bytes, each.tag] for each in found]
        seen = self._kept.seen(uri)
        if seen is not None and seen[0] == state:
            return seen[1]
        with self._kept.partial() as scratch:
            objects.download(found, uri, scratch)
            return self._keep(uri, scratch, state)

    def _fetch_page(self, uri: str) -> Fetched:
        seen = self._kept.seen(uri)
        with self._kept.partial() as scratch:
            state = https.download(uri, scratch, seen[0] if seen else None)
            if state is None and seen is not None:
                return seen[1]
            return self._keep(uri, scratch, state)

    def _keep(self, uri: str, scratch: Path, state: object) -> Fetched:
        digest, size = digest_path(scratch)
        fetched = Fetched(self.place(uri, digest), digest, size)
        with self._kept.locked(fetched.path):
            self._kept.settle(scratch, fetched.path)
        self._kept.see(uri, state, fetched)
        return fetched


def _name(ref: ArtifactRef, key: str, place: int, folder: Path) -> str:
    """The last part of an output's URI: its path among the attempt's own outputs, or its key and place."""
    path = Path(ref.uri)
    if "://" not in ref.uri and path.is_relative_to(folder / "outputs") and path != folder / "outputs":
        return path.relative_to(folder / "outputs").as_posix()
    return f"{key}/{place}" if place else key


def _refuse_secret(uri: str) -> None:
    address = uri.partition("://")[2].partition("/")[0]
    if ":" in address.rpartition("@")[0]:
        raise SettingError(
            f"A {objects.scheme_of(uri)}:// address must not hold a password: it would be recorded.",
            hint="Log in as that store's own tools do; for https a ~/.netrc is read.",
        )


def _tags_digest(uri: str, found: Sequence[Found]) -> Digest:
    """A digest of objects nobody read: it changes when one of them does."""
    return digest_json(["objects", uri, [[each.relative, each.size_bytes, each.tag] for each in found]])


def _copy(path: Path, target: Path) -> None:
    """Copy to a folder's place in one step, over what an interrupted copy left there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".partial-") as made:
        scratch = Path(made) / "it"
        if path.is_dir():
            shutil.copytree(path, scratch)
            shutil.rmtree(target, ignore_errors=True)
        else:
            shutil.copyfile(path, scratch)
        scratch.replace(target)
