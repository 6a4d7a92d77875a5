"""The example, whole, over a tiny base: issues to a release, a page that asks it, and a second run that trains on.

The SDK is the real one, in an interpreter of its own; components come from files, a server and a text.
"""

import functools
import http.server
import json
import subprocess
import threading

import httpx
import pytest
import yaml
from tests.e2e.world import wait_for
from tests.examples.conftest import EXAMPLE
from tests.tiny import tiny_gguf

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

COMPILE = """
import sys
sys.path.insert(0, sys.argv[1])
from kfp import compiler
from pipeline import issue_titles
compiler.Compiler().compile(issue_titles, sys.argv[2])
"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder and remembers what was asked for."""

    def log_message(self, *_) -> None:
        self.server.asked.append(self.path)


@pytest.fixture
def components():
    """The URL of a server of the example's components, and what it was asked for."""
    handler = functools.partial(Quiet, directory=str(EXAMPLE / "components"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", server.asked
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def compiled(kfp_python, components, tmp_path):
    """The pipeline as the SDK compiles it: its documents, the IR first."""
    target, (url, asked) = tmp_path / "pipeline.yaml", components
    command = [kfp_python, "-c", COMPILE, str(EXAMPLE), str(target)]
    ended = subprocess.run(command, env={"COMPONENTS_URL": url, "PATH": "/usr/bin:/bin"}, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "/tune.yaml" in asked
    return list(yaml.safe_load_all(target.read_text(encoding="utf-8")))
