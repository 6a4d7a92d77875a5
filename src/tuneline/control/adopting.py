"""What an earlier server left running at an endpoint: by the record, by traffic.json, and by the mark in
the environment of processes."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tuneline.control import processes
from tuneline.control.observing import from_json
from tuneline.control.processes import Running
from tuneline.control.routes import Routes
from tuneline.plan.revisions import Revision, Role, State

LOG = logging.getLogger("tuneline.control")


def adopt(folder: Path, saved: Mapping[str, Any], routes: Routes, now: float) -> list[Revision]:
    """The revisions to go on with. Runtimes that nobody knows are ended."""
    found = dict(processes.marked(folder))
    adopted = [_adopted(from_json(body), found, routes, now) for body in saved.get("revisions", ())]
    for id, process in found.items():
        LOG.warning("%s: ending process %d of unknown revision %s", folder.name, process.pid, id)
        processes.kill(process)
    return adopted


def process_of(revision: Revision) -> Running | None:
    """The process of its runtime."""
    return None if revision.pid is None else Running(revision.pid, revision.pid_started)


def _adopted(revision: Revision, found: dict[str, Running], routes: Routes, now: float) -> Revision:
    process = found.pop(revision.id, None)
    if process is not None:
        revision = replace(revision, pid=process.pid, pid_started=process.started)
    routed = routes.routed
    if revision.id == routed and revision.role is not Role.LIVE:
        revision = replace(revision, role=Role.LIVE, since=now)
    elif revision.id != routed and revision.role is Role.LIVE:
        revision = replace(revision, role=Role.KEPT, since=now)
    if revision.state is State.DOWN:  # a new server tries again
        revision = replace(revision, failures=0, retry_at=0.0, final=False)
    return revision
