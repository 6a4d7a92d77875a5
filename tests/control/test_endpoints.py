"""Endpoints brought to what is wanted: real holders, routers and runtimes, killed in every way."""

import json
import os
import signal
import socket
import threading

import pytest

pytestmark = pytest.mark.slow


def test_a_first_release_goes_live_and_the_record_says_why(world):
    world.up()
    world.store.want("m@1.0.0")
    world.until_live("m@1.0.0")
    assert world.answered_by() == "m@1.0.0"
    assert world.store.history == [("m@1.0.0", "asked for", "ann")]
    seen = world.seen()
    assert seen["url"] == f"http://127.0.0.1:{seen['port']}"
    assert [(each["state"], each["weight"]) for each in seen["revisions"]] == [("live", 100.0)]


def switched(world):
    """1.0.0 was live and is kept, 1.0.1 is live."""
    world.up()
    world.store.want("m@1.0.0")
    world.until_live("m@1.0.0")
    world.store.want("m@1.0.1")
    world.until_live("m@1.0.1")


def test_a_new_release_takes_over_and_the_old_one_stays_warm(world):
    switched(world)
    assert world.answered_by() == "m@1.0.1"
    old = world.revision("m@1.0.0")
    assert (old["state"], old["weight"]) == ("warm", 0.0)
    assert os.path.exists(f"/proc/{old['pid']}")


def test_going_back_to_a_warm_release_starts_nothing(world):
    switched(world)
    before = list(world.launching.started)
    world.store.want("m@1.0.0")
    world.until_live("m@1.0.0")
    assert world.answered_by() == "m@1.0.0"
    assert world.launching.started == before


def test_what_was_kept_long_enough_is_stopped(world):
    world.up()
    world.store.want("m@1.0.0")
    world.until_live("m@1.0.0")
    world.store.want("m@1.0.1", keep_s=0.0)
    world.until_live("m@1.0.1")
    world.until(lambda: world.revision("m@1.0.0") is None)
    assert len([each for each in world.processes() if "runtime_program" in " ".join(each.cmdline())]) == 1


def test_no_request_fails_while_releases_take_over_from_each_other(world):
    """Six switches under load; each stream ends whole and comes from one release alone."""
    world.up()
    world.store.want("m@1.0.0")
    world.until_live("m@1.0.0")
    stop, failed, done = threading.Event(), [], []

    def load(path, expected):
        while not stop.is_set():
            status, body = world.ask(path)
            lines = body.split(b"\n\n")[:-1] if b"data:" in body else [body]
            whole = status == 200 and len(lines) == expected
            (done if whole else failed).append((status, body))
            if len({line.split()[1] for line in lines}) != 1:
                failed.append(body)

    threads = [threading.Thread(target=load, args=("/stream?n=8&ms=5", 8)) for _ in range(2)]
    threads += [threading.Thread(target=load, args=("/v1/completions", 1)) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for number in range(1, 7):
            world.store.want(f"m@1.0.{number}", keep_s=0.0)
            world.until_live(f"m@1.0.{number}")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failed
    assert len(done) > 100


@pytest.mark.parametrize(
    "release, said",
    [
        ("bad@2.0.0", "The adapter does not fit its base."),
        ("unproven@2.0.0", "never proven"),
        ("gone@2.0.0", "There is no release"),
        ("stuck@2.0.0", "was not ready within 1 seconds"),
    ],
)
def test_a_release_that_does_not_start_leaves_the_old_one_serving(world, release, said):
    world.up(start_timeout_s=1.0)
    world.store.want("m@1.0.0")
    world.until_live("m@1.0.0")
    world.store.want(release)
    world.until_phase("failed")
    assert said in world.seen()["message"]
    assert "m@1.0.0 stays live" in world.seen()["message"]
    assert world.answered_by() == "m@1.0.0"
    assert [entry[0] for entry in world.store.history] == ["m@1.0.0"]
    assert world.launching.started.count(release) == {"bad@2.0.0": 3, "stuck@2.0.0": 1}.get(release, 0)
    world.store.want("m@1.0.2")
    world.until_live("m@1.0.2")
    assert world.revision(release) is None


def test_a_release_that_was_compared_with_another_one_does_not_go_live(world):
    switched(world)
    world.store.want("m@1.0.2", live_digest="sha256:m@1.0.0")
    world.until_phase("failed")
    assert "Run the project again" in world.seen()["message"]
    assert world.answered_by() == "m@1.0.1"


def test_a_killed_runtime_comes_back_and_requests_wait_for_it(world):
    world.up()
    world.store.want("m@1.0.0")
    world.until_live("m@1.0.0")
    os.kill(world.revision("m@1.0.0")["pid"], signal.SIGKILL)
    assert world.answered_by() == "m@1.0.0"
    assert len(world.store.history) == 1


def test_a_killed_router_and_then_a_killed_holder_come_back_at_the_same_port(world):
    world.up()
    world.store.want("m@1.0.0")
    world.until_live("m@1.0.0")
    port = world.seen()["port"]
    holder = json.loads((world.folder / "e" / "holder.json").read_text())
    os.kill(holder["router_pid"], signal.SIGKILL)
    assert world.answered_by() == "m@1.0.0"  # the connection waits in the socket that the holder keeps
    os.kill(holder["pid"], signal.SIGKILL)
    world.until(lambda: read(world.folder / "e" / "holder.json").get("pid", holder["pid"]) != holder["pid"])
    assert world.answered_by() == "m@1.0.0"
    assert world.seen()["port"] == port


def read(path):
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:  # between two holders
        return {}


def test_the_next_server_adopts_what_runs_and_starts_nothing_twice(world):
    switched(world)
    before = sorted(each.pid for each in world.processes())
    world.server_dies()
    assert world.answered_by() == "m@1.0.1"
    world.up()
    world.store.want("m@1.0.2")
    world.until_live("m@1.0.2")
    after = sorted(each.pid for each in world.processes())
    assert set(before) < set(after)
    assert len(after) == len(before) + 1


def test_what_took_over_while_no_server_ran_is_recorded_from_when_it_did(world):
    """The server was killed between telling the router and writing that down, and came back later."""
    world.up()
    world.store.want("m@1.0.0")
    world.until_live("m@1.0.0")
    world.server_dies()
    world.store.lives.clear()
    file = world.folder / "e" / "traffic.json"
    an_hour_ago = file.stat().st_mtime - 3600.0
    os.utime(file, (an_hour_ago, an_hour_ago))
    world.up()
    world.until_live("m@1.0.0")
    assert world.store.since["e"] == an_hour_ago


def test_a_runtime_that_the_record_does_not_know_is_ended_by_the_next_server(world):
    """The server was killed between starting it and writing that down."""
    world.up()
    world.store.want("m@1.0.0")
    world.until_live("m@1.0.0")
    world.server_dies()
    pid = world.revision("m@1.0.0")["pid"]
    world.store.seen["e"]["revisions"] = []
    world.up()
    world.until_live("m@1.0.0")
    world.until(lambda: world.revision("m@1.0.0") is not None)
    assert world.revision("m@1.0.0")["pid"] != pid
    assert pid not in [each.pid for each in world.processes()]


def test_stopping_all_leaves_no_process_and_starting_again_serves_the_same(world):
    switched(world)
    port = world.seen()["port"]
    world.controller.stop(all=True)
    assert world.processes() == []
    assert world.seen()["phase"] == "stopped"
    world.up()
    world.until_live("m@1.0.1")
    assert world.answered_by() == "m@1.0.1"
    assert world.seen()["port"] == port
    assert [entry[0] for entry in world.store.history] == ["m@1.0.0", "m@1.0.1"]


def test_nothing_wanted_means_nothing_left(world):
    switched(world)
    world.store.want(None)
    world.until_phase("stopped")
    world.until(lambda: world.processes() == [])
    assert world.store.live("e") is None
    assert world.store.history[-1][0] is None


def test_a_taken_port_is_named_with_who_has_it_and_used_once_it_is_free(world):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        world.up()
        world.store.want("m@1.0.0", port=port)
        world.until_phase("failed")
        assert f"Port {port} on 127.0.0.1 is taken by" in world.seen()["message"]
        assert f"(process {os.getpid()})" in world.seen()["message"]
        assert "deploy.port" in world.seen()["message"]
    world.until_live("m@1.0.0")
    assert world.seen()["port"] == port


def test_two_endpoints_get_two_ports_and_keep_them(world):
    world.up()
    world.store.want("m@1.0.0", endpoint="a")
    world.store.want("n@1.0.0", endpoint="b")
    world.until_live("m@1.0.0", "a")
    world.until_live("n@1.0.0", "b")
    assert world.seen("a")["port"] != world.seen("b")["port"]
    assert b"n@1.0.0" in world.ask(endpoint="b")[1]


def test_limits_bodies_and_workers_apply_without_a_restart(world):
    world.up()
    world.store.want("m@1.0.0")
    world.until_live("m@1.0.0")
    before, files = world.revision("m@1.0.0")["pid"], world.folder / "e"
    world.store.want(
        "m@1.0.0", max_concurrent=3, max_queue=7, queue_timeout_s=2.0, keep_bodies=0.5, workers=2
    )
    world.until(lambda: read(files / "traffic.json")["workers"] == 2)
    written = read(files / "traffic.json")
    world.until(lambda: read(files / "ack.json")["generation"] == written["generation"])
    limits = written["limits"]
    assert (limits["max_concurrent"], limits["max_queue"], limits["queue_timeout_s"]) == (3, 7, 2.0)
    assert written["bodies"] == {"max_bytes": 65536, "share": 0.5}
    assert len(list((files / "workers").glob("*.json"))) == 1
    assert world.revision("m@1.0.0")["pid"] == before
    assert world.answered_by() == "m@1.0.0"
