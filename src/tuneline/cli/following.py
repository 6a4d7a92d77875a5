"""Following a run until it ends, then its release until it answers: the loop behind `run` and `runs logs -f`.

Everything here is talk, on stderr: a live picture in a terminal, plain lines elsewhere. Ctrl-C ends
the following only.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.live import Live

from tuneline.cli.output import say
from tuneline.cli.picture import changes, doing, picture
from tuneline.client import Client
from tuneline.errors import NetworkError, NotFoundError, TransientError

ENDED = ("SUCCEEDED", "FAILED", "CANCELED")
LOOK_S = 0.5
"""Between two looks at a run in which nothing happened."""
PLAIN_S = 5.0
"""Between two plain lines about the same task."""
LIVE_S = 300.0
"""How long a release may take to go live before the command stops waiting for it."""
SERVER_BACK_S = 60.0
"""How long a server that stopped answering is waited for: runs go on when it is back."""

Show = Callable[[dict[str, Any]], None]


def follow(client: Client, id: str) -> dict[str, Any]:
    """Show a run until it ends; the ended run."""
    if not sys.stderr.isatty():
        return _watch(client, id, _plain())
    console = Console(stderr=True)
    with Live(console=console, auto_refresh=False, transient=False) as live:
        return _watch(client, id, lambda run: live.update(picture(run), refresh=True))


def wait_until_live(client: Client, run: dict[str, Any]) -> dict[str, Any] | None:
    """The endpoint of an ended run's release, once it serves it or could not; None without an approved one."""
    release = (run.get("report") or {}).get("release")
    name = endpoint_name(client, release)
    if release is None or name is None or release.get("state") != "approved":
        return None
    deadline, told = time.monotonic() + LIVE_S, ""
    while True:
        found = client.endpoint(name)
        if found["live"] == release["release"] or found["desired"] != release["release"]:
            return found
        if found["phase"] == "failed" or time.monotonic() > deadline:
            return found
        doing_now = f"{name}: starting {release['release']}"
        if doing_now != told:
            say(doing_now)
            told = doing_now
        time.sleep(0.05)


def endpoint_name(client: Client, release: dict[str, Any] | None) -> str | None:
    """The endpoint that a run's release is for."""
    if release is None:
        return None
    try:
        return str(client.release(str(release["release"]))["deploy"]["endpoint"])
    except (NotFoundError, KeyError):
        return None


def _watch(client: Client, id: str, show: Show) -> dict[str, Any]:
    after, gone_since = 0, None
    while True:
        try:
            run = client.run(id)
            show(run)
            if run["state"] in ENDED:
                return run
            after = client.events(id, after, wait=LOOK_S)["next"]
            gone_since = None
        except (TransientError, NetworkError):
            now = time.monotonic()
            gone_since = gone_since or now
            if now - gone_since > SERVER_BACK_S:
                raise
            time.sleep(0.5)


def _plain() -> Show:
    before: dict[str, Any] | None = None
    told: dict[str, float] = {}

    def show(run: dict[str, Any]) -> None:
        nonlocal before
        for line in changes(before, run):
            say(line)
        for task in run["tasks"]:
            now = time.monotonic()
            if (
                task["state"] == "RUNNING"
                and doing(task)
                and now - told.setdefault(task["name"], now) >= PLAIN_S
            ):
                told[task["name"]] = now
                say(f"{task['name']}: {doing(task)}")
        before = run

    return show
