"""`serve`: the life of one home's server.

Order at start: the home's lock, the record, the port, runner, unfinished runs, controller, `server.json`,
HTTP. SIGTERM and SIGINT end them in the reverse order; tasks, routers and runtimes live on and are adopted by
the next server.
"""

import contextlib
import getpass
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from socket import socket
from types import FrameType

import uvicorn

import tuneline
from tuneline.actions import Platform
from tuneline.actions.ports import Server
from tuneline.client.engines import open_engine
from tuneline.client.server import ERROR_FILE, FILE
from tuneline.control.boards import Boards
from tuneline.control.drift import DriftLoop, scores_of
from tuneline.control.endpoints import Controller
from tuneline.control.launching import Runtimes
from tuneline.control.looping import Loop
from tuneline.control.notice_sending import Addresses, Sender
from tuneline.control.notices import NoticeLoop
from tuneline.control.programs import Programs
from tuneline.control.recurring import RecurringLoop
from tuneline.control.remote import RemoteRuns
from tuneline.control.remote_outputs import Found
from tuneline.control.requests import RequestLoop
from tuneline.control.runners import Runners
from tuneline.errors import ResourceError, SettingError, TunelineError
from tuneline.execute.runner import Runner
from tuneline.execute.stores import Stores
from tuneline.record.changes import ENDED
from tuneline.record.record import Record
from tuneline.settings import Settings
from tuneline.web import create_app
from tuneline.wiring.home import HOST, bind, lock_home, on_loopback, write_json
from tuneline.wiring.record import open_record, watch

LOG = logging.getLogger("tuneline.server")

Ready = Callable[[Server], None]
"""Told once, when requests are taken."""

GRACE_S = 5
"""How long requests under way may take once the server was told to stop."""


def serve(settings: Settings, port: int | None = None, ready: Ready | None = None) -> None:
    """Run this home's server until SIGTERM, SIGINT or `POST /api/v1/shutdown`.

    port: exactly this one; None takes `settings.port`, or the next free one if another program has that.
    Raises: ConflictError, naming the holder, if the home has a server or the port is taken; ResourceError for
    a home that cannot be written. The error is also left in `<home>/server-error.json` for whoever started
    this detached.
    """
    _log_to_stderr(settings.log_level)
    try:
        with ExitStack() as stack:
            _run(settings, port, ready, stack)
    except OSError as error:
        wrong = ResourceError(f"The server cannot write {error.filename or settings.home}: {error.strerror}.")
        _leave_error(settings, wrong)
        raise wrong from error
    except TunelineError as error:
        _leave_error(settings, error)
        raise


def _run(settings: Settings, port: int | None, ready: Ready | None, stack: ExitStack) -> None:
    locked = lock_home(settings, stack)
    if locked:
        (settings.home / FILE).unlink(missing_ok=True)  # left by a server that was killed
    record = open_record(settings, locked, time.time(), stack)
    refuse_open_door(settings.host, record)
    wanted = settings.port if port is None else port
    listening = bind(wanted, exact=port is not None, say=LOG.warning, host=settings.host)
    for one in listening:
        stack.callback(one.close)
    info = Server(
        host=HOST,
        port=listening[0].getsockname()[1],
        pid=os.getpid(),
        home=settings.home,
        version=tuneline.__version__,
        started_at=time.time(),
        user=_user(),
        listens=settings.host,
    )
    http = _Http()
    watch(record, lambda: http.stop(False), stack)
    here = Runner(record.runs, record.runs, record.runs, settings, server_url=info.url)
    completed = Found(Stores(settings.copies), record.releases.proposed_by)
    elsewhere = RemoteRuns(record.runs, record.runs, settings, open_engine, completed)
    runner = Runners(here, elsewhere)
    boards = Boards(settings.home / "boards")
    addresses = Addresses(os.environ, settings.secrets, settings.notify)
    sender = Sender(addresses)
    platform = Platform(record, runner, info, http.stop, boards=boards, tester=sender)
    here.start_thread()
    stack.callback(here.stop)
    stack.callback(elsewhere.stop)
    for run in platform.adopt():
        LOG.info("going on with run %s", run)
    launching = Programs(record.endpoints, Runtimes(settings))
    controller = Controller(
        record.endpoints,
        settings.endpoints,
        drain_s=settings.drain_s,
        launching=launching,
        rollouts=record.rollouts,
        feedback=record.feedback,
    )
    controller.start()
    for loop in (
        RecurringLoop(record.recurring, platform.recurring).loop,
        RequestLoop(record.endpoints, settings.endpoints).loop,
        Loop(
            "approvals",
            platform.approvals.look,
            record.approvals.listening,
            partial(record.changes.listening, ENDED),
        ),
        DriftLoop(record.drift, platform.drift, settings.endpoints, scores_of(record.feedback)).loop,
        NoticeLoop(record, addresses, sender, settings.public_url),
    ):
        loop.start()
        stack.callback(loop.stop)
    stack.callback(lambda: controller.stop(all=http.all))
    stack.callback(lambda: boards.stop_all() if http.all else None)
    body = {
        "url": info.url,
        "port": info.port,
        "pid": info.pid,
        "home": str(info.home),
        "version": info.version,
    }
    write_json(settings.home / FILE, body)
    (settings.home / ERROR_FILE).unlink(missing_ok=True)
    stack.callback((settings.home / FILE).unlink, missing_ok=True)
    http.run(platform, listening, (lambda: ready(info)) if ready else None)


def refuse_open_door(host: str, record: Record) -> None:
    """Raises SettingError if others than this machine could connect, and nobody could say who they are."""
    if not on_loopback(host) and not record.tokens.any(time.time()):
        raise SettingError(
            f"This server would answer at {host}, and there is no token by which others could ask.",
            hint="`tuneline token create NAME` makes one; without --host only this machine may ask.",
        )


class _Http:
    """uvicorn, stopped by our signals and by `stop`, with exit status 0 and no long poll left hanging."""

    def __init__(self) -> None:
        self._server: uvicorn.Server | None = None
        self.all = False
        """Whether routers and runtimes shall end too."""

    def stop(self, all: bool) -> None:
        """Stop soon. Safe in a signal handler: it only sets flags."""
        self.all = self.all or all
        if self._server is not None:
            self._server.should_exit = True

    def run(self, platform: Platform, listening: Sequence[socket], ready: Callable[[], None] | None) -> None:
        """Answer requests until stopped."""
        config = uvicorn.Config(
            create_app(platform),
            loop="uvloop",
            http="httptools",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,  # `web.access` judges by who is connected
            timeout_graceful_shutdown=GRACE_S,
            timeout_keep_alive=60,
        )
        self._server = _Uvicorn(config, platform.close)
        with _signals(lambda: self.stop(False)):
            server = platform.server
            LOG.info("listening on %s, address %s", server.url, server.listens)
            if ready is not None:
                ready()
            self._server.run(sockets=list(listening))
        LOG.info("stopped")


class _Uvicorn(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, closing: Callable[[], None]) -> None:
        super().__init__(config)
        self._closing = closing

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Ours are set already; uvicorn's own would kill the process with the signal again at the end."""
        yield

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Wake the long polls first: uvicorn waits for open requests."""
        self._closing()
        await super().shutdown(sockets)


@contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` at SIGTERM and SIGINT; nothing outside the main thread, where Python takes no signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(_: int, __: FrameType | None) -> None:
        stop()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _user() -> str:
    """The name of the user of the operating system; a container's user may have none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _log_to_stderr(level: str) -> None:
    ours = logging.getLogger("tuneline")
    ours.setLevel(getattr(logging, level, logging.INFO))
    if not ours.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
        ours.addHandler(handler)


def _leave_error(settings: Settings, error: TunelineError) -> None:
    with contextlib.suppress(OSError):  # the disk may be what is wrong; stderr says it too
        write_json(settings.home / ERROR_FILE, error.to_json())
