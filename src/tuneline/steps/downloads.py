"""Our downloads: files by digest, and for every address a pin that says which of them it last gave.

    downloads/sha256/<digest>      whole files, never changed
    downloads/pins/<address>.json  what an address gave, and the server's validators
    downloads/partial/<address>.*  what is under way; resumed by the next attempt

A file gets its name only after it is complete and checked, so nothing half-written is ever taken for whole.
Two processes that want one address wait for each other. All of it is safe to delete.
"""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneline.errors import DataError
from tuneline.types import Digest


@dataclass(frozen=True)
class Desk:
    """What a source may use: the downloads, the network's settings, and a voice."""

    folder: Path
    """The downloads."""
    env: Mapping[str, str]
    sha256: str = ""
    """64 hexadecimal digits the one file must have, or ""."""
    offline: bool = False
    note: Callable[[str], None] = lambda message: None
    """Says one thing a user should know."""
    progress: Callable[[int, int | None], None] = lambda done, total: None
    """Bytes so far, and of all if known."""
    sleep: Callable[[float], None] = time.sleep

    def blob(self, sha256: str) -> Path:
        """Where the file with this digest lies, or would."""
        return self.folder / "sha256" / sha256

    def has(self, sha256: str) -> bool:
        """Whether that file is there and is what its name says. One that is not is removed."""
        path = self.blob(sha256)
        if not path.is_file():
            return False
        if digest_file(path)[0] == f"sha256:{sha256}":
            return True
        path.unlink()
        return False

    def keep(self, scratch: Path, expected: str = "", what: str = "") -> str:
        """Move a complete file to its place by digest, and give the digest's digits.

        Raises: DataError, removing it, if `expected` is given and the file is another.
        """
        digest = digest_file(scratch)[0].removeprefix("sha256:")
        if expected and digest != expected:
            scratch.unlink()
            raise DataError(
                f"{what} is not the file it should be: its SHA-256 is {digest}, not {expected}.",
                hint="It was changed at its source, or on the way. If it is meant, change the checksum.",
            )
        with scratch.open("rb") as file:
            os.fsync(file.fileno())
        scratch.chmod(0o444)
        self.blob(digest).parent.mkdir(parents=True, exist_ok=True)
        scratch.replace(self.blob(digest))
        return digest

    def pin(self, address: str) -> dict[str, Any] | None:
        """What `address` gave last, if it is still whole."""
        try:
            found = json.loads(self._pin(address).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        if not isinstance(found, dict):
            return None
        several = found.get("files", {}).values()
        digests = {str(found.get("sha256", "")), *(str(one.get("sha256", "")) for one in several)}
        return found if all(map(self.has, digests)) else None

    def save_pin(self, address: str, pin: Mapping[str, Any]) -> None:
        """Remember what `address` gave: `pin["sha256"]` is the file; of several, those of `pin["files"]`."""
        self._pin(address).parent.mkdir(parents=True, exist_ok=True)
        scratch = self._pin(address).with_suffix(f".{os.getpid()}")
        scratch.write_text(json.dumps(pin, sort_keys=True), encoding="utf-8")
        scratch.replace(self._pin(address))

    @contextmanager
    def partial(self, address: str) -> Iterator[Path]:
        """The unfinished file of `address`, ours alone while inside."""
        path = self.folder / "partial" / _key(address)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield path

    def _pin(self, address: str) -> Path:
        return self.folder / "pins" / f"{_key(address)}.json"


def digest_file(path: Path) -> tuple[Digest, int]:
    """The digest and size in bytes of a file. Raises OSError."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256")
        return Digest(f"sha256:{found.hexdigest()}"), file.tell()


def _key(address: str) -> str:
    return hashlib.sha256(address.encode()).hexdigest()[:32]
