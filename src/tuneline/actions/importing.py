"""`tuneline import URI`: a bundle that `propose` left becomes a release of this record, as if it had asked.

Everything is read and compared with its digest before the record is touched; then one transaction. The same
bundle again changes nothing. Limits: a bundle was compared with no live release, as nobody could say which is
live; where something is, `replace` must say that it may take its place.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tuneline.actions.packages import Packages
from tuneline.actions.proposing import Offer, checked
from tuneline.errors import ConflictError
from tuneline.execute.files import digest_path
from tuneline.execute.stores import Stores
from tuneline.plan.events import ArtifactRef
from tuneline.plan.imported import Imported, imported_events, imported_ir
from tuneline.plan.nodes import Context
from tuneline.plan.schedule import RunState, children_of
from tuneline.record.record import Record
from tuneline.record.runs import NewRun
from tuneline.steps.bundle import PACKAGE, Bundle, read
from tuneline.types import Clock, Digest, RunId
from tuneline_ir import parse

MODEL, ARTIFACT = "system.Model", "system.Artifact"
TOLD = ("verdict", "proof", "report")
"""Parts of a proposal that are files of the run at home."""


class Importing:
    """Imports bundles into one record. Thread-safe."""

    def __init__(
        self,
        record: Record,
        packages: Packages,
        stores: Stores,
        home: Path,
        user: Callable[[], str],
        clock: Clock,
    ) -> None:
        self._record, self._packages, self._stores = record, packages, stores
        self._home, self._user, self._clock = home, user, clock

    def take(self, uri: str, base: str = "", replace: bool = False) -> dict[str, Any]:
        """Import what is at `uri`; `{"release", "state", "created", "reason", "run"}`.

        base: the folder of its base, where that is nowhere on record. replace: let it take the place of what
        is live. Raises: NotFoundError, DataError, ModelError, ProofError; ConflictError (see the module).
        """
        found = read(self._stores.fetch(uri).path)
        run = RunId(f"import-{found.digest.removeprefix('sha256:')[:12]}")
        if self._record.imports.known(run):
            before = self._record.releases.proposed_by(run) or {"release": "", "state": "", "reason": ""}
            return {**before, "created": False, "run": run, "reason": f"imported before, as run {run}"}
        offer = self._offer(found, run, base, replace)
        proposal = checked(offer, {}, self._user())
        things = self._things(found, offer, self._home / "runs" / run)
        ir = imported_ir(offer.model, things)
        context = Context(parse(ir), {})
        new = NewRun(
            run, f"{offer.model}-{run}", offer.model, ir, {},
            tasks=children_of(context, RunState.new(context).root),
            description=f"Imported from {uri}.",
        )  # fmt: skip
        facts = {
            "by": self._user(), "from": uri, "bundle": found.digest, "package": offer.package_digest,
            "run": run, "made_by_run": found.run, "replace": replace,
        }  # fmt: skip
        done = self._record.imports.take(
            new,
            lambda made: imported_events(
                run, things, {"release": made.release, "state": made.state, "reason": made.reason}
            ),
            proposal,
            facts,
            self._clock(),
        )
        said = {"release": done.release, "state": done.state, "created": done.created, "reason": done.reason}
        return {**said, "why": proposal.why, "run": run}

    def _offer(self, found: Bundle, run: str, base: str, replace: bool) -> Offer:
        said = found.proposal
        model, endpoint = str(said["model"]), str(said["deploy"].get("endpoint") or said["model"])
        live = self._record.endpoints.live(endpoint)
        if live is not None and not replace and live.digest != said["package_digest"]:
            raise ConflictError(
                f"Endpoint {endpoint} serves {live.release}, with which this bundle was never compared.",
                hint="Run it where it can ask this server (TUNELINE_URL); --replace lets it go live anyway.",
            )
        digest = str(said.get("base_digest") or "")
        place = str(self._packages.base(digest, model, base)) if digest else ""
        package = self._packages.keep(str(said["package_digest"]), found.folder / PACKAGE)
        return Offer(
            model=model,
            package=str(package),
            package_digest=str(said["package_digest"]),
            base=place,
            base_digest=digest,
            verdict=said["verdict"],
            proof=said["proof"],
            report=said["report"],
            deploy=said["deploy"],
            live_digest=live.digest if live is not None else "",
            passed=bool(said["passed"]),
            run=run,
            approval=str(said.get("approval", "auto")),
        )

    def _things(self, found: Bundle, offer: Offer, folder: Path) -> tuple[Imported, ...]:
        """What `propose` read, as artifacts of this home."""
        places = {"package": (Path(offer.package), MODEL)}
        if offer.base:
            places["base"] = (Path(offer.base), MODEL)
        for name in TOLD:
            path = folder / name / "1" / "outputs" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(found.proposal[name]), encoding="utf-8")
            places[name] = (path, ARTIFACT)
        return tuple(
            Imported(name, _ref(name, path, type, found.inputs.get(name, {})))
            for name, (path, type) in places.items()
        )


def _ref(name: str, path: Path, type: str, known: Mapping[str, Any]) -> ArtifactRef:
    digest, size = digest_path(path) if path.is_file() else (Digest(str(known.get("digest", ""))), 0)
    metadata = dict(known.get("metadata") or {}) | {"made_elsewhere": known.get("digest", "")}
    return ArtifactRef(name, type, str(path), digest, size or int(known.get("size_bytes") or 0), metadata)
