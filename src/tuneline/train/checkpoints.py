"""Checkpoints that are whole or not there: a folder is written aside, synced, then renamed; a checksum
guards what is in it.

A training killed at any moment goes on from the newest whole one and ends with the same bytes as one left
alone. As many are kept as `train.save_total_limit` says. One whose `key` is another training's (other rows,
recipe, base, threads or versions) is not taken. One that another number of processes wrote is: it goes on
with the same rows, and differs from then on by rounding.
"""

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch

_STATE, _CHECKSUM = "state.pt", "sha256"


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one training, in one folder."""

    folder: Path
    key: str
    """What the training is made of, as a digest."""
    keep: int = 2
    """How many."""
    kin: str = ""
    """The same without what only rounds: threads and processes. Empty: nothing is taken but by `key`."""
    processes: int = 1
    """How many train."""

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Keep `state` as of optimizer step `step`; the oldest goes. Raises OSError, leaving
        the others whole."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for left_over in self.folder.glob("*.part"):
            shutil.rmtree(left_over)
        scratch, target = self.folder / f"{step:09d}.part", self.folder / f"{step:09d}"
        scratch.mkdir()
        with (scratch / _STATE).open("wb") as file:
            _save({"key": self.key, "kin": self.kin, "processes": self.processes, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        with (scratch / _CHECKSUM).open("w") as out:
            out.write(_digest(scratch / _STATE))
            out.flush()
            os.fsync(out.fileno())
        shutil.rmtree(target, ignore_errors=True)
        scratch.rename(target)
        _sync_folder(self.folder)
        for old in self._whole()[self.keep :]:
            shutil.rmtree(old)
        return target

    def load(self) -> dict[str, Any] | None:
        """The state of the newest whole checkpoint of this training, or None."""
        for path in self._whole():
            try:
                if (path / _CHECKSUM).read_text() != _digest(path / _STATE):
                    continue
                state = torch.load(path / _STATE, weights_only=True)
            except (OSError, RuntimeError, ValueError):
                continue
            if self._takes(state):
                return dict(state)
        return None

    def _takes(self, state: dict[str, Any]) -> bool:
        if state.get("key") == self.key:
            return True
        others = state.get("processes", 1) != self.processes
        return others and bool(self.kin) and state.get("kin") == self.kin

    def _whole(self) -> list[Path]:
        """Newest first."""
        if not self.folder.is_dir():
            return []
        return sorted((path for path in self.folder.iterdir() if path.name.isdigit()), reverse=True)


class _Witness:
    """A file that remembers why a write failed: torch says only that it did."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.fault: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self.fault = error
            raise

    def flush(self) -> None:
        self._file.flush()


def _save(state: dict[str, Any], file: BinaryIO) -> None:
    witness = _Witness(file)
    try:
        torch.save(state, witness)  # type: ignore[arg-type]  # write and flush are all it uses
    except RuntimeError as error:
        if witness.fault is not None:
            raise witness.fault from error
        raise


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
