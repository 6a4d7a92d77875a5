"""Everything a revision can be, one `Launching` over both: a model's runtime, or an app."""

import http.client
import sys
from collections.abc import Mapping

from tuneline.control import processes
from tuneline.control.launching import WARM_UP_S, Launching
from tuneline.errors import ModelError, TransientError
from tuneline.execute.digests import digest_file
from tuneline.plan.apps import from_manifest
from tuneline.plan.endpoints import Desired, EndpointStore, ReleaseFacts

READY_S = 0.25
"""How long the controller waits for a probe while it looks after all endpoints."""


class Apps:
    """Apps, as child processes. An app's version holds all of this but where the endpoint it uses answers."""

    def __init__(self, store: EndpointStore) -> None:
        self._store = store

    def check(self, release: ReleaseFacts, desired: Desired) -> None:
        """Its files are what they were when it was put, and what it uses has an address.

        Raises: ModelError, TransientError.
        """
        for path, digest in release.manifest["files"].items():
            file = release.package / path
            if not file.is_file() or digest_file(file)[0] != digest:
                raise ModelError(
                    f"{file} of the app {release.release} is gone or was changed.",
                    hint="Put the app again with `tuneline app put`, or run its pipeline again.",
                )
        self.environment(release)

    def command(self, release: ReleaseFacts, desired: Desired, port: int) -> list[str]:
        """`python -m tuneline.serve.hosting ...`."""
        app = from_manifest(release.manifest)
        words = ["--source", str(release.package), "--host", "127.0.0.1", "--port", str(port)]
        words += ["--entry", app.entry] if app.entry else ["--", *app.command]
        return [sys.executable, "-m", "tuneline.serve.hosting", *words]

    def environment(self, release: ReleaseFacts) -> Mapping[str, str]:
        """Its own variables, and address and model of the endpoint it uses, as OpenAI's clients read them.

        Raises: TransientError if that endpoint has no address.
        """
        app = from_manifest(release.manifest)
        given = {**app.env, "TUNELINE_APP": app.name, "TUNELINE_RELEASE": release.release}
        if not app.uses:
            return given
        url = self._store.observed(app.uses).get("url")
        wanted = next((each.release for each in self._store.desired() if each.endpoint == app.uses), None)
        if not url or not wanted:
            raise TransientError(
                f"The endpoint `{app.uses}`, which {release.release} uses, has no address yet.",
                hint="It has one as soon as a release is wanted there: `tuneline status` shows it.",
            )
        model = wanted.rpartition("@")[0]
        return {**given, "OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": "none", "OPENAI_MODEL": model}

    def is_ready(self, release: ReleaseFacts, port: int) -> bool:
        """It answers with anything but 503, or takes its time; if that will do, the warm-up says.

        That one may wait; this is asked in the controller's own thread.
        """
        try:
            return self._probe(release, port, READY_S)[0] != 503
        except TimeoutError:
            return True
        except (OSError, http.client.HTTPException):
            return False

    def warm_up(self, release: ReleaseFacts, port: int) -> None:
        """Its probe. Raises: TransientError if it answers with 500 or more, or not at all."""
        path = from_manifest(release.manifest).probe
        try:
            status, text = self._probe(release, port, WARM_UP_S)
        except (OSError, http.client.HTTPException) as error:
            raise TransientError(f"GET {path} was not answered: {error or type(error).__name__}.") from error
        if status >= 500:
            raise TransientError(f"GET {path} was answered with {status}: {text[:300]}")

    def _probe(self, release: ReleaseFacts, port: int, timeout_s: float) -> tuple[int, str]:
        return processes.ask(port, "GET", from_manifest(release.manifest).probe, None, timeout_s)


class Programs:
    """Models' runtimes and apps."""

    def __init__(self, store: EndpointStore, runtimes: Launching) -> None:
        self._apps, self._runtimes = Apps(store), runtimes

    def check(self, release: ReleaseFacts, desired: Desired) -> None:
        """See Launching."""
        self._of(release).check(release, desired)

    def command(self, release: ReleaseFacts, desired: Desired, port: int) -> list[str]:
        """See Launching."""
        return self._of(release).command(release, desired, port)

    def environment(self, release: ReleaseFacts) -> Mapping[str, str]:
        """See Launching."""
        return self._of(release).environment(release)

    def is_ready(self, release: ReleaseFacts, port: int) -> bool:
        """See Launching."""
        return self._of(release).is_ready(release, port)

    def warm_up(self, release: ReleaseFacts, port: int) -> None:
        """See Launching."""
        self._of(release).warm_up(release, port)

    def _of(self, release: ReleaseFacts) -> Launching:
        return self._apps if release.is_app else self._runtimes
