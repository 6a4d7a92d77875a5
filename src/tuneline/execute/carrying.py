"""One file or folder between a bucket and a pod's disk, checked by a receipt that lies beside it.

The receipt, `<uri>.tuneline.json`, is written last: what has none was never whole. It holds the digest the
record knows an artifact by, and each file's, so a folder without files can be told from nothing, and a
carrier that was killed goes on where it was. What somebody else put into a bucket has no receipt and is
taken as it is.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tuneline.errors import DataError, NotFoundError, SettingError
from tuneline.execute import objects
from tuneline.execute.digests import digest_file, files_below
from tuneline.types import Digest, digest_json

SUFFIX = ".tuneline.json"


@dataclass(frozen=True)
class Receipt:
    """What lies at a URI."""

    digest: Digest
    """That of `digest_path`; of nothing, that of null: an artifact that carries metadata alone."""
    size_bytes: int
    files: Mapping[str, Digest]
    """By relative path; a file alone is under "" ."""
    is_folder: bool

    def text(self) -> str:
        """As it is written."""
        body = {"digest": self.digest, "size_bytes": self.size_bytes, "files": dict(self.files)}
        return json.dumps({"version": 1, **body, "folder": self.is_folder}, sort_keys=True)


NOTHING = Receipt(digest_json(None), 0, {}, False)


def receipt_of(path: Path) -> Receipt:
    """The receipt of what is at `path`, whose every byte is read; `NOTHING` if nothing is.

    Raises: SettingError if another user may not read it.
    """
    try:
        if not path.exists():
            return NOTHING
        if path.is_dir():
            files = {name: digest_file(path / name)[0] for name in files_below(path)}
            size = sum((path / name).stat().st_size for name in files)
            return Receipt(digest_json([[name, files[name]] for name in sorted(files)]), size, files, True)
        digest, size = digest_file(path)
        return Receipt(digest, size, {"": digest}, False)
    except PermissionError as error:
        raise SettingError(
            f"{error.filename} cannot be read: the task wrote it as another user, for itself alone.",
            hint="Set on.kubernetes.run_as_user, e.g. 1000: then all of a pod has one user.",
        ) from error


def put(path: Path, uri: str, receipt: Receipt | None = None) -> Receipt:
    """Put what is at `path` at `uri`, its receipt last. Again is the same as once.

    receipt: that of `path`, if it is known. Raises: as `objects.upload`; SettingError if another user may not
    read it.
    """
    receipt = receipt_of(path) if receipt is None else receipt
    if receipt_at(uri) == receipt:
        return receipt
    objects.remove([""] if objects.find(uri + SUFFIX) else [], uri + SUFFIX)
    if receipt.files:
        objects.upload([(path / name if name else path, name) for name in receipt.files], uri)
    stale = [each.relative for each in objects.find(uri) if each.relative not in receipt.files]
    objects.remove(stale, uri)
    _write(receipt, uri)
    return receipt


def drop(uri: str) -> None:
    """Delete what is at `uri`, its receipt first. Raises: as `objects.remove`."""
    objects.remove([""] if objects.find(uri + SUFFIX) else [], uri + SUFFIX)
    objects.remove([each.relative for each in objects.find(uri)], uri)


def get(uri: str, path: Path) -> None:
    """Bring what is at `uri` to `path`; files that are there and right already are left.

    Raises: as `objects.download`; NotFoundError if nothing is there; DataError if it is not what its receipt
    says.
    """
    receipt = receipt_at(uri)
    if receipt is None:
        _get_unsigned(uri, path)
        return
    if receipt.is_folder:
        path.mkdir(parents=True, exist_ok=True)
    missing = [name for name, digest in receipt.files.items() if not _is(path / name, digest)]
    found = {each.relative: each for each in objects.find(uri)} if missing else {}
    gone = [name for name in missing if name not in found]
    if gone:
        raise NotFoundError(
            f"{uri}/{gone[0]} is not there, which was put there.".replace("/ is", " is"),
            hint="It was deleted from the bucket. Run the task that made it again.",
        )
    objects.download([found[name] for name in missing], uri, path)
    for name in missing:
        if not _is(path / name, receipt.files[name]):
            raise DataError(
                f"{uri} is not what was put there: {name or 'its content'} has another digest.",
                hint="It was changed in the bucket. Run the task that made it again.",
            )


def receipt_at(uri: str) -> Receipt | None:
    """The receipt beside `uri`; None if there is none. Raises: DataError if it is none of ours."""
    found = objects.find(uri + SUFFIX)
    if not found:
        return None
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "receipt"
        objects.download(found, uri + SUFFIX, file)
        text = file.read_bytes()
    try:
        body = json.loads(text)
        return Receipt(body["digest"], int(body["size_bytes"]), dict(body["files"]), bool(body["folder"]))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{uri}{SUFFIX} is no receipt.", hint="Something else was written over it."
        ) from error


def described(receipts: Sequence[Receipt]) -> str:
    """How much that is, for a log."""
    size, files = sum(each.size_bytes for each in receipts), sum(len(each.files) for each in receipts)
    return f"{files} file{'' if files == 1 else 's'}, {size / 1e6:.1f} MB"


def _get_unsigned(uri: str, path: Path) -> None:
    found = objects.find(uri)
    if not found:
        raise NotFoundError(
            f"{uri} is not there, nor a receipt beside it.",
            hint="The task that makes it has not ended, or it was deleted from the bucket.",
        )
    objects.download(found, uri, path)


def _write(receipt: Receipt, uri: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "receipt"
        file.write_text(receipt.text(), encoding="utf-8")
        objects.upload([(file, "")], uri + SUFFIX)


def _is(path: Path, digest: Digest) -> bool:
    return path.is_file() and digest_file(path)[0] == digest
