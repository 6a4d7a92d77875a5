"""The runtime `pyfunc` as it is deployed: the real program, a real child with the model, asked over HTTP."""

import sys
import threading
from pathlib import Path

import httpx
import pytest
from tests.serve.pyfunc_package import SERVE, pyfunc_package

from tuneline.errors import ModelError
from tuneline.serve import child
from tuneline.serve.interpreters import version_of
from tuneline.serve.pyfunc import MAX_BODY

pytestmark = pytest.mark.slow


def running(folder: Path):
    words = ["--runtime", "pyfunc", "--model", "flows", "--release", "flows@1.0.0"]
    return child.running([*words, "--package", folder, "--python", sys.executable])


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with (
        running(pyfunc_package(tmp_path_factory.mktemp("release") / "package")) as url,
        httpx.Client(base_url=url, timeout=30, trust_env=False) as found,
    ):
        yield found


def test_rows_in_predictions_out(client):
    answer = client.post("/invocations", json={"dataframe_records": [{"x": 1}, {"x": 2}]})
    assert (answer.status_code, answer.json()) == (200, {"predictions": [{"label": 10}, {"label": 20}]})
    assert answer.headers["x-tuneline-release"] == "flows@1.0.0"
    split = {"dataframe_split": {"columns": ["x"], "data": [[4]]}, "params": {"by": 2}}
    assert client.post("/invocations", json=split).json() == {"predictions": [{"label": 8}]}


@pytest.mark.parametrize("how", [{"headers": {"x-tuneline-manifest": "1"}}, {"params": {"manifest": "1"}}])
def test_the_manifest_comes_along_when_it_is_asked_for(client, how):
    found = client.post("/invocations", json={"inputs": {"x": [3]}}, **how).json()
    assert found["predictions"] == [{"label": 30}]
    assert found["manifest"]["release"] == "flows@1.0.0"
    assert found["manifest"]["model"] == "flows"
    assert "served/code/serve.py" in found["manifest"]["files"]


def test_what_json_has_no_word_for_is_null(client):
    assert client.post("/invocations", json={"inputs": "nan"}).json() == {"predictions": [None, None, 1.5]}


def test_an_error_of_the_user_s_code_is_its_message_and_the_next_request_is_answered(client):
    answer = client.post("/invocations", json={"instances": [{"y": 1}]})
    body = answer.json()
    assert answer.status_code == 500
    assert body["error_code"] == "INTERNAL_ERROR"
    assert "`serve.py:load` failed: KeyError: 'x'" in body["message"]
    assert 'File "serve.py"' in body["stack_trace"]
    assert client.post("/invocations", json={"instances": [{"x": 1}]}).status_code == 200


@pytest.mark.parametrize(
    "request_, status",
    [
        ({"content": b"{"}, 400),
        ({"json": {"rows": []}}, 400),
        ({"content": b"x,y\n1,2", "headers": {"content-type": "text/csv"}}, 415),
        ({"content": b" " * (MAX_BODY + 1)}, 413),
        ({"content": (b" " * 65536 for _ in range(MAX_BODY // 65536 + 1))}, 413),
    ],
)
def test_a_request_that_cannot_be_answered_is_refused_as_mlflow_does(client, request_, status):
    answer = client.post("/invocations", **request_)
    assert (answer.status_code, answer.json()["error_code"]) == (status, "BAD_REQUEST")


def test_health_version_and_figures_have_the_names_of_the_other_runtimes(client):
    client.post("/invocations", json={"instances": [{"x": 1}]})
    for path in ("/ping", "/health"):
        assert client.get(path).json() == {"status": "ok", "release": "flows@1.0.0"}
    version = client.get("/version").json()
    assert version["runtime"] == "pyfunc"
    assert version["runtime_version"] == version_of(
        Path(sys.executable), {"requirements": ["httpx>=0.1", "pytest"]}
    )
    assert "httpx " in version["runtime_version"]
    text = client.get("/metrics").text
    assert 'vllm:request_success_total{engine="0",finished_reason="stop",model_name="flows"}' in text
    assert 'tuneline_release_info{model="flows",quantization="none",release="flows@1.0.0"' in text
    assert client.get("/v1/models").json()["error_code"] == "NOT_FOUND"


def test_many_at_once_each_get_their_own(client):
    got: dict[int, int] = {}

    def ask(number: int) -> None:
        answer = client.post("/invocations", json={"instances": [{"x": number}]})
        got[number] = answer.json()["predictions"][0]["label"]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == {number: 10 * number for number in range(24)}


def test_a_model_that_dies_ends_the_runtime_so_that_it_is_started_anew(tmp_path):
    with running(pyfunc_package(tmp_path / "package")) as url:
        answer = httpx.post(f"{url}/invocations", json={"inputs": "die"}, timeout=30, trust_env=False)
        assert (answer.status_code, answer.json()["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")


@pytest.mark.parametrize(
    "serve, said",
    [
        (
            "def load(folder): raise OSError('no such forest')",
            "`serve.py:load` failed: OSError: no such forest",
        ),
        ("def load(folder): return 3", "gave int, which has no `predict`"),
        ("import os\ndef load(folder): os._exit(0)", "its process ended while loading"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_said_why(tmp_path, serve, said):
    with pytest.raises(ModelError) as caught, running(pyfunc_package(tmp_path / "package", serve)):
        pass
    assert said in "\n".join(caught.value.details)


def test_a_changed_package_is_not_served(tmp_path):
    folder = pyfunc_package(tmp_path / "package")
    (folder / "served/code/serve.py").write_text(SERVE + "\n")
    with pytest.raises(ModelError) as caught, running(folder):
        pass
    assert "served/code/serve.py was changed" in "\n".join(caught.value.details)
