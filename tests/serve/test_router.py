"""The router between real sockets: what passes, what does not, and what happens when either side dies."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from tuneline.serve import traffic as traffic_file
from tuneline.serve.holder import bind
from tuneline.serve.traffic import ACK_FILE, TRAFFIC_FILE, Limits, Revision, Traffic

pytestmark = pytest.mark.slow
PROGRAM = Path(__file__).parents[1] / "control" / "runtime_program.py"


class Site:
    """An endpoint's folder, its router, and its runtimes."""

    def __init__(self, folder):
        self.folder = folder
        self.listening = bind("127.0.0.1", 0)
        self.port = self.listening.getsockname()[1]
        self.children = []
        self.generation = 0
        self.router = None

    def runtime(self, release, *more):
        command = [sys.executable, str(PROGRAM), "--release", release, *more]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.children.append(child)
        return child, int(child.stdout.readline().split()[1])

    def route(self, *revisions, acknowledged=True, **limits):
        self.generation += 1
        listed = tuple(
            Revision(id, f"{id}@1.0.0", "127.0.0.1", port, weight) for id, port, weight in revisions
        )
        new = Traffic("e", self.generation, listed, "seed", Limits(**limits))
        traffic_file.replace_json(self.folder / TRAFFIC_FILE, new.to_json())
        if acknowledged:
            self.until(lambda: self.ack().get("generation") == self.generation)

    def ack(self):
        return traffic_file.read_json(self.folder / ACK_FILE)

    def start_router(self):
        number = self.listening.fileno()
        command = [
            sys.executable,
            "-m",
            "tuneline.serve.router",
            "--dir",
            str(self.folder),
            "--fd",
            str(number),
        ]
        self.router = subprocess.Popen([*command, "--drain-s", "5"], pass_fds=[number])
        self.children.append(self.router)

    def connection(self, timeout_s=15.0):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)

    def ask(self, method="GET", path="/x", body=None, headers=None):
        connection = self.connection()
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    @contextmanager
    def raw(self, data=b""):
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as client:
            client.sendall(data)
            yield client

    def until(self, condition, within_s=10.0):
        deadline = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def lines(self):
        """Request lines so far; the router writes them each second, and at its end."""
        files = sorted((self.folder / "segments").glob("*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]

    def close(self):
        for child in self.children:
            child.kill()
            child.wait()
            if child.stdout:
                child.stdout.close()
        self.listening.close()


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path)
    yield site
    site.close()


def with_one_runtime(site):
    site.one, site.one_port = site.runtime("a@1.0.0")
    site.start_router()
    site.route(("a", site.one_port, 100.0))
    return site


@pytest.fixture
def served(site):
    """One runtime behind a router, for a test that does something to them."""
    return with_one_runtime(site)


@pytest.fixture(scope="module")
def standing(tmp_path_factory):
    """One runtime behind a router, for all tests that only ask."""
    site = Site(tmp_path_factory.mktemp("standing"))
    yield with_one_runtime(site)
    site.close()


def everything(client):
    pieces = []
    while piece := client.recv(1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


# What passes


def test_bodies_pass_whole_both_ways_of_any_size_and_framing(standing):
    for size in (0, 1, 1000, 3_000_000):
        data = os.urandom(size)
        assert standing.ask("POST", "/echo", data)[2] == data
        pieces = (data[at : at + 70_000] for at in range(0, size, 70_000))
        status, headers, body = standing.ask("POST", "/echo", pieces)
        assert (status, body) == (200, data)


def test_one_connection_serves_many_requests_and_so_does_the_one_behind(standing):
    connection = standing.connection()
    answers = []
    for _ in range(5):
        connection.request("GET", "/echo")
        answers.append(connection.getresponse())
        answers[-1].read()
    connection.close()
    assert all(answer.status == 200 and not answer.will_close for answer in answers)


def test_what_ends_at_a_hop_does_not_pass_and_a_request_id_does(standing):
    sent = {
        "Connection": "x-secret",
        "x-secret": "1",
        "TE": "trailers",
        "x-user-id": "ann",
        "x-request-id": "abc",
    }
    _, headers, _ = standing.ask("GET", "/echo", headers=sent)
    seen = " ".join(json.loads(headers["x-head"])).lower()
    assert "x-secret" not in seen
    assert "te: trailers" not in seen
    assert "x-user-id: ann" in seen
    assert "x-request-id: abc" in seen
    assert "x-forwarded-for: 127.0.0.1" in seen
    assert headers["x-request-id"] == "abc"
    assert headers["x-tuneline-release"] == "a@1.0.0"
    assert "connection" not in headers


def test_a_request_without_an_id_gets_one(standing):
    _, headers, _ = standing.ask("GET", "/echo")
    assert re.fullmatch("[0-9a-f]{32}", headers["x-request-id"])
    assert f"x-request-id: {headers['x-request-id']}" in " ".join(json.loads(headers["x-head"]))


def test_events_pass_one_by_one_as_they_come(standing):
    connection = standing.connection()
    connection.request("GET", "/stream?n=5&ms=100")
    answer = connection.getresponse()
    at = []
    while answer.readline():
        answer.readline()
        at.append(time.monotonic())
    connection.close()
    gaps = [later - earlier for earlier, later in zip(at, at[1:], strict=False)]
    assert len(at) == 5
    assert all(0.03 < gap < 0.25 for gap in gaps), gaps


def test_the_answer_to_head_has_the_length_and_no_body(standing):
    connection = standing.connection()
    for _ in range(2):
        connection.request("HEAD", "/router/health")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"")
    connection.close()


def test_pipelined_requests_are_answered_in_order(standing):
    one = b"GET /slow?ms=60 HTTP/1.1\r\nHost: a\r\n\r\n"
    two = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
    three = b"GET /router/health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    with standing.raw(one + two + three) as client:
        data = everything(client)
    assert data.count(b"HTTP/1.1 200") == 3
    assert data.index(b'"pid"') < data.index(b"hello") < data.index(b"generation")


def test_a_client_that_waits_for_100_continue_gets_it_before_the_runtime_is_asked(standing):
    with standing.raw(
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n"
        b"Connection: close\r\n\r\n"
    ) as client:
        assert client.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"hello")
        data = everything(client)
    assert data.endswith(b"hello")
    assert b"expect" not in data.lower()


def test_a_client_of_http_1_0_gets_a_body_without_chunks(standing):
    with standing.raw(b"GET /stream?n=2&ms=1 HTTP/1.0\r\n\r\n") as client:
        data = everything(client)
    assert data.endswith(b"\r\n\r\ndata: a@1.0.0 0\n\ndata: a@1.0.0 1\n\n")
    assert b"chunked" not in data


def test_a_body_that_ends_with_the_runtime_s_connection_passes(standing):
    assert json.loads(standing.ask("GET", "/old")[2])["release"] == "a@1.0.0"


def test_java_s_client_may_ask_for_http_2_and_is_answered_in_http_1_1(standing):
    with standing.raw(
        b"POST /echo HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAEAAEAA\r\nContent-Length: 5\r\n\r\nhello"
        b"GET /router/health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    ) as client:
        data = everything(client)
    assert data.count(b"HTTP/1.1 200") == 2
    assert b"hello" in data
    assert b"h2c" not in data


def test_a_slow_client_holds_the_runtime_back_instead_of_filling_memory(standing):
    """60 MB to a client that does not read: neither the router nor the runtime can have it all in memory."""
    size = 60_000_000
    before = memory(standing.router.pid)
    with standing.raw(b"GET /bytes?n=%d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % size) as client:
        time.sleep(0.5)
        assert memory(standing.router.pid) - before < 20_000_000
        assert len(everything(client)) > size


def memory(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# What does not


@pytest.mark.parametrize(
    "data, status",
    [
        (b"GARBAGE\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET http://elsewhere/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 501),
    ],
)
def test_what_is_no_request_is_answered_with_one_error_and_the_connection_closed(standing, data, status):
    with standing.raw(data) as client:
        answer = everything(client)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer
    assert b"connection: close" in head
    assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}


def test_a_good_request_before_a_bad_one_is_still_answered(standing):
    with standing.raw(b"GET /slow?ms=50 HTTP/1.1\r\nHost: a\r\n\r\nGARBAGE\r\n\r\n") as client:
        data = everything(client)
    assert data.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 400" in data


def test_a_body_over_the_limit_is_refused_before_or_while_it_comes(served):
    served.route(("a", served.one_port, 100.0), max_body_bytes=1000)
    assert served.ask("POST", "/echo", b"x" * 1000)[0] == 200
    status, headers, body = served.ask("POST", "/echo", b"x" * 1001)
    assert (status, headers["connection"]) == (413, "close")
    assert "1000 bytes" in json.loads(body)["error"]["message"]
    pieces = (b"x" * 600 for _ in range(3))
    assert served.ask("POST", "/echo", pieces)[0] == 413


def test_without_a_revision_it_says_when_to_come_again(site):
    site.start_router()
    site.route()
    status, headers, body = site.ask("POST", "/v1/completions", b"{}")
    assert (status, headers["retry-after"]) == (503, "5")
    assert json.loads(body)["error"]["type"] == "service_unavailable"


def test_a_runtime_that_says_nothing_for_too_long_is_given_up(served):
    served.route(("a", served.one_port, 100.0), timeout_s=0.3)
    assert served.ask("GET", "/slow?ms=5000")[0] == 504


# Who dies


def test_what_a_client_hung_up_on_is_not_computed_further(served):
    for path in (b"/slow?ms=5000", b"/stream?n=500&ms=10"):
        with served.raw(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path):
            time.sleep(0.1)
    served.until(lambda: served.ask("GET", "/hung")[2] == b"2")
    served.router.terminate()
    served.router.wait()
    assert [line["status"] for line in served.lines()][:2] == [499, 499]


def test_a_request_to_a_dead_runtime_waits_for_the_next_and_loses_nothing(served):
    served.one.kill()
    served.one.wait()
    answers = []
    data = os.urandom(200_000)
    thread = threading.Thread(target=lambda: answers.append(served.ask("POST", "/echo", data)))
    thread.start()
    time.sleep(0.3)
    assert not answers
    _, port = served.runtime("b@1.0.0")
    served.route(("b", port, 100.0))
    thread.join()
    assert (answers[0][0], answers[0][2]) == (200, data)
    assert answers[0][1]["x-tuneline-release"] == "b@1.0.0"


def test_a_runtime_killed_before_it_answered_is_not_noticed_by_the_client(served):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(served.ask("GET", "/slow?ms=1000")))
    thread.start()
    _, port = served.runtime("b@1.0.0")
    served.one.kill()
    served.route(("b", port, 100.0))
    thread.join()
    assert json.loads(answers[0][2])["release"] == "b@1.0.0"


def test_a_post_to_what_may_not_repeat_reaches_it_once(site):
    """A request that the runtime dies of; the next runtime must not be shown it."""
    runtimes = [site.runtime(f"r{n}@1.0.0") for n in range(2)]
    site.start_router()
    site.route(("r0", runtimes[0][1], 100.0), repeat_all=False)
    for _ in range(3):
        assert site.ask("GET", "/v1/completions")[0] == 200  # leaves a connection that is kept
    status, _, body = site.ask("POST", "/kill", b"{}")
    assert (status, b"ended while it answered, 1 times" in body) == (502, True)
    site.route(("r1", runtimes[1][1], 100.0), repeat_all=False)
    assert site.ask("POST", "/echo", b"{}")[0] == 200


def test_a_request_that_kills_every_runtime_ends(served):
    """Each of four runtimes is killed by it; it is not asked again for ever."""
    ports = [served.one_port]

    def replace_dead():
        for _ in range(3):
            served.children[-1].wait() if len(ports) > 1 else served.one.wait()
            _, port = served.runtime("b@1.0.0")
            ports.append(port)
            served.route(("b", port, 100.0))

    thread = threading.Thread(target=replace_dead)
    thread.start()
    status, _, body = served.ask("POST", "/kill", b"{}")
    thread.join()
    assert status == 502
    assert "4 times" in json.loads(body)["error"]["message"]


def test_a_dead_runtime_is_waited_for_only_so_long(served):
    served.route(("a", served.one_port, 100.0), retry_for_s=0.3)
    served.one.kill()
    served.one.wait()
    begun = time.monotonic()
    status, headers, body = served.ask("POST", "/echo", b"hello")
    assert (status, headers["retry-after"]) == (503, "5")
    assert 0.1 < time.monotonic() - begun < 3.0


def test_an_open_stream_ends_with_an_error_event_when_its_runtime_dies(served):
    with served.raw(b"GET /stream?n=1000&ms=10 HTTP/1.1\r\nHost: a\r\n\r\n") as client:
        time.sleep(0.1)
        served.one.kill()
        data = everything(client)
    assert data.endswith(b"0\r\n\r\n")
    last = data.rpartition(b"data: ")[2].split(b"\n")[0]
    assert "stopped answering" in json.loads(last)["error"]["message"]


def test_an_answer_that_is_cut_off_is_seen_to_be_cut_off(served):
    with pytest.raises(http.client.IncompleteRead) as wrong:
        served.ask("GET", "/partial?n=1000")
    assert len(wrong.value.partial) == 500


def test_an_answer_that_comes_before_the_request_is_complete_reaches_the_client(served):
    head = b"POST /x HTTP/1.1\r\nHost: a\r\nx-early: 1\r\nContent-Length: 1000000\r\n\r\n"
    with served.raw(head + b"x" * 1000) as client:
        assert b"early" in everything(client)


# Switches


def test_a_switch_moves_new_requests_and_lets_old_ones_end(served):
    connection = served.connection()
    connection.request("GET", "/stream?n=40&ms=50")
    answer = connection.getresponse()
    first = answer.readline()
    _, port = served.runtime("b@1.0.0")
    served.route(("b", port, 100.0), ("a", served.one_port, 0.0))
    assert json.loads(served.ask()[2])["release"] == "b@1.0.0"
    assert served.ack()["in_flight"] == {"b": 0, "a": 1}
    rest = answer.read()
    connection.close()
    assert (first + rest).count(b"a@1.0.0") == 40
    served.until(lambda: served.ack()["in_flight"]["a"] == 0)


def test_two_thousand_requests_over_twenty_switches_and_none_fails(served):
    _, other = served.runtime("b@1.0.0")
    failed, count, stop = [], [0, 0], threading.Event()

    def load(index):
        connection = served.connection()
        while not stop.is_set():
            connection.request("POST", "/echo", b"x" * 1000)
            answer = connection.getresponse()
            if answer.status != 200 or len(answer.read()) != 1000:
                failed.append(answer.status)
            count[index] += 1
        connection.close()

    threads = [threading.Thread(target=load, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for number in range(20):
        wanted = sum(count) + 100
        served.until(lambda wanted=wanted: sum(count) >= wanted, 30)
        served.route(("b" if number % 2 else "a", other if number % 2 else served.one_port, 100.0))
    stop.set()
    for thread in threads:
        thread.join()
    assert not failed
    assert sum(count) >= 2000


def test_the_same_user_gets_the_same_release_and_weights_are_kept(served):
    _, other = served.runtime("b@1.0.0")
    served.route(("a", served.one_port, 50.0), ("b", other, 50.0))

    def release(user):
        return served.ask("GET", "/x", headers={"x-user-id": user})[1]["x-tuneline-release"]

    got = {f"user {number}": release(f"user {number}") for number in range(40)}
    assert {release(user) == had for user, had in got.items()} == {True}
    assert set(got.values()) == {"a@1.0.0", "b@1.0.0"}


def test_a_traffic_file_that_is_no_traffic_changes_nothing(served):
    (served.folder / TRAFFIC_FILE).write_text('{"endpoint": "e", "gener')
    time.sleep(0.1)
    assert served.ask()[0] == 200
    served.route(("a", served.one_port, 100.0))


# Its own life


def test_a_router_told_to_stop_ends_what_it_has_and_takes_nothing_new(served):
    connection = served.connection()
    connection.request("GET", "/stream?n=10&ms=30")
    answer = connection.getresponse()
    served.router.terminate()
    time.sleep(0.1)
    served.start_router()  # the socket is still there: whoever comes now waits for this one
    assert served.ask()[0] == 200
    assert answer.read().count(b"data:") == 10
    connection.close()
    assert served.children[-2].wait() == 0


def test_request_lines_say_who_answered_what_and_hold_no_user_and_no_query(served):
    served.ask("POST", "/echo?key=secret", b"hello", {"x-user-id": "ann", "x-request-id": "r1"})
    served.router.terminate()
    served.router.wait()
    (line,) = served.lines()
    assert {
        key: line[key] for key in ("id", "release", "method", "path", "status", "bytes_in", "bytes_out")
    } == {
        "id": "r1",
        "release": "a@1.0.0",
        "method": "POST",
        "path": "/echo",
        "status": 200,
        "bytes_in": 5,
        "bytes_out": 5,
    }
    assert line["ms"] > 0
    assert "ann" not in json.dumps(line)
    assert len(line["sticky"]) == 16


def test_its_own_figures_are_apart_from_the_runtime_s(served):
    served.ask()
    text = served.ask("GET", "/router/metrics")[2].decode()
    assert 'tuneline_router_requests_total{release="a@1.0.0",code="200"} 1' in text
    assert 'tuneline_router_request_duration_seconds_count{release="a@1.0.0"} 1' in text
    assert json.loads(served.ask("GET", "/metrics")[2])["release"] == "a@1.0.0"
    assert served.ask("GET", "/router/other")[0] == 404


def test_a_killed_router_refuses_no_connection(tmp_path, site):
    """Under its holder: requests in flight fail, all that come while there is no router are answered."""
    _, port = site.runtime("a@1.0.0")
    site.route(("a", port, 100.0), acknowledged=False)
    site.listening.close()
    command = [
        sys.executable,
        "-m",
        "tuneline.serve.holder",
        "--dir",
        str(tmp_path),
        "--port",
        str(site.port),
    ]
    holder = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    site.until(lambda: site.ack().get("generation") == 1)
    try:
        for _ in range(3):
            os.kill(json.loads((tmp_path / "holder.json").read_text())["router_pid"], signal.SIGKILL)
            assert site.ask()[0] == 200
    finally:
        holder.terminate()
        assert holder.wait() == 0
    with pytest.raises(ConnectionRefusedError):
        site.ask()
