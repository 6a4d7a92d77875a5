"""The two steps that talk to the server, over HTTP to a real one with a real record."""

import json
import os
import socket
import threading

import pytest
import uvicorn
from click.testing import CliRunner
from tests import vllm_stand_in
from tests.cli.test_compared import COMPARISON

from tuneline.actions import Platform
from tuneline.actions.ports import Server
from tuneline.cli.main import cli
from tuneline.execute.files import digest_path
from tuneline.record.record import Record
from tuneline.steps import asking
from tuneline.steps.main import main
from tuneline.web import create_app


@pytest.fixture
def server(tmp_path, monkeypatch):
    """The API over SQLite, about 60 ms; its URL is in the environment, as the runner puts it there."""
    record = Record(f"sqlite:///{tmp_path / 'tuneline.db'}")
    record.migrate()
    platform = Platform(record, None, Server("127.0.0.1", 0, 1, tmp_path, "0", 0.0, "ann"), lambda all: None)
    listening = socket.create_server(("127.0.0.1", 0))
    served = uvicorn.Server(uvicorn.Config(create_app(platform), lifespan="off", log_config=None))
    thread = threading.Thread(target=served.run, kwargs={"sockets": [listening]})
    thread.start()
    monkeypatch.setenv("TUNELINE_URL", f"http://127.0.0.1:{listening.getsockname()[1]}")
    monkeypatch.setenv("TUNELINE_HOME", str(tmp_path))
    yield platform
    platform.close()
    served.should_exit = True
    thread.join()
    listening.close()
    record.close()


@pytest.fixture(autouse=True)
def no_server(monkeypatch):
    monkeypatch.delenv("TUNELINE_URL", raising=False)


def run_step(name, folder, parameters, inputs=(), outputs=()):
    """(exit code, its output parameters or error, uri of each output artifact)."""
    folder.mkdir(parents=True)

    def artifacts(paths):
        return {key: {"artifacts": [{"uri": str(path)}]} for key, path in dict(paths).items()}

    body = {
        "inputs": {"parameterValues": parameters, "artifacts": artifacts(inputs)},
        "outputs": {
            "outputFile": str(folder / "out.json"),
            "artifacts": artifacts({key: folder / key for key in outputs}),
        },
    }
    code = main(name, json.dumps(body))
    if code:
        return code, json.loads((folder / "error.json").read_text()), {}
    out = json.loads((folder / "out.json").read_text())
    return (
        code,
        out["parameterValues"],
        {key: v["artifacts"][0]["uri"] for key, v in out["artifacts"].items()},
    )


def live(folder, init_adapter=""):
    parameters = {"model": "m", "endpoint": "m", "init_adapter": init_adapter}
    return run_step("live", folder, parameters, outputs=("package", "init"))


def write_package(folder, weights="one"):
    (folder / "adapter").mkdir(parents=True)
    (folder / "adapter" / "adapter_config.json").write_text("{}")
    (folder / "adapter" / "weights").write_text(weights)
    manifest = {"schema": 1, "model": "m", "base": {"name": "b", "file_sha256": "1"}, "labels": ["a", "b"]}
    manifest |= {name: f"sha256:{weights}" for name in ("adapter_digest", "served_digest")}
    manifest |= {
        "template_hash": "sha256:t",
        "tokenizer_hash": "sha256:k",
        "recipe_digest": f"sha256:{weights}",
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return manifest


def propose(folder, weights="one", *, passed=True, live_digest="", monitor=None, **verdict):
    manifest = write_package(folder / "package", weights)
    (folder / "base").mkdir()
    (folder / "base" / "model.safetensors").write_text("weights")
    names = ("adapter_digest", "served_digest", "template_hash", "tokenizer_hash")
    told = {
        "verdict": {
            "passed": passed, **verdict,
            "rules": [{"rule": "accuracy > 0.8", "passed": passed, "reason": ""}],
        },
        "proof": {
            "passed": True, "runtime": "llamacpp", "base_digest": digest_path(folder / "base")[0],
            **{name: manifest[name] for name in names},
        },
        "report": {"rows": 1},
    }  # fmt: skip
    for name, value in told.items():
        (folder / name).write_text(json.dumps(value))
    inputs = {name: folder / name for name in ("package", "base", *told)}
    deploy = {"endpoint": "m", "runtime": "llamacpp", "port": 0, "keep_s": 60}
    parameters = {
        "model": "m",
        "deploy": deploy,
        "monitor": {"keep_s": 90} if monitor is None else monitor,
        "live_digest": live_digest,
        "passed": passed,
    }
    return run_step("propose", folder / "propose", parameters, inputs)


def test_live_says_which_vllm_is_there_and_fails_before_training_where_none_is(tmp_path, monkeypatch):
    parameters = {"model": "m", "endpoint": "m", "init_adapter": "", "vllm": {"gpus": 1}}
    monkeypatch.setenv("TUNELINE_VLLM_PYTHON", str(vllm_stand_in.home(tmp_path / "vllm")))
    _, said, _ = run_step("live", tmp_path / "there", parameters, outputs=("package", "init"))
    assert said["vllm"].startswith("0.32.1")
    monkeypatch.setenv("TUNELINE_VLLM_PYTHON", str(tmp_path / "nowhere"))
    code, error, _ = run_step("live", tmp_path / "gone", parameters, outputs=("package", "init"))
    assert (code, error["code"], error["retry"]) == (1, "missing_part", False)
    assert f"TUNELINE_VLLM_PYTHON is {tmp_path}/nowhere" in error["message"]
    assert "pip install vllm" in error["hint"]


def test_nothing_is_live_before_the_first_release(server, tmp_path):
    code, said, paths = live(tmp_path / "live")
    assert (code, said) == (0, {"release": "", "digest": "", "base": ""})
    assert (
        list((tmp_path / "live" / "package").iterdir()) == list((tmp_path / "live" / "init").iterdir()) == []
    )
    assert paths["package"] == str(tmp_path / "live" / "package")


def test_a_passed_package_becomes_a_release_once(server, tmp_path):
    code, said, _ = propose(tmp_path / "first")
    assert code == 0, said
    assert said == {"release": "m@1.0.0", "state": "approved", "reason": "first release"}
    (wanted,) = server.record.endpoints.desired()
    assert (wanted.keep_s, wanted.monitor) == (60, {"keep_s": 90})
    code, again, _ = propose(tmp_path / "again")
    assert again["release"] == "m@1.0.0"
    assert again["reason"].startswith("identical")


def test_a_release_keeps_what_it_was_compared_with_and_shows_it(server, tmp_path):
    models = {**COMPARISON["models"], "candidate": {}}  # own code: its digest is known as it is packed
    code, said, _ = propose(tmp_path / "first", comparison={**COMPARISON, "models": models})
    assert code == 0, said
    shown = CliRunner().invoke(cli, ["releases", "show", "m@1.0.0"])
    assert shown.exit_code == 0, shown.output
    for part in (
        "compared         set   slice       rows  metric    candidate    base    live  difference to live",
        "                 hard  all           90  accuracy     0.9100       -  0.9500  -0.0400",
        "latency          candidate: p50 0.1000 s, p95 0.2500 s",
        "what             candidate: sha256:one",
        "                 live: reviews@1.0.0 sha256:l",
    ):
        assert part in shown.output
    kept = json.loads(CliRunner().invoke(cli, ["releases", "show", "m@1.0.0", "--json"]).output)
    assert kept["verdict"]["comparison"]["sets"] == COMPARISON["sets"]


def test_how_an_endpoint_is_watched_goes_with_its_release(server, tmp_path):
    watched = {"drift": {"window": 300, "detectors": ["errors"]}}
    code, said, _ = propose(tmp_path / "first", monitor=watched)
    assert code == 0, said
    settings = server.drift.of("m")["settings"]
    assert (settings["window"], settings["detectors"], settings["alpha"]) == (300, ["errors"], 0.05)


def test_a_refused_package_is_recorded_as_rejected(server, tmp_path):
    code, said, _ = propose(tmp_path / "first", passed=False)
    assert (code, said["release"], said["state"]) == (0, "m@1.0.0", "rejected")


def test_a_release_that_went_live_meanwhile_is_a_conflict(server, tmp_path):
    propose(tmp_path / "first")
    code, error, _ = propose(tmp_path / "second", "two", live_digest="sha256:another")
    assert (code, error["code"]) == (1, "conflict")


def test_training_goes_on_from_a_release(server, tmp_path):
    propose(tmp_path / "first")
    code, _, paths = live(tmp_path / "live", init_adapter="m@1.0.0")
    assert code == 0
    assert paths["init"] == str(tmp_path / "first" / "package" / "adapter")


def test_training_goes_on_from_a_folder_with_or_without_a_server(tmp_path):
    write_package(tmp_path / "package")
    for number, folder in enumerate((tmp_path / "package", tmp_path / "package" / "adapter")):
        _, _, paths = live(tmp_path / str(number), init_adapter=str(folder))
        assert paths["init"] == str(tmp_path / "package" / "adapter")


def test_training_goes_on_from_what_is_live_or_says_that_it_starts_from_the_base(server, tmp_path):
    def notes(name):
        return (tmp_path / name / "events.jsonl").read_text()

    _, _, paths = live(tmp_path / "none", init_adapter="live")
    assert list((tmp_path / "none" / "init").iterdir()) == []
    assert "Nothing is live at m: training starts from the base." in notes("none")
    propose(tmp_path / "first")
    digest = digest_path(tmp_path / "first" / "package")[0]
    server.record.endpoints.went_live("m", "m@1.0.0", "", "it is good", "ann", 1.0)
    code, said, paths = live(tmp_path / "some", init_adapter="live")
    assert (said["release"], said["digest"]) == ("m@1.0.0", digest)
    assert paths["init"] == str(tmp_path / "first" / "package" / "adapter")
    assert "Training goes on from m@1.0.0." in notes("some")


def test_what_is_no_adapter_to_go_on_from_is_refused(server, tmp_path):
    (tmp_path / "empty").mkdir()
    said = {
        "nowhere": "neither a folder nor a release",
        str(tmp_path / "empty"): "holds no adapter",
        "m@9.9.9": "There is no model `m`",
    }
    for number, (wanted, message) in enumerate(said.items()):
        code, error, _ = live(tmp_path / f"live{number}", init_adapter=wanted)
        assert code == 1
        assert message in error["message"]
        assert error["hint"]


def test_without_a_server_what_is_live_is_unknown_and_a_package_waits(tmp_path):
    code, said, _ = live(tmp_path / "live")
    unknown = "unknown: no server: TUNELINE_URL is unset"
    assert (code, said) == (0, {"release": "", "digest": unknown, "base": ""})
    code, said, _ = propose(tmp_path / "first", live_digest=said["digest"])
    assert (code, said["release"], said["state"]) == (0, "", "candidate")
    code, error, _ = live(tmp_path / "init", init_adapter="m@1.0.0")
    assert (code, error["code"]) == (2, "invalid_setting")


def test_a_server_that_does_not_answer_may_be_asked_again(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNELINE_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("TUNELINE_HOME", str(tmp_path))
    monkeypatch.setattr(asking.asked, "__defaults__", (0.1, lambda seconds: None))
    code, error, _ = live(tmp_path / "live")
    assert (code, error["code"], error["retry"]) == (1, "network", True)


def test_a_server_that_comes_back_at_another_port_is_found(server, tmp_path):
    where = {"url": os.environ["TUNELINE_URL"], "home": str(tmp_path), "pid": 1}
    env = {"TUNELINE_URL": f"http://127.0.0.1:{free_port()}", "TUNELINE_HOME": str(tmp_path)}

    def server_starts(seconds):
        (tmp_path / "server.json").write_text(json.dumps(where))

    assert asking.asked(env, lambda client: client.healthz(), sleep=server_starts)["home"] == str(tmp_path)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]
