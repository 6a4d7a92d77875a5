"""A real record, controller and apps: what a server has of them, without its HTTP."""

import http.client
import json
import time

from tuneline.actions.apps import AppRequest, Apps
from tuneline.actions.ports import Server
from tuneline.control.endpoints import Controller
from tuneline.control.launching import Runtimes
from tuneline.control.programs import Programs
from tuneline.plan.apps import App
from tuneline.record.record import Record
from tuneline.settings import Settings

SOURCE = """
import json, os
VERSION = {version!r}

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    path, status = scope["path"], {status}
    if path == "/die":
        os._exit(3)
    shown = {{name: os.environ.get(name) for name in ("COLOUR", "TUNELINE_APP_DATA")}}
    shown |= {{"version": VERSION, "pid": os.getpid(), "cwd": os.getcwd()}}
    await send({{"type": "http.response.start", "status": status, "headers": []}})
    await send({{"type": "http.response.body", "body": json.dumps(shown).encode()}})
"""


class Home:
    """One home's apps, and a controller that may come and go."""

    def __init__(self, folder):
        self.folder, self.controller = folder, None
        self.record = Record(f"sqlite:///{folder / 'tuneline.db'}")
        self.record.migrate()
        server = Server("127.0.0.1", 0, 1, folder, "0.0.0", 1_800_000_000.0, "ann")
        self.apps = Apps(self.record, server, time.time)

    def up(self):
        store = self.record.endpoints
        launching = Programs(store, Runtimes(Settings(self.folder)))
        self.controller = Controller(store, self.folder / "endpoints", drain_s=5.0, launching=launching)
        self.controller.start()

    def put(self, version, name="web", status=200, text=None, **more):
        source = self.folder / "sources" / f"{name}-{version}"
        source.mkdir(parents=True, exist_ok=True)
        (source / "app.py").write_text(text or SOURCE.format(version=version, status=status))
        request = AppRequest(App(name, **{"entry": "app.py:app", **more}), str(source), keep_s=1.0)
        return self.apps.put(request)

    def seen(self, name="web"):
        return self.record.endpoints.observed(name)

    def until(self, condition, within_s=30.0):
        deadline = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline, self.seen()
            time.sleep(0.01)

    def until_live(self, release, name="web"):
        def is_live():
            live = self.record.endpoints.live(name)
            return live and live.release == release and self.seen(name).get("phase") == "live"

        self.until(is_live)

    def ask(self, name="web", path="/"):
        connection = http.client.HTTPConnection("127.0.0.1", self.seen(name)["port"], timeout=15)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def close(self):
        if self.controller is not None:
            self.controller.stop(all=True)
        self.record.close()
