"""`Client`: one method a route of the API; every failure is the TunelineError that the server raised, or
NetworkError.

Sync, thread-safe as httpx's client is. Limits: values are the API's own JSON; nothing is cached.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any, Self
from urllib.parse import quote

import httpx

from tuneline.client.answers import read
from tuneline.errors import InternalError, NetworkError

Body = dict[str, Any]
"""A JSON object as the API gives it."""

TIMEOUT_S = 30.0


class Client:
    """Talks to one server. Use it as a context manager, or `close` it."""

    def __init__(self, url: str, token: str | None = None) -> None:
        """`url` of the server, e.g. `http://127.0.0.1:8080`. Connects at the first call.

        token: for a server elsewhere, sent as `Authorization: Bearer` and shown nowhere.
        """
        self.url = url.rstrip("/")
        timeout = httpx.Timeout(TIMEOUT_S, connect=5.0)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # trust_env=False: a proxy variable must not send a loopback call elsewhere
        self._http = httpx.Client(
            base_url=self.url, timeout=timeout, headers=headers, trust_env=not _loopback(self.url)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def healthz(self, timeout_s: float = TIMEOUT_S) -> Body:
        """`{"status", "version", "home", "pid"}`."""
        return self.call("GET", "/healthz", timeout_s=timeout_s)

    def status(self) -> Body:
        """`{"server", "runs", "endpoints"}`: what is active now."""
        return self.call("GET", "/api/v1/status")

    def submit(
        self,
        spec: Mapping[str, Any],
        parameters: Mapping[str, Any],
        project: Mapping[str, Any],
        runner: Mapping[str, Any] | None = None,
    ) -> Body:
        """Start a run of the IR `spec`. project: `{"name", "text", "path", "digest"}`. runner: the
        engine that executes it, `{"kind", "url", "options", "login"}`.

        Raises: ConflictError, naming it, if a run of the same project is active.
        """
        body = {"pipeline_spec": spec, "parameters": parameters, "project": project}
        body |= {} if runner is None else {"runner": runner}
        return self.call("POST", "/api/v1/runs", body, timeout_s=120.0)

    def runs(self, limit: int = 50, project: str | None = None, *, archived: bool = False) -> list[Body]:
        """Runs without their tasks, the newest first; the archived ones alone, or the others."""
        query = {"limit": limit, "project": project, "archived": "true" if archived else None}
        return self._list("/api/v1/runs", query)

    def run(self, id: str, outline: bool = False) -> Body:
        """A run with its tasks and its report; with `outline` the tasks that a person is shown, and counts of
        the others."""
        query = {"outline": "true"} if outline else None
        return self.call("GET", f"/api/v1/runs/{_part(id)}", query=query)

    def events(self, id: str, after: int = 0, wait: float = 0.0) -> Body:
        """`{"events", "next", "state"}`: events after number `after`, waiting up to `wait` seconds for the
        first."""
        query = {"after": after, "wait": wait}
        return self.call("GET", f"/api/v1/runs/{_part(id)}/events", query=query, timeout_s=wait + TIMEOUT_S)

    def series(self, id: str, task: str, after: int = 0) -> Body:
        """`{"points", "next"}` of a task's curves."""
        return self.call("GET", f"/api/v1/runs/{_part(id)}/series", query={"task": task, "after": after})

    def logs(
        self, id: str, task: str, attempt: int | None = None, offset: int = 0, limit: int | None = None
    ) -> Body:
        """`{"text", "next", "done"}` of an attempt's log (the newest by default) from byte `offset`."""
        query = {"task": task, "attempt": attempt, "offset": offset, "limit": limit}
        return self.call("GET", f"/api/v1/runs/{_part(id)}/logs", query=query)

    def cancel(self, id: str) -> Body:
        """Ask a run to end; the run. Raises ConflictError if it has ended."""
        return self.call("POST", f"/api/v1/runs/{_part(id)}:cancel")

    def retry(self, id: str, spec: Mapping[str, Any] | None = None) -> Body:
        """Let an ended run go on from what failed; the run. With a changed pipeline `spec` that is a new run,
        in which what changed, and what comes after it, runs. Raises ConflictError if there is nothing."""
        body = None if spec is None else {"pipeline_spec": spec}
        return self.call("POST", f"/api/v1/runs/{_part(id)}:retry", body, timeout_s=120.0)

    def inputs(self, id: str) -> Body:
        """The parameters that the pipeline of a run declares, by name, as its IR has them."""
        return self.call("GET", f"/api/v1/runs/{_part(id)}/inputs")

    def tensorboard(self, id: str) -> Body:
        """`{"url", "logs", "skipped"}`: TensorBoard over a run's logs, started if it does not run."""
        return self.call("POST", f"/api/v1/runs/{_part(id)}/tensorboard", timeout_s=90.0)

    def set_schedule(
        self,
        schedule: Mapping[str, Any],
        spec: Mapping[str, Any],
        parameters: Mapping[str, Any],
        project: Mapping[str, Any],
    ) -> Body:
        """Let a project run by itself; the schedule, with `change`: created, updated or unchanged.
        schedule: `{"cron", "zone"}` or `{"every_s"}`; the rest as for `submit`."""
        body = {"schedule": schedule, "pipeline_spec": spec, "parameters": parameters, "project": project}
        return self.call("POST", "/api/v1/schedules", body)

    def schedules(self) -> list[Body]:
        """All schedules, by name."""
        return self._list("/api/v1/schedules")

    def schedule(self, name: str) -> Body:
        """One schedule, by name or id, with its next times (`upcoming`)."""
        return self.call("GET", f"/api/v1/schedules/{_part(name)}")

    def pause_schedule(self, name: str) -> Body:
        """Start nothing more of it; the schedule."""
        return self.call("POST", f"/api/v1/schedules/{_part(name)}:pause")

    def resume_schedule(self, name: str) -> Body:
        """Let it run again, from now on; the schedule."""
        return self.call("POST", f"/api/v1/schedules/{_part(name)}:resume")

    def remove_schedule(self, name: str) -> Body:
        """Forget it; the schedule that it was."""
        return self.call("DELETE", f"/api/v1/schedules/{_part(name)}")

    def run_schedule(self, name: str) -> Body:
        """Start a run of it now; the run. Raises ConflictError if its project has one under way."""
        return self.call("POST", f"/api/v1/schedules/{_part(name)}:run")

    def notices(self, limit: int = 50, run: str | None = None, after: int = 0) -> list[Body]:
        """Notices after number `after` with their deliveries, the newest first; of one run, if named."""
        return self._list("/api/v1/notices", {"limit": limit, "run": run, "after": after})

    def test_notice(self, target: str) -> Body:
        """Send a test to a target. Raises: SettingError, MissingPartError, NetworkError."""
        return self.call("POST", "/api/v1/notices:test", {"target": target}, timeout_s=90.0)

    def retry_notices(self, id: int | None = None) -> Body:
        """Try what was not taken anew, of one notice or of all: `{"deliveries"}`."""
        return self.call("POST", "/api/v1/notices:retry", {"id": id})

    def models(self) -> list[str]:
        """Names of all models."""
        return list(self._json("GET", "/api/v1/models"))

    def releases(self, model: str) -> list[Body]:
        """A model's releases, the highest version first."""
        return self._list(f"/api/v1/models/{_part(model)}/releases")

    def release(self, ref: str) -> Body:
        """The release `model@version`."""
        return self.call("GET", f"/api/v1/releases/{_part(ref)}")

    def approve(self, ref: str, comment: str = "") -> Body:
        """Say yes to a candidate: `{"release", "state", "endpoint", "serves", "again", "run", "waits"}`."""
        return self.call("POST", f"/api/v1/releases/{_part(ref)}/approve", {"comment": comment})

    def reject(self, ref: str, comment: str = "") -> Body:
        """Say no to a candidate; as `approve`."""
        return self.call("POST", f"/api/v1/releases/{_part(ref)}/reject", {"comment": comment})

    def provenance(self, ref: str) -> Body:
        """What the release `model@version` is made of: run, code, parameters, source."""
        return self.call("GET", f"/api/v1/releases/{_part(ref)}/provenance")

    def propose(self, body: Mapping[str, Any]) -> Body:
        """Ask for a release: `{"release", "state", "created", "reason"}`. Raises ConflictError if live
        moved."""
        return self.call("POST", "/api/v1/releases:propose", body, timeout_s=300.0)

    def artifacts(self, limit: int = 100, **only: str | None) -> list[Body]:
        """Artifacts, the newest first. only: `run`, `task`, `type`, `digest`; `after` an id goes on behind
        it."""
        return self._list("/api/v1/artifacts", {"limit": limit, **only})

    def artifact(self, id: str) -> Body:
        """One artifact, by its id or its digest."""
        return self.call("GET", f"/api/v1/artifacts/{_path(id)}")

    def lineage(self, name: str, direction: str = "both", depth: int = 10) -> Body:
        """What an artifact (id or digest) or a release (`model@version`) came from, and what came of it."""
        kind = "releases" if "@" in name and "/" not in name else "artifacts"
        query = {"direction": direction, "depth": depth}
        return self.call("GET", f"/api/v1/{kind}/{_path(name)}/lineage", query=query)

    def content(self, id: str, write: Callable[[bytes], object]) -> str:
        """Give an artifact's content to `write`, block by block; its kind: `file`, or `folder` (a tar)."""
        return self.download(f"/api/v1/artifacts/{_path(id)}/content", write)

    def download(self, path: str, write: Callable[[bytes], object]) -> str:
        """Give what a route sends to `write`, block by block; its kind, as `content`."""
        try:
            with self._http.stream("GET", path, timeout=httpx.Timeout(300.0, connect=5.0)) as answer:
                if not answer.is_success:
                    answer.read()
                    read(answer, self.url, "GET", path)
                for block in answer.iter_bytes():
                    write(block)
                return str(answer.headers.get("x-tuneline-content", "file"))
        except httpx.HTTPError as error:
            raise NetworkError(
                f"The download of {path} broke: {error or type(error).__name__}.", hint="Try again."
            ) from error

    def upload(self, path: str, file: IO[bytes], timeout_s: float = 3600.0) -> Body:
        """PUT a file's bytes, from where it stands, without holding them in memory; the answer's object."""
        timeout = httpx.Timeout(timeout_s, connect=5.0)
        headers = {"Content-Type": "application/octet-stream"}
        try:
            answer = self._http.put(path, content=file, headers=headers, timeout=timeout)
        except httpx.HTTPError as error:
            raise NetworkError(
                f"The upload to {self.url}{path} broke: {error or type(error).__name__}.", hint="Try again."
            ) from error
        return dict(read(answer, self.url, "PUT", path))

    def endpoints(self) -> list[Body]:
        """All endpoints."""
        return self._list("/api/v1/endpoints")

    def endpoint(self, name: str) -> Body:
        """One endpoint: what is wanted, what is live, where it answers."""
        return self.call("GET", f"/api/v1/endpoints/{_part(name)}")

    def live(self, name: str) -> Body:
        """`{"release", "digest", "package"}` live at an endpoint; nulls if nothing is."""
        return self.call("GET", f"/api/v1/endpoints/{_part(name)}/live")

    def history(self, name: str, at: str | None = None) -> list[Body]:
        """`[{"release", "from", "to", "why", "by"}]`; only what was live at `at` (RFC 3339), if given."""
        return self._list(f"/api/v1/endpoints/{_part(name)}/history", {"at": at})

    def start_rollout(
        self, name: str, release: str, plan: Mapping[str, Any], *, force: bool = False, why: str = ""
    ) -> Body:
        """Try a release at an endpoint; what `rollout` gives. plan: what differs from the project's."""
        body = {"release": release, "plan": plan, "force": force, "why": why}
        return self.call("POST", f"/api/v1/endpoints/{_part(name)}/rollout", body)

    def rollout(self, name: str) -> Body:
        """`{"endpoint", "live", "rollout"}`: the newest rollout there, with its decisions; or null."""
        return self.call("GET", f"/api/v1/endpoints/{_part(name)}/rollout")

    def promote(self, name: str, why: str = "") -> Body:
        """Let what is tried go live: `{"endpoint", "release", "before", "warm", "within_s", "message"}`."""
        return self.call("POST", f"/api/v1/endpoints/{_part(name)}:promote", {"why": why})

    def rollback(self, name: str, to: str | None = None, why: str = "") -> Body:
        """Take back what is tried, or what is live; as `promote`."""
        return self.call("POST", f"/api/v1/endpoints/{_part(name)}:rollback", {"to": to, "why": why})

    def feedback(self, name: str, scores: Sequence[Mapping[str, Any]], timeout_s: float = TIMEOUT_S) -> Body:
        """Score answers of endpoint `name`, at most 1000 at once: `{"accepted", "numbers", "unseen"}`.
        scores: `{"request_id", "score", "comment"}`, from 0 to 1."""
        path = f"/api/v1/endpoints/{_part(name)}/feedback"
        return self.call("POST", path, [dict(each) for each in scores], timeout_s=timeout_s)

    def trace(self, id: str, endpoint: str | None = None) -> Body:
        """What is on record about a request, by the `x-request-id` of its answer. Raises NotFoundError."""
        return self.call("GET", f"/api/v1/requests/{quote(id, safe='')}", query={"endpoint": endpoint})

    def drift(self, name: str) -> Body:
        """How an endpoint's requests compare with earlier ones: findings, alerts, windows."""
        return self.call("GET", f"/api/v1/endpoints/{_part(name)}/drift")

    def put_app(self, name: str, body: Mapping[str, Any]) -> Body:
        """Want an app at endpoint `name`: the endpoint, with `release`, `created` and `reason`."""
        return self.call("PUT", f"/api/v1/endpoints/{_part(name)}/app", body, timeout_s=300.0)

    def remove_app(self, name: str) -> Body:
        """Want no app at endpoint `name` any more; the endpoint."""
        return self.call("DELETE", f"/api/v1/endpoints/{_part(name)}/app")

    def ledger(self, after: int = 0) -> list[Body]:
        """Entries of the ledger after number `after`."""
        return self._list("/api/v1/ledger", {"after": after})

    def verify_ledger(self, head: str = "") -> Body:
        """`{"ok", "entries", "head", "faults"}`. head: one that was kept, `SEQ:HASH`."""
        query = {"head": head or None}
        return self.call("GET", "/api/v1/ledger/verify", query=query, timeout_s=300.0)

    def shutdown(self, all: bool = False) -> Body:
        """Stop the server; with `all` also what serves models."""
        return self.call("POST", "/api/v1/shutdown", {"all": all})

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | Sequence[Any] | None = None,
        *,
        query: Mapping[str, Any] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Body:
        """The object that a route answers. Raises: TunelineError, as the server raised it."""
        found = self._json(method, path, body, query=query, timeout_s=timeout_s)
        if not isinstance(found, dict):
            raise InternalError(f"{self.url}{path} answered {type(found).__name__}, not an object.")
        return found

    def _list(self, path: str, query: Mapping[str, Any] | None = None) -> list[Body]:
        return list(self._json("GET", path, query=query))

    def _json(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | Sequence[Any] | None = None,
        *,
        query: Mapping[str, Any] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Any:
        given = {key: value for key, value in (query or {}).items() if value is not None}
        content = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if content else {}
        timeout = httpx.Timeout(timeout_s, connect=5.0)
        try:
            answer = self._http.request(
                method, path, params=given, content=content, headers=headers, timeout=timeout
            )
        except httpx.ConnectError as error:
            raise NetworkError(
                f"No tuneline server answers at {self.url}.",
                hint="Start it with `tuneline up`, or check TUNELINE_URL.",
            ) from error
        except httpx.TimeoutException as error:
            raise NetworkError(
                f"The server at {self.url} did not answer {method} {path} within {timeout_s:.0f} s.",
                hint="`tuneline status` shows whether it is well.",
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NetworkError(
                f"The connection to the server at {self.url} broke: {error or type(error).__name__}.",
                hint="If the server was stopped, start it with `tuneline up`: runs go on where they were.",
            ) from error
        return read(answer, self.url, method, path)


def _path(text: str) -> str:
    return quote(text, safe="@/:")


def _part(text: str) -> str:
    return quote(text, safe="@")


def _loopback(url: str) -> bool:
    return httpx.URL(url).host in ("127.0.0.1", "localhost", "::1")
