"""Packages that came from elsewhere, and the bases that releases stand on, by digest.

A step in a pod has no path that this server could read: it sends its package (`take`), and names the base by
its digest, which must be here already. Kept in `<home>/packages/<digest>`, as releases are served from there.
"""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from tuneline.actions.artifacts import Artifacts
from tuneline.actions.proposing import Offer
from tuneline.client.folders import unpack
from tuneline.errors import ModelError, NotFoundError
from tuneline.execute.files import digest_path
from tuneline.record.record import Record


class Packages:
    """The packages of one home. Thread-safe."""

    def __init__(self, record: Record, artifacts: Artifacts, home: Path) -> None:
        self._record, self._artifacts, self._folder = record, artifacts, home / "packages"

    def place(self, digest: str) -> Path:
        """Where a package from elsewhere is, or would be."""
        return self._folder / digest.removeprefix("sha256:")

    def scratch(self) -> tempfile.TemporaryDirectory[str]:
        """A folder beside them, for what is not whole yet."""
        self._folder.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(dir=self._folder, prefix=".partial-")

    def take(self, digest: str, archive: Path) -> dict[str, str]:
        """Keep the package in a tar. Again is the same as once. Raises: ModelError if it is another one."""
        with self.scratch() as made, archive.open("rb") as file:
            unpack(file, Path(made) / "it")
            self._settle(Path(made) / "it", digest)
        return {"digest": digest}

    def keep(self, digest: str, folder: Path) -> Path:
        """Keep a copy of the package in `folder`; where. Raises: ModelError if it is another one."""
        if not self.place(digest).is_dir():
            with self.scratch() as made:
                shutil.copytree(folder, Path(made) / "it")
                self._settle(Path(made) / "it", digest)
        return self.place(digest)

    def find(self, digest: str) -> Path:
        """A package that is here: a release's, or one that was sent. Raises: NotFoundError."""
        for folder in (self.place(digest), *self._record.releases.packages(digest)):
            if folder.is_dir():
                return folder
        raise NotFoundError(f"There is no package {digest} here.", hint="It was deleted, or never sent.")

    def placed(self, offer: Offer) -> Offer:
        """An offer whose package was sent and whose base is named by its digest, with their places here.

        Raises: ModelError if one is not here.
        """
        if not offer.package:
            try:
                offer = replace(offer, package=str(self.find(offer.package_digest)))
            except NotFoundError as error:
                raise ModelError(error.message, hint="Send it first: PUT /api/v1/packages/DIGEST.") from error
        if not offer.base and offer.base_digest:
            offer = replace(offer, base=str(self.base(offer.base_digest, offer.model)))
        return offer

    def base(self, digest: str, model: str, given: str = "") -> Path:
        """The base with this digest on this machine. given: where a user says it is.

        Raises: ModelError if it is not here, or what was given is another one.
        """
        if given:
            found = digest_path(Path(given))[0]
            if found != digest:
                raise ModelError(
                    f"{given} is not the base of `{model}`: its digest is {found}, not {digest}.",
                    hint="Give the folder that the step `base` put out.",
                )
            return Path(given)
        rows = self._record.ancestry.all(digest=digest)
        for place in (
            *(self._artifacts.local(dict(row)) for row in rows),
            *self._record.releases.bases(digest),
        ):
            if place is not None and place.exists():
                return place
        raise ModelError(
            f"The base that `{model}` stands on is not on this server: nothing here has the digest {digest}.",
            hint="Run a project with that `base_model` here, or name its folder: `tuneline import --base`.",
        )

    def _settle(self, folder: Path, digest: str) -> None:
        found, _ = digest_path(folder)
        if found != digest:
            raise ModelError(
                f"What was sent has the digest {found}, not {digest}.", hint="Send it again, whole."
            )
        target = self.place(digest)
        if not target.is_dir():
            try:
                folder.rename(target)
            except OSError:  # another was faster, which is the same
                if not target.is_dir():
                    raise
