"""What the Platform needs of those below it that wiring chooses: who runs runs, and who can stop what
serves."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tuneline.execute.submitted import Submitted
from tuneline.plan.events import Lease
from tuneline.types import RunId

KFP_VERSION = "2.17.0"
"""The version of Kubeflow Pipelines whose API this server speaks."""


class Runs(Protocol):
    """What executes runs in this process; `execute.runner.Runner` is one. Thread-safe."""

    def start(self, new: Submitted, lease: Lease) -> None:
        """Take a run up, new or left by a server that died. Returns at once."""
        ...

    def cancel(self, run: RunId, by: str) -> None:
        """Ask an active run to end. Returns at once."""
        ...

    def retry(self, new: Submitted, lease: Lease, by: str) -> None:
        """Let an ended run go on from what did not succeed. Returns at once."""
        ...


@dataclass(frozen=True)
class Server:
    """The server this is, as `status` tells it."""

    host: str
    port: int
    pid: int
    home: Path
    version: str
    started_at: float
    user: str
    listens: str = "127.0.0.1"
    """Where it listens beside `host`, which is what this machine calls it by."""

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{self.host}:{self.port}"

    def health(self) -> dict[str, Any]:
        """What `/healthz` answers, in our words and in Kubeflow Pipelines'."""
        return {
            "status": "ok",
            "version": self.version,
            "home": str(self.home),
            "pid": self.pid,
            "commit_sha": f"tuneline-{self.version}",
            "tag_name": KFP_VERSION,
            "multi_user": False,
            "pipeline_store": "database",
        }


Shutdown = Callable[[bool], None]
"""Stop the server; True: also routers and runtimes. Returns at once."""
