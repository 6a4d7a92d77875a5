"""The router between real sockets, with several revisions: weights, overrides, shadows, limits, workers."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import replace

import pytest
from tests.serve.test_router import Site

from tuneline.serve import traffic as traffic_file
from tuneline.serve.traffic import TRAFFIC_FILE, Bodies, Limits, Revision, Shadow, Traffic, assign

pytestmark = pytest.mark.slow
CHAT = b'{"messages": []}'


@pytest.fixture
def site(tmp_path):
    """Two runtimes, `a` and `b`, behind a router."""
    site = Site(tmp_path)
    site.runtimes = {name: site.runtime(f"{name}@1.0.0") for name in "ab"}
    site.start_router()
    yield site
    site.close()


def traffic(site, a=100.0, b=0.0, **more):
    site.generation += 1
    listed = tuple(
        Revision(name, f"{name}@1.0.0", "127.0.0.1", site.runtimes[name][1], weight)
        for name, weight in (("a", a), ("b", b))
    )
    return Traffic("e", site.generation, listed, "seed", **more)


def apply(site, new):
    traffic_file.replace_json(site.folder / TRAFFIC_FILE, new.to_json())
    site.until(lambda: site.ack().get("generation") == new.generation)
    return new


def figures(site):
    text = site.ask("GET", "/router/metrics")[2].decode()
    rows = [row.rpartition(" ") for row in text.splitlines() if not row.startswith("#")]
    return {name.removeprefix("tuneline_router_"): float(value) for name, _, value in rows}


def background(site, *request):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(site.ask(*request)))
    thread.start()
    return thread, answers


def finished_lines(site):
    site.router.terminate()
    site.router.wait()
    return site.lines()


def hung(site, name):
    with socket.create_connection(("127.0.0.1", site.runtimes[name][1])) as client:
        client.sendall(b"GET /hung HTTP/1.1\r\nHost: a\r\n\r\n")
        return int(client.recv(1000).rpartition(b"\r\n")[2])


# Weights and overrides


def test_requests_follow_the_weights_and_a_sticky_header_of_one_s_own(site):
    new = apply(site, traffic(site, 50.0, 50.0, sticky_headers=("x-tenant",)))
    for number in range(30):
        got = site.ask("GET", "/x", None, {"x-tenant": f"t{number}", "x-user-id": "same"})[1]
        assert got["x-tuneline-release"] == assign(new, f"t{number}").release


def test_an_override_gets_what_it_names_is_marked_and_not_counted(site):
    apply(site, traffic(site))
    status, headers, _ = site.ask("GET", "/x", None, {"x-tuneline-release": "b@1.0.0"})
    assert (status, headers["x-tuneline-release"]) == (200, "b@1.0.0")
    status, _, body = site.ask("GET", "/x", None, {"x-tuneline-release": "9.9.9"})
    assert status == 404
    assert "a@1.0.0 (a), b@1.0.0 (b)" in json.loads(body)["error"]["message"]
    now = figures(site)
    assert now['override_requests_total{release="b@1.0.0",code="200"}'] == 1
    assert not any(name.startswith("requests_total") for name in now)
    assert [(each["release"], each["override"]) for each in finished_lines(site)] == [
        ("b@1.0.0", True),
        ("", True),
    ]


# Shadows


def test_a_copy_goes_to_the_shadow_and_its_line_says_whether_it_agrees(site):
    apply(site, traffic(site, shadow=Shadow("b"), bodies=Bodies(max_bytes=5)))
    same, differs = {"x-request-id": "same"}, {"x-request-id": "differs"}
    assert site.ask("POST", "/echo", b"hello world", same)[2] == b"hello world"
    assert json.loads(site.ask("POST", "/v1/chat/completions", CHAT, differs)[2])["release"] == "a@1.0.0"
    site.until(lambda: figures(site).get('mirrored_total{revision="b",agrees="true"}') == 1)
    site.until(lambda: figures(site).get('mirrored_total{revision="b",agrees="false"}') == 1)
    lines = {(each["id"], each["revision"]): each for each in finished_lines(site)}
    copy, live = lines["same", "b"], lines["same", "a"]
    assert (copy["shadow_of"], copy["agrees"], copy["status"], copy["release"]) == ("a", True, 200, "b@1.0.0")
    assert (live["request"], live["response"], copy["response"]) == ("hello", "hello", "hello")
    assert "request" not in copy
    assert "shadow_of" not in live
    assert lines["differs", "b"]["agrees"] is False


def test_a_body_in_chunks_is_copied_whole(site):
    apply(site, traffic(site, shadow=Shadow("b")))
    assert site.ask("POST", "/echo", (b"x" * 40_000 for _ in range(2)))[2] == b"x" * 80_000
    site.until(lambda: figures(site).get('mirrored_total{revision="b",agrees="true"}') == 1)


def test_a_slow_shadow_delays_nobody_and_what_is_too_much_is_dropped_and_counted(site):
    apply(site, traffic(site, shadow=Shadow("b", max_in_flight=2, timeout_s=30.0)))
    os.kill(site.runtimes["b"][0].pid, signal.SIGSTOP)
    for _ in range(5):
        assert site.ask("POST", "/echo", b"x", None)[0] == 200
    now = figures(site)
    assert (now["mirrors_in_flight"], now['mirrors_dropped_total{reason="full"}']) == (2, 3)
    apply(site, traffic(site))
    now = figures(site)
    assert (now["mirrors_in_flight"], now['mirrors_dropped_total{reason="withdrawn"}']) == (0, 2)
    assert site.ack()["in_flight"] == {"a": 0, "b": 0}


@pytest.mark.parametrize("how, status", [(signal.SIGKILL, 503), (signal.SIGSTOP, 504)])
def test_a_shadow_that_is_dead_or_too_slow_disagrees_and_nobody_notices(site, how, status):
    apply(site, traffic(site, shadow=Shadow("b", timeout_s=0.2)))
    os.kill(site.runtimes["b"][0].pid, how)
    if how == signal.SIGKILL:
        site.runtimes["b"][0].wait()
    assert site.ask("POST", "/echo", b"x")[0] == 200
    site.until(lambda: figures(site).get('mirrored_total{revision="b",agrees="false"}') == 1)
    assert [each["status"] for each in finished_lines(site)] == [200, status]


def test_what_a_client_hung_up_on_is_not_copied(site):
    apply(site, traffic(site, shadow=Shadow("b")))
    with site.raw(b"POST /slow?ms=5000 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"):
        site.until(lambda: figures(site).get('requests_in_flight{revision="a"}') == 1)
    site.until(lambda: hung(site, "a") == 1)
    assert [each["status"] for each in finished_lines(site)] == [499]


# Limits


def test_beyond_its_places_a_revision_is_not_asked_and_beyond_the_queue_nobody_waits(site):
    limits = Limits(max_concurrent=1, max_queue=1)
    apply(site, traffic(site, limits=limits))
    first = background(site, "GET", "/slow?ms=600")
    site.until(lambda: figures(site).get('requests_in_flight{revision="a"}') == 1)
    second = background(site, "POST", "/echo", b"x" * 100_000)
    site.until(lambda: figures(site).get('queued_requests{revision="a"}') == 1)
    status, headers, body = site.ask("GET", "/x")
    assert (status, headers["retry-after"], headers["x-tuneline-release"]) == (429, "1", "a@1.0.0")
    assert json.loads(body)["error"]["type"] == "rate_limit_error"
    for thread, _ in (first, second):
        thread.join()
    assert (first[1][0][0], second[1][0][0]) == (200, 200)
    assert second[1][0][2] == b"x" * 100_000
    assert figures(site)['rejected_total{revision="a",reason="full"}'] == 1
    assert site.ask("GET", "/x")[0] == 200


def test_who_waited_too_long_is_told_to_come_again_and_the_place_is_not_lost(site):
    apply(site, traffic(site, limits=Limits(max_concurrent=1, max_queue=5, queue_timeout_s=0.2)))
    first = background(site, "GET", "/slow?ms=800")
    site.until(lambda: figures(site).get('requests_in_flight{revision="a"}') == 1)
    status, headers, _ = site.ask("GET", "/x")
    assert (status, headers["retry-after"]) == (429, "1")
    first[0].join()
    assert site.ask("GET", "/x")[0] == 200
    now = figures(site)
    assert now['rejected_total{revision="a",reason="timeout"}'] == 1
    assert 'queued_requests{revision="a"}' not in now


def test_a_client_that_hangs_up_while_it_waits_leaves_the_queue(site):
    apply(site, traffic(site, limits=Limits(max_concurrent=1, max_queue=1)))
    first = background(site, "GET", "/slow?ms=800")
    site.until(lambda: figures(site).get('requests_in_flight{revision="a"}') == 1)
    with site.raw(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"):
        site.until(lambda: figures(site).get('queued_requests{revision="a"}') == 1)
    site.until(lambda: 'queued_requests{revision="a"}' not in figures(site))
    assert site.ask("GET", "/x")[0] == 200
    first[0].join()
    assert Counter(each["status"] for each in finished_lines(site)) == {200: 2, 499: 1}


def test_those_who_wait_follow_the_traffic_to_another_revision(site):
    limits = Limits(max_concurrent=1, max_queue=5)
    apply(site, traffic(site, limits=limits))
    first = background(site, "GET", "/slow?ms=3000")
    site.until(lambda: figures(site).get('requests_in_flight{revision="a"}') == 1)
    second = background(site, "GET", "/x")
    site.until(lambda: figures(site).get('queued_requests{revision="a"}') == 1)
    apply(site, traffic(site, 0.0, 100.0, limits=limits))
    second[0].join(timeout=2)
    assert json.loads(second[1][0][2])["release"] == "b@1.0.0"
    assert site.ack()["in_flight"]["a"] == 1
    first[0].join()


# Workers


def start_holder(site):
    site.router.terminate()
    site.router.wait()
    site.listening.close()
    words = ["--dir", str(site.folder), "--port", str(site.port), "--drain-s", "3"]
    command = [sys.executable, "-m", "tuneline.serve.holder", *words]
    holder = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    site.children.append(holder)
    return holder


def worker_pids(site):
    return {int(path.stem) for path in (site.folder / "workers").glob("*.json")}


def test_workers_agree_on_every_assignment_write_lines_apart_and_keep_the_socket(site):
    """Three processes: the same user gets the same release of each; killed ones come again."""
    holder = start_holder(site)
    new = apply(site, traffic(site, 50.0, 50.0, workers=3))
    assert len(worker_pids(site)) == 2
    asked = {}
    for _ in range(200):  # connections, until each of two workers had one
        pid, got = assignments(site)
        asked[pid] = got
        if len(asked) > 1:
            break
    assert len(asked) > 1
    wanted = [assign(new, f"u{number}").release for number in range(20)]
    assert all(got == wanted for got in asked.values())
    site.until(lambda: figures(site)["workers"] == 3)
    site.until(lambda: sum(v for k, v in figures(site).items() if k.startswith("requests_total")) >= 40)
    before = worker_pids(site)
    killed = min(before)
    os.kill(killed, signal.SIGKILL)
    for _ in range(10):
        with_retry(site)
    site.until(lambda: len(worker_pids(site) - {killed}) == 2)
    apply(site, traffic(site, 100.0, 0.0, workers=3))
    for _ in range(10):
        assert site.ask("GET", "/x")[1]["x-tuneline-release"] == "a@1.0.0"
    apply(site, traffic(site, 0.0, 100.0, workers=1))
    site.until(lambda: not worker_pids(site))
    holder.terminate()
    assert holder.wait() == 0
    assert len(site.lines()) >= 20  # of a killed process those of its last second are gone
    assert len({each["id"] for each in site.lines()}) == len(site.lines())


def assignments(site):
    """A worker's pid, and what twenty users get of it."""
    connection = site.connection()
    connection.request("GET", "/router/health")
    pid = json.loads(connection.getresponse().read())["pid"]
    got = []
    for number in range(20):
        connection.request("GET", "/x", None, {"x-user-id": f"u{number}"})
        answer = connection.getresponse()
        answer.read()
        got.append(answer.getheader("x-tuneline-release"))
    connection.close()
    return pid, got


def with_retry(site):
    """One request; a connection that the killed worker had taken is made once more."""
    try:
        status = site.ask("GET", "/x")[0]
    except (ConnectionError, OSError):
        status = site.ask("GET", "/x")[0]
    assert status == 200


def test_a_generation_is_acknowledged_only_when_all_workers_have_it(site):
    holder = start_holder(site)
    new = apply(site, traffic(site, workers=2))
    (other,) = worker_pids(site)
    os.kill(other, signal.SIGSTOP)
    try:
        newer = replace(new, generation=new.generation + 1)
        traffic_file.replace_json(site.folder / TRAFFIC_FILE, newer.to_json())
        site.until(lambda: json.loads(ask_first(site))["generation"] == newer.generation)
        assert site.ack()["generation"] == new.generation
    finally:
        os.kill(other, signal.SIGCONT)
    site.until(lambda: site.ack()["generation"] == newer.generation)
    holder.terminate()
    assert holder.wait() == 0


def ask_first(site):
    """The health of the worker that runs; one that is stopped takes no connection it would not answer."""
    return site.ask("GET", "/router/health")[2]


def test_what_is_under_way_in_any_worker_is_counted_and_outlives_a_killed_parent(site):
    holder = start_holder(site)
    apply(site, traffic(site, workers=2))
    streams = []
    parent = json.loads((site.folder / "holder.json").read_text())["router_pid"]
    while True:  # until one is with the worker that is not the parent
        client = socket.create_connection(("127.0.0.1", site.port), timeout=10)
        client.sendall(b"GET /router/health HTTP/1.1\r\nHost: a\r\n\r\n")
        data = client.recv(10_000)
        if b'"pid": %d' % parent not in data:
            break
        streams.append(client)
        assert len(streams) < 200
    client.sendall(b"GET /stream?n=40&ms=50 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert b"data:" in client.recv(10_000)
    site.generation += 1
    apply(site, replace(traffic(site, 0.0, 100.0, workers=2), generation=site.generation))
    assert site.ack()["in_flight"]["a"] == 1
    os.kill(parent, signal.SIGKILL)
    assert site.ask("GET", "/x")[0] == 200
    pieces = []
    while piece := client.recv(10_000):
        pieces.append(piece)
    assert b"".join(pieces).endswith(b"0\r\n\r\n")
    site.until(lambda: site.ack()["in_flight"].get("a", 0) == 0)
    for each in (client, *streams):
        each.close()
    holder.terminate()
    assert holder.wait() == 0
