"""When an app counts as started, and when as able to answer."""

import socket
import threading

import pytest

from tuneline.control import programs
from tuneline.control.holding import any_free
from tuneline.control.programs import Apps
from tuneline.errors import TransientError
from tuneline.plan.apps import App, manifest
from tuneline.plan.endpoints import ReleaseFacts


def facts(folder):
    return ReleaseFacts("web@1.0.0", "web", folder, "sha256:1", folder, {}, manifest(App("web"), {}))


@pytest.fixture
def answering(request):
    """The port of an app that answers the first request so, or never for None."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        connection, _ = server.accept()
        with connection:
            connection.recv(4096)
            if request.param:
                connection.sendall(f"HTTP/1.1 {request.param} X\r\nContent-Length: 0\r\n\r\n".encode())
            else:
                connection.recv(1)  # until the other side has enough

    thread = threading.Thread(target=serve)
    thread.start()
    yield server.getsockname()[1]
    thread.join()
    server.close()


@pytest.mark.parametrize(
    "answering, ready", [(200, True), (500, True), (503, False), (None, True)], indirect=["answering"]
)
def test_an_app_that_takes_its_time_is_left_to_the_warm_up(tmp_path, monkeypatch, answering, ready):
    monkeypatch.setattr(programs, "READY_S", 0.05)
    assert Apps(None).is_ready(facts(tmp_path), answering) is ready


def test_what_does_not_listen_is_not_ready(tmp_path):
    assert not Apps(None).is_ready(facts(tmp_path), any_free())


@pytest.mark.parametrize("answering", [None, 500], indirect=True)
def test_the_warm_up_does_not_take_silence_or_a_fault_for_an_answer(tmp_path, monkeypatch, answering):
    monkeypatch.setattr(programs, "WARM_UP_S", 0.1)
    with pytest.raises(TransientError, match="GET / was"):
        Apps(None).warm_up(facts(tmp_path), answering)
