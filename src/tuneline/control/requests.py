"""The loop of requests: a thread of the server that reads what routers wrote and keeps it as tables.

Every PERIOD_S it looks at every endpoint. It holds nothing that matters: how far it got is in files
(`ingesting`), so it may be killed at any moment. polars is imported with the first line there is to read.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tuneline.control.looping import Loop
from tuneline.errors import TunelineError
from tuneline.types import Clock

if TYPE_CHECKING:
    from tuneline.control.ingesting import Ingest

LOG = logging.getLogger("tuneline.control")
PERIOD_S = 5.0
STEPS = 16
"""So many steps in a row for one endpoint, then the others have their turn."""
UPKEEP_S = 60.0
KEEP_S = 30 * 86_400.0
KEEP_BYTES = 4 * 1024**3


class Wanted(Protocol):
    """What the loop reads of `plan.endpoints.Desired`."""

    @property
    def endpoint(self) -> str:
        """The endpoint's name."""
        ...

    @property
    def monitor(self) -> Mapping[str, Any]:
        """The project's `monitor`: `{"keep_s", "keep_bytes", ...}`; defaults for what it lacks."""
        ...


class Endpoints(Protocol):
    """What the loop needs of the record."""

    def desired(self) -> Sequence[Wanted]:
        """Every endpoint."""
        ...


@dataclass
class _Looked:
    ingest: "Ingest"
    kept_up_at: float = float("-inf")


class RequestLoop:
    """Ingests the request lines of all endpoints of one home."""

    def __init__(self, store: Endpoints, folder: Path, clock: Clock = time.time) -> None:
        """folder: of all endpoints, one below it each."""
        self._store, self._folder, self._clock = store, folder, clock
        self._looked: dict[str, _Looked] = {}
        self._faults: dict[str, str] = {}
        self.loop = Loop("requests", self.look_once, retry_s=PERIOD_S)

    def look_once(self) -> float:
        """Ingest some of each endpoint; seconds until the next look: 0 if there is more to do."""
        more = False
        for wanted in self._store.desired():
            name = wanted.endpoint
            try:
                more |= self._look_at(name, wanted.monitor)
                self._faults.pop(name, None)
            except (TunelineError, OSError) as error:
                self._looked.pop(name, None)
                if self._faults.get(name) != str(error):  # a full disk is said once
                    LOG.error("%s: requests are not ingested: %s", name, error)
                self._faults[name] = str(error)
            except Exception:
                self._looked.pop(name, None)
                LOG.exception("%s: requests are not ingested; trying again", name)
        return 0.0 if more else PERIOD_S

    def _look_at(self, name: str, monitor: Mapping[str, Any]) -> bool:
        folder = self._folder / name
        if not any((folder / part).is_dir() for part in ("segments", "requests")):
            return False
        # 0.15 s and 40 MB, which a server that serves nothing shall not cost
        from tuneline.control.ingesting import Ingest  # noqa: PLC0415
        from tuneline.control.request_upkeep import keep_up  # noqa: PLC0415

        keep_s = float(monitor.get("keep_s") or KEEP_S)
        looked = self._looked.get(name)
        if looked is None:
            looked = self._looked[name] = _Looked(Ingest(folder, self._clock, keep_s))
        looked.ingest.keep_s = keep_s
        more = False
        for _ in range(STEPS):
            more = not self.loop.stopped and looked.ingest.step()
            if not more:
                break
        now = self._clock()
        if not self.loop.stopped and abs(now - looked.kept_up_at) >= UPKEEP_S:
            looked.ingest.finish_segments()
            merging = keep_up(folder / "requests", now, keep_s, int(monitor.get("keep_bytes") or KEEP_BYTES))
            looked.kept_up_at = float("-inf") if merging else now
            more |= merging
        return more
