"""Following a run until it ends, then its release until it answers: the loop behind `run` and `runs show -f`.

Everything here is talk, on stderr: a live picture in a terminal, plain lines elsewhere. Ctrl-C ends the
following, never the run; a server that is killed meanwhile is started again.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tuneline.cli.connect import Link
from tuneline.cli.output import say
from tuneline.cli.progress import Tracks, changes, doing, tracked
from tuneline.cli.report import is_live
from tuneline.errors import NotFoundError

ENDED = ("SUCCEEDED", "FAILED", "CANCELED")
LOOK_S = 0.5
"""Between two looks at a run in which nothing happened."""
SHARE = 4
"""At least so many times as long as a look took is not looked."""
PLAIN_S = 5.0
"""At least so long between two plain lines about the same task."""
LIVE_S = 300.0
"""How long a release may take to go live before the command stops waiting for it."""
FAILED_S = 2.0
"""How long an endpoint must stand as failed: the controller's last word may be about the release before."""

Json = dict[str, Any]


class Screen:
    """Shows a run as it goes: `show` at every look, `note` for one line beside the tasks."""

    def __init__(self) -> None:
        self.tracks: Tracks = {}
        self._before: Json | None = None
        self._told: dict[str, float] = {}
        self._noted = ""

    def show(self, run: Json) -> None:
        """Lines for what changed, and for how far running tasks are every few seconds."""
        now = time.time()
        self.tracks = tracked(self.tracks, run, now)
        for line in changes(self._before, run):
            say(line)
        for task in run["tasks"]:
            name, said = task["name"], doing(task, self.tracks.get(task["name"]))
            if (
                task["state"] == "RUNNING"
                and said
                and not task.get("urgent")
                and now - self._told.setdefault(name, now) >= PLAIN_S
            ):
                self._told[name] = now
                say(f"{name}: {said}")
        self._before = run

    def tell(self, text: str) -> None:
        """One line that stays."""
        say(text)

    def note(self, text: str) -> None:
        """Say it once."""
        if text != self._noted:
            say(text)
        self._noted = text


class Terminal(Screen):
    """The live picture."""

    def __init__(self, live: Any, picture: Callable[..., Any]) -> None:
        super().__init__()
        self._live = live
        self._picture = picture

    def show(self, run: Json) -> None:
        """The whole picture anew."""
        now = time.time()
        self.tracks = tracked(self.tracks, run, now)
        self._before = run
        self._live.update(self._picture(run, self.tracks, now, self._noted), refresh=True)

    def tell(self, text: str) -> None:
        """A line above the picture."""
        self._live.console.print(text, markup=False, highlight=False)

    def note(self, text: str) -> None:
        """A line under the tasks."""
        self._noted = text
        if self._before is not None:
            self.show(self._before)


@contextmanager
def screen() -> Iterator[Screen]:
    """A live picture if stderr is a terminal that can move its cursor, else plain lines."""
    if not sys.stderr.isatty():
        yield Screen()
        return
    from rich.console import Console  # noqa: PLC0415 - 60 ms that a run without a terminal does without
    from rich.live import Live  # noqa: PLC0415

    from tuneline.cli.picture import picture  # noqa: PLC0415

    console = Console(stderr=True)
    if console.is_dumb_terminal:
        yield Screen()
        return
    with Live(console=console, auto_refresh=False, transient=False) as live:
        yield Terminal(live, picture)


def follow(link: Link, id: str, shown: Screen) -> Json:
    """Show a run until it ends; the ended run."""
    after = 0
    while True:
        begin = time.monotonic()
        run = link(lambda client: client.run(id, outline=True))
        shown.show(run)
        if run["state"] in ENDED:
            return run
        # a busy run has news all the time; looking must not take from it what it needs to go on
        time.sleep(min(LOOK_S, SHARE * (time.monotonic() - begin)))
        after = _wait_for_news(link, id, max(after, int(run.get("seq") or 0)))


def _wait_for_news(link: Link, id: str, after: int) -> int:
    """Return at the next event after number `after`, or soon; the number of the last event."""
    return int(link(lambda client: client.events(id, after, wait=LOOK_S))["next"])


def wait_until_live(link: Link, run: Json, shown: Screen) -> Json | None:
    """The endpoint of an ended run's release, once it serves it or cannot; None if none is approved."""
    release = approved_release(run)
    name = endpoint_name(link, release) if release else None
    if release is None or name is None:
        return None
    begin = time.monotonic()
    failed_since: float | None = None
    while True:
        found = link(lambda client: client.endpoint(name))
        now = time.monotonic()
        if is_live(found, release) or found["desired"] != release:
            shown.note("")
            return found
        failed_since = (failed_since or now) if found["phase"] == "failed" else None
        if (failed_since and now - failed_since >= FAILED_S) or now - begin > LIVE_S:
            return found
        shown.note(f"{name}: starting {release}")
        time.sleep(0.05)


def settled(link: Link, run: Json) -> Json:
    """The run with the state that its release has by now, if it ended while that waited for approval."""
    report = run.get("report") or {}
    release = report.get("release") or {}
    if release.get("state") != "candidate" or not release.get("release"):
        return run
    try:
        found = link(lambda client: client.release(release["release"]))
    except NotFoundError:
        return run
    return {**run, "report": {**report, "release": {**release, "state": found["state"]}}}


def tell_notices(link: Link, id: str, shown: Screen, after: int = 0) -> int:
    """Tell the notices of a run after number `after`, and to whom they go; the last number."""
    found = link(lambda client: client.notices(run=id, after=after))
    for notice in reversed(found):
        names = ", ".join(delivery["target"] for delivery in notice["deliveries"])
        shown.tell(f"notice: {notice['title']}" + (f" (to {names})" if names else ""))
    return max([after, *(int(notice["id"]) for notice in found)])


def approved_release(run: Json) -> str | None:
    """The release that a run ended with, if it was approved."""
    release = (run.get("report") or {}).get("release") or {}
    return str(release["release"]) if release.get("state") == "approved" else None


def endpoint_name(link: Link, release: str) -> str | None:
    """The endpoint that a release is for; None if there is no such release any more."""
    try:
        found = link(lambda client: client.release(release))
        return str(found["deploy"]["endpoint"])
    except (NotFoundError, KeyError, TypeError):
        return None
