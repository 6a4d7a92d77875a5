"""What the client says when the other side is missing, silent, broken or something else. Real sockets."""

import http.server
import json
import socket
import threading
from collections.abc import Iterator

import pytest

from tuneline.client import Client
from tuneline.errors import InternalError, NetworkError, NotFoundError, TransientError


@pytest.fixture
def closed_port() -> int:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


class Answers(http.server.BaseHTTPRequestHandler):
    """Gives the one answer that its server holds, and keeps the paths it was asked for."""

    def do_GET(self) -> None:
        status, body = self.server.answer
        self.server.seen.append(self.path)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def other() -> Iterator[http.server.HTTPServer]:
    """A server that is not ours, with one answer for everything."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.answer, server.seen = (200, b"{}"), []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def url_of(server) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}"


def test_a_server_that_is_not_there_is_a_network_error_with_what_to_do(closed_port):
    with Client(f"http://127.0.0.1:{closed_port}") as client, pytest.raises(NetworkError) as wrong:
        client.status()
    assert wrong.value.message == f"No tuneline server answers at http://127.0.0.1:{closed_port}."
    assert "tuneline up" in wrong.value.hint
    assert wrong.value.retry


def test_a_server_that_never_answers_is_given_up_after_the_time_asked_for():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Client(url) as client, pytest.raises(NetworkError, match="did not answer GET /healthz within"):
            client.healthz(timeout_s=0.05)


def test_a_connection_that_breaks_is_a_network_error():
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def hang_up() -> None:
            accepted, _ = listening.accept()
            accepted.recv(100)
            accepted.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with (
            Client(f"http://127.0.0.1:{listening.getsockname()[1]}") as client,
            pytest.raises(NetworkError, match="broke"),
        ):
            client.status()
        thread.join()


@pytest.mark.parametrize(
    "status, body", [(200, b"<html>"), (404, b"<html>"), (404, b'{"detail": "x"}'), (500, b"[]")]
)
def test_another_program_at_the_address_is_said_to_be_another(other, status, body):
    other.answer = status, body
    with Client(url_of(other)) as client, pytest.raises(NetworkError, match="is no tuneline server"):
        client.status()


def test_a_gateway_that_cannot_reach_the_server_is_transient(other):
    other.answer = 502, b"bad gateway"
    with Client(url_of(other)) as client, pytest.raises(TransientError) as wrong:
        client.status()
    assert wrong.value.retry


def test_an_error_of_the_server_is_the_same_error_here(other):
    body = {"code": "not_found", "message": "no", "hint": "look", "details": [], "retry": False}
    other.answer = 404, json.dumps({"error": body}).encode()
    with Client(url_of(other)) as client, pytest.raises(NotFoundError) as wrong:
        client.run("x")
    assert (wrong.value.message, wrong.value.hint) == ("no", "look")


def test_an_unknown_code_is_an_internal_error(other):
    other.answer = 500, b'{"error": {"code": "from_the_future", "message": "hm"}}'
    with Client(url_of(other)) as client, pytest.raises(InternalError, match="hm"):
        client.status()


def test_names_are_put_into_paths_safely(other):
    with Client(url_of(other)) as client:
        client.run("../../shutdown?x=1")
        client.release("my model@1.0.0")
    assert other.seen == ["/api/v1/runs/..%2F..%2Fshutdown%3Fx%3D1", "/api/v1/releases/my%20model@1.0.0"]


def test_a_proxy_of_the_environment_is_not_used_for_the_loopback(other, monkeypatch, closed_port):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed_port}")
    with Client(url_of(other)) as client:
        assert client.status() == {}
