"""Every route by plain HTTP: shapes, refusals, limits."""

import base64
import io
import json
import tarfile
import threading
import time
from pathlib import Path

import pytest
from tests.execute.doubles import pipeline

from tuneline.errors import NotFoundError

pytestmark = pytest.mark.slow


def spec(tasks=None, name="plain", **inputs):
    body = pipeline(tasks or {"a": {"sh": "echo said; true"}}, name)
    if inputs:
        body["root"]["inputDefinitions"] = {"parameters": inputs}
    return body


def started(http, body=None, **more):
    answer = http.post("/runs", json={"display_name": "r", "pipeline_spec": body or spec(), **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def ended(http, run):
    deadline = time.monotonic() + 20
    while True:
        found = http.get(f"/runs/{run}").json()
        if found["state"] in ("SUCCEEDED", "FAILED", "CANCELED"):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.02)


def refused(answer, status, code, words=""):
    body = answer.json()
    assert (answer.status_code, body["code"]) == (status, code), answer.text
    assert words in body["message"], body
    assert body["details"] == [
        {"@type": "type.googleapis.com/google.rpc.Status", "code": code, "message": body["message"]}
    ]
    return body


def test_health_is_said_in_both_words(http, url):
    said = http.get("/healthz").json()
    assert (said["multi_user"], said["pipeline_store"], said["tag_name"]) == (False, "database", "2.17.0")
    assert said["commit_sha"]
    both = http.get(f"{url}/healthz").json()
    assert (both | said, both["status"]) == (both, "ok")
    assert "home" not in said  # everybody may ask it


def test_an_empty_list_is_an_empty_object(http):
    assert http.get("/runs").json() == {}
    assert http.get("/pipelines").json() == {}
    assert http.get("/artifacts").json() == {}
    only = http.get("/experiments").json()
    assert [each["display_name"] for each in only["experiments"]] == ["Default"]
    assert only["total_size"] == 1
    assert "next_page_token" not in only


def test_the_next_version_of_the_api_has_the_same(http, url):
    assert http.get(f"{url}/apis/v2/experiments").json() == http.get("/experiments").json()


def test_unset_values_are_left_out_and_times_are_in_utc(http):
    made = http.post("/experiments", json={"display_name": "bare"}).json()
    assert set(made) == {"experiment_id", "display_name", "created_at", "storage_state"}
    assert made["created_at"].endswith("Z")


def test_a_request_may_spell_its_fields_either_way_and_an_unknown_one_is_refused(http):
    assert http.post("/experiments", json={"displayName": "camel"}).json()["display_name"] == "camel"
    refused(
        http.post("/experiments", json={"display_name": "x", "colour": 1}), 400, 3, 'unknown field "colour"'
    )
    both = {"display_name": "x", "displayName": "y"}
    refused(http.post("/experiments", json=both), 400, 3, "duplicate field")
    refused(http.post("/experiments", json={"display_name": 5}), 400, 3, "display_name")
    refused(http.post("/experiments", json={}), 400, 3, "name is empty")
    refused(http.post("/experiments", json={"display_name": "x" * 129}), 400, 3, "cannot exceed 128")
    nested = {"display_name": "r", "pipeline_spec": spec(), "runtime_config": {"parameter": {}}}
    refused(http.post("/runs", json=nested), 400, 3, "runtime_config")


NO_OBJECTS = ["{", "[1]", '"x"', '{"display_name": NaN}', "[" * 100_000, b"\xff\xfe"]


def test_a_body_that_is_no_json_object_is_refused(http):
    for body in NO_OBJECTS:
        refused(http.post("/experiments", content=body), 400, 3)


def test_names_that_no_database_takes_are_refused(http):
    refused(http.post("/experiments", content='{"display_name": "a\\u0000b"}'), 400, 3, "NUL")
    refused(http.post("/experiments", content='{"display_name": "a\\ud800b"}'), 400, 3, "surrogate")
    refused(http.post("/experiments", content='{"\\ud800": 1}'), 400, 3, "unknown field")
    refused(http.post("/pipelines", content='{"name": "p", "tags": {"\\ud800": "1"}}'), 400, 3, "surrogate")
    assert http.post("/experiments", json={"display_name": "実験 😀 %_'\""}).status_code == 200


def test_half_of_a_surrogate_pair_in_a_parameter_does_not_break_the_list(http):
    body = {"display_name": "r", "pipeline_spec": spec(n={"parameterType": "STRING"})}
    body["runtime_config"] = {"parameters": {"n": "\ud800"}}
    assert http.post("/runs", content=json.dumps(body)).status_code == 200
    (run,) = http.get("/runs").json()["runs"]
    assert run["runtime_config"]["parameters"] == {"n": "\ud800"}


def test_addresses_that_no_database_takes_are_refused(http):
    refused(http.get("/runs/a%00b"), 400, 3, "NUL")
    refused(http.get("/runs?experiment_id=a%00b"), 400, 3, "NUL")
    assert http.get("/runs/%ff%fe").status_code == 404
    assert http.post("/pipelines/upload?name=a%00b", files={"uploadfile": b"x"}).status_code == 400


def test_a_body_too_large_is_refused_before_it_is_read(http):
    answer = http.post("/experiments", content=b" " * (33 << 20))
    refused(answer, 413, 8, "larger than")

    def pieces():
        for _ in range(33):
            yield b" " * (1 << 20)

    refused(http.post("/experiments", content=pieces()), 413, 8, "larger than")


def test_what_is_not_there_is_said_in_kfps_shape(http, url):
    for path in ("/runs/none", "/experiments/none", "/pipelines/none", "/pipelines/names/none",
                 "/pipelines/none/versions", "/pipelines/none/versions/none", "/artifacts/none",
                 "/artifacts/99", "/runs?experiment_id=none", "/tasks/none"):  # fmt: skip
        refused(http.get(path), 404, 5, "not found")
    refused(http.get("/nothing"), 404, 5, "Not Found")
    refused(http.get(f"{url}/apis/v1beta1/runs"), 404, 5, "v2beta1")
    refused(http.put("/runs"), 501, 12)
    refused(http.post("/workflows", json={}), 501, 12, "Argo")
    assert http.get("/auth?namespace=x&verb=GET&resources=VIEWERS").json() == {}


def test_the_namespace_is_ignored(http):
    assert http.get("/experiments?namespace=kubeflow").json()["total_size"] == 1
    made = http.post("/experiments", json={"display_name": "n", "namespace": "kubeflow"}).json()
    assert "namespace" not in made


def test_errors_inside_leave_in_kfps_shape_too(http, platform, monkeypatch):
    monkeypatch.setattr(platform.kfp.experiments, "page", lambda listing: 1 / 0)
    refused(http.get("/experiments"), 500, 13, "ZeroDivisionError")


def test_a_run_made_of_a_spec_is_pending_and_says_what_it_was_given(http):
    document = spec(n={"parameterType": "NUMBER_INTEGER"}, flag={"parameterType": "BOOLEAN"})
    made = started(
        http, document, runtime_config={"parameters": {"n": 3.0, "flag": True}, "pipeline_root": "/r"},
        service_account="sa", description="words", scheduled_at="2026-11-21T12:00:00Z",
        plugins_input={"mlflow": {"on": True}},
    )  # fmt: skip
    assert made["state"] == "PENDING"
    assert [entry["state"] for entry in made["state_history"]] == ["PENDING"]
    assert made["runtime_config"] == {"parameters": {"n": 3.0, "flag": True}, "pipeline_root": "/r"}
    assert (made["service_account"], made["description"]) == ("sa", "words")
    assert made["scheduled_at"] == "2026-11-21T12:00:00Z"
    at_once = started(http)
    assert at_once["scheduled_at"] == at_once["created_at"]
    due = {"operation": "EQUALS", "key": "scheduled_at", "timestamp_value": at_once["created_at"]}
    found = http.get("/runs", params={"filter": json.dumps({"predicates": [due]})}).json()
    assert [run["run_id"] for run in found["runs"]] == [at_once["run_id"]]
    assert made["plugins_input"] == {"mlflow": {"on": True}}
    assert made["pipeline_spec"] == document
    assert made["storage_state"] == "AVAILABLE"
    shown = ended(http, made["run_id"])
    assert shown["state"] == "SUCCEEDED"
    assert shown["experiment_id"] == made["experiment_id"]


def test_any_number_of_runs_of_one_pipeline_is_under_way_at_once(http):
    runs = [started(http, spec({"a": {"sh": "sleep 30"}}))["run_id"] for _ in range(3)]
    assert len(http.get("/runs").json()["runs"]) == 3
    for run in runs:
        assert http.post(f"/runs/{run}:terminate").json() == {}
    assert {ended(http, run)["state"] for run in runs} == {"CANCELED"}


WANTED = {
    "text": {"parameterType": "STRING"},
    "some": {"parameterType": "LIST", "isOptional": True},
    "map": {"parameterType": "STRUCT", "defaultValue": {}},
    "size": {"parameterType": "STRING", "literals": ["s", "m"], "isOptional": True},
    "n": {"parameterType": "NUMBER_INTEGER", "isOptional": True},
}


MISFITS = [
    ({}, "parameter text is not optional, yet has neither default value nor user provided value"),
    ({"text": 1}, "text requires type string"),
    ({"text": None}, "text requires type string"),
    ({"text": "t", "some": {}}, "some requires type list"),
    ({"text": "t", "map": []}, "map requires type struct"),
    ({"text": "t", "n": True}, "n requires type double or integer"),
    ({"text": "t", "n": 1.5}, "n requires type integer"),
    ({"text": "t", "size": "l"}, "size is none of the values it may have: 's', 'm'"),
    ({"text": "t", "b": 1, "a": 1}, "parameter(s) provided are not required by pipeline: a, b"),
]


def test_parameters_are_checked_before_anything_is_stored(http):
    for given, words in MISFITS:
        body = {"display_name": "r", "pipeline_spec": spec(**WANTED), "runtime_config": {"parameters": given}}
        refused(http.post("/runs", json=body), 400, 3, words)
        assert http.get("/runs").json() == {}


def test_null_for_an_optional_parameter_is_no_value(http):
    given = {"text": "t", "n": None, "size": "m"}
    made = started(http, spec(**{**WANTED, "size": WANTED["text"]}), runtime_config={"parameters": given})
    assert made["runtime_config"]["parameters"] == {"text": "t", "size": "m"}


def test_a_run_has_one_pipeline(http):
    refused(http.post("/runs", json={"display_name": "r"}), 400, 3, "needs a pipeline_spec")
    both = {"pipeline_spec": spec(), "pipeline_version_reference": {"pipeline_id": "p"}}
    refused(http.post("/runs", json={"display_name": "r", **both}), 400, 3, "one pipeline")
    refused(http.post("/runs", json={"pipeline_spec": spec()}), 400, 3, "Run name is empty")
    refused(
        http.post("/runs", json={"display_name": "r", "pipeline_version_reference": {"pipeline_id": "p"}}),
        404, 5, "Pipeline p not found",
    )  # fmt: skip


UNRUNNABLE = [
    ({"schemaVersion": "2.0.0"}, "only supports schema version 2.1.0"),
    ({"schemaVersion": None}, "has version none"),
    ({"pipelineInfo": {}}, "name is empty"),
    ({"pipelineInfo": {"name": "ÄÖ"}}, "lower case alphanumeric"),
    ({"root": None}, "root component is empty"),
    ({"root": []}, "root component is empty"),
    ({"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow"}, "v1 pipeline"),
    ({"components": {}}, "comp-a"),
    (
        {"deploymentSpec": {"executors": {"exec-a": {"container": {"image": "python:3.11"}}}}},
        "python:3.11",
    ),
    ({"root": {"dag": {"tasks": "all"}}}, "tasks"),
]


def test_a_pipeline_that_cannot_run_is_refused_with_every_reason(http):
    for change, words in UNRUNNABLE:
        body = {"display_name": "r", "pipeline_spec": {**spec(), **change}}
        refused(http.post("/runs", json=body), 400, 3, words)
        assert http.get("/runs").json() == {}


def test_a_huge_pipeline_is_taken_and_a_monstrous_one_refused(http):
    many = spec({f"t{n}": {} for n in range(1500)})
    run = started(http, many)["run_id"]
    assert http.post(f"/runs/{run}:terminate").json() == {}
    assert len(ended(http, run)["run_details"]["task_details"]) == 1500
    deep = spec()
    deep["components"]["x"] = json.loads('{"a":' * 900 + "1" + "}" * 900)
    refused(http.post("/runs", json={"display_name": "r", "pipeline_spec": deep}), 400, 3)


def test_creating_at_once_loses_nothing(http, url):
    made, errors = [], []

    def create(n):
        made.append(http.post("/experiments", json={"display_name": f"e{n % 4}"}).status_code)
        try:
            made.append(started(http)["run_id"])
        except AssertionError as error:
            errors.append(error)

    threads = [threading.Thread(target=create, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not errors
    assert sorted(each for each in made if isinstance(each, int)) == [200] * 4 + [409] * 8
    assert len({each for each in made if isinstance(each, str)}) == 12
    assert http.get("/experiments").json()["total_size"] == 5
    listed = http.get("/runs").json()
    assert (listed["total_size"], len(listed["runs"])) == (12, 12)


def test_a_lists_total_is_right_whatever_is_asked(http):
    group = http.post("/experiments", json={"display_name": "group"}).json()["experiment_id"]
    runs = [started(http, experiment_id=group if n % 2 else "")["run_id"] for n in range(5)]
    http.post(f"/runs/{runs[1]}:archive")
    http.post(f"/runs/{runs[1]}:archive")
    ended(http, runs[4])
    http.delete(f"/runs/{runs[4]}")

    def total(**asked):
        filter = asked.pop("filter", None)
        if filter:
            asked["filter"] = json.dumps({"predicates": filter})
        found = http.get("/runs", params=asked).json()
        assert len(found.get("runs", [])) == found.get("total_size", 0)
        return found.get("total_size", 0)

    def equals(key, value):
        return {"operation": "EQUALS", "key": key, "stringValue": value}

    assert total() == 4
    assert total(experiment_id=group) == 2
    assert total(filter=[equals("storage_state", "archived")]) == 1
    assert total(experiment_id=group, filter=[equals("storage_state", "AVAILABLE")]) == 1
    assert total(filter=[equals("experiment_id", group)]) == 2
    assert total(filter=[equals("display_name", "R")]) == 4
    assert total(filter=[equals("namespace", "")]) == 4
    assert total(filter=[equals("run_id", runs[0])]) == 1
    assert total(filter=[equals("recurring_run_id", "x")]) == 0
    http.post(f"/experiments/{group}:archive")
    assert total(filter=[equals("storage_state", "ARCHIVED")]) == 2


def test_a_time_that_was_answered_finds_its_run(http):
    run = started(http)
    filter = {"operation": 1, "key": "created_at", "timestampValue": run["created_at"]}
    found = http.get("/runs", params={"filter": json.dumps({"predicates": [filter]})}).json()
    assert [each["run_id"] for each in found["runs"]] == [run["run_id"]]


NO_SIZES = ["-1", "ten", "99999999999"]


def test_a_page_size_that_makes_no_sense_is_refused(http):
    for size in NO_SIZES:
        refused(http.get("/runs", params={"page_size": size}), 400, 3, size)


def artifact_run(http, script):
    paths = ["{{$.outputs.artifacts['out'].path}}", "{{$.outputs.output_file}}"]
    body = spec({"make": {"made": ["out"], "command": ["sh", "-c", script, *paths]}})
    run = started(http, body)["run_id"]
    shown = ended(http, run)
    assert shown["state"] == "SUCCEEDED", shown
    (task,) = shown["run_details"]["task_details"]
    return run, task


def test_an_artifacts_bytes_are_sent_as_a_file_or_a_tar_or_base64(http, url):
    data = bytes(range(256)) * 8000
    script = 'python3 -c "import sys; open(sys.argv[1], \'wb\').write(bytes(range(256)) * 8000)" "$0"'
    run, task = artifact_run(http, script)
    (id,) = task["outputs"]["out"]["artifact_ids"]
    assert http.get(f"/artifacts/{id}:download").content == data
    read = http.get(f"/runs/{run}/nodes/make/artifacts/out:read").json()
    assert base64.b64decode(read["data"]) == data
    refused(http.get(f"/runs/{run}/nodes/make/artifacts/none:read"), 404, 5, "no artifact none")
    refused(http.get(f"/runs/{run}/nodes/none/artifacts/out:read"), 404, 5, "no node none")
    by_id = http.get(f"/runs/{run}/nodes/{task['task_id']}/artifacts/out:read")
    assert by_id.json() == read
    folder = (
        'mkdir -p "$0/sub"; cd "$0"; head -c 2000000 /dev/zero > big; printf x > sub/small; ln -s big link'
    )
    run, task = artifact_run(http, folder)
    (id,) = task["outputs"]["out"]["artifact_ids"]
    sent = http.get(f"/artifacts/{id}:download")
    assert sent.headers["content-type"] == "application/x-tar"
    with tarfile.open(fileobj=io.BytesIO(sent.content)) as archive:
        assert sorted(archive.getnames()) == ["big", "link", "sub", "sub/small"]
        assert archive.extractfile("sub/small").read() == b"x"
        assert archive.extractfile("big").read() == bytes(2_000_000)
        assert archive.getmember("link").linkname == "big"
    refused(http.get(f"/runs/{run}/nodes/make/artifacts/out:read"), 400, 3, "folder")


def test_metadata_is_answered_whole_and_as_strict_json(http):
    metrics = {"confidenceThreshold": float("inf"), "recall": 0.0}
    metadata = {"confidenceMetrics": [metrics], "n": float("nan"), "i": 3}
    output = {"artifacts": {"out": {"artifacts": [{"name": "out", "uri": "", "metadata": metadata}]}}}
    script = f"""cat > "$1" <<'E'\n{json.dumps(output)}\nE"""
    run, task = artifact_run(http, script)
    (id,) = task["outputs"]["out"]["artifact_ids"]
    answer = http.get(f"/artifacts/{id}")
    shown = json.loads(answer.text, parse_constant=pytest.fail)
    metrics = {"confidenceThreshold": "Infinity", "recall": 0.0}
    assert shown["metadata"] == {"confidenceMetrics": [metrics], "n": "NaN", "i": 3}
    assert shown["producer"] == {"run_id": run, "task_name": "make"}
    refused(http.get(f"/artifacts/{id}:download"), 404, 5, "has no bytes here")
    listed = http.get("/artifacts", params={"run_id": run}).json()
    assert [each["artifact_id"] for each in listed["artifacts"]] == [id]


def test_a_tasks_log_is_plain_text(http, url):
    run = started(http)["run_id"]
    ended(http, run)
    said = http.get(f"{url}/apis/v1alpha1/runs/{run}/nodes/a/log")
    assert (said.text, said.headers["content-type"].partition(";")[0]) == ("said\n", "text/plain")
    refused(http.get(f"{url}/apis/v1alpha1/runs/{run}/nodes/b/log"), 404, 5, "no node b")
    refused(http.get(f"{url}/apis/v1alpha1/runs/none/nodes/b/log"), 404, 5, "Run none not found")


def test_a_log_is_sent_as_far_as_it_is_though_its_task_adds_to_it(http, url, platform, monkeypatch):
    run = started(http)["run_id"]
    ended(http, run)
    (task,) = platform.kfp.artifacts.tasks(run)
    path = Path(task["folder"]) / "log.txt"
    real = Path.open

    def growing(self, *args, **kwargs):
        if self == path and args == ("rb",):  # between a look at its length and the first read
            with real(path, "a") as log:
                log.write("more\n")
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", growing)
    said = http.get(f"{url}/apis/v1alpha1/runs/{run}/nodes/a/log")
    assert (said.status_code, said.text) == (200, "said\nmore\n")


def test_the_visualizations_of_older_components_are_served(http):
    outputs = {"outputs": [{"type": "tensorboard", "source": "/logs"}]}
    task = {"made": ["mlpipeline_ui_metadata"], "command": [
        "sh", "-c", f"printf '%s' '{json.dumps(outputs)}' > \"$0\"",
        "{{$.outputs.artifacts['mlpipeline_ui_metadata'].path}}"]}  # fmt: skip
    run = started(http, spec({"show": task, "quiet": {}}))["run_id"]
    ended(http, run)
    assert http.get(f"/runs/{run}/nodes/show/ui-metadata").json() == outputs
    refused(http.get(f"/runs/{run}/nodes/quiet/ui-metadata"), 404, 5)


def test_what_a_task_calls_its_visualizations_leaves_as_json(http):
    task = {"made": ["mlpipeline_ui_metadata"], "command": [
        "sh", "-c", "printf '%s' '\"just a text\"' > \"$0\"",
        "{{$.outputs.artifacts['mlpipeline_ui_metadata'].path}}"]}  # fmt: skip
    run = started(http, spec({"show": task}))["run_id"]
    ended(http, run)
    assert http.get(f"/runs/{run}/nodes/show/ui-metadata").json() == "just a text"


def test_the_task_resource_of_the_coming_api_has_what_went_in_and_came_out(http):
    run, _ = artifact_run(http, 'printf x > "$0"')
    listed = http.get("/tasks", params={"run_id": run}).json()
    (task,) = listed["tasks"]
    assert task["outputs"]["artifacts"][0]["artifact_key"] == "out"
    assert http.get(f"/tasks/{run}/make").json() == task
    assert http.get(f"/tasks/{run}/{task['task_id']}").json() == task
    refused(http.get("/tasks"), 400, 3, "run_id")


def test_the_first_iteration_of_a_loop_says_its_place_too(http):
    body = spec({"each": {}})
    tasks = body["root"]["dag"]["tasks"]
    inner = {"inputDefinitions": {"parameters": {"item": {"parameterType": "NUMBER_INTEGER"}}}}
    body["components"]["comp-loop"] = inner | {"dag": {"tasks": {"each": tasks.pop("each")}}}
    iterator = {"items": {"raw": "[7, 8]"}, "itemInput": "item"}
    tasks["loop"] = {"componentRef": {"name": "comp-loop"}, "parameterIterator": iterator}
    run = started(http, body)["run_id"]
    assert ended(http, run)["state"] == "SUCCEEDED"
    found = {task["name"]: task for task in http.get("/tasks", params={"run_id": run}).json()["tasks"]}
    assert found["loop/0"]["type_attributes"] == {"iteration_index": "0"}
    assert found["loop/1"]["type_attributes"] == {"iteration_index": "1"}
    assert "type_attributes" not in found["loop/0/each"]


def test_a_secret_is_masked_everywhere_and_reaches_the_task(http, platform, tmp_path):
    word = "hunter2-hunter2"
    command = ["sh", "-c", "test ${#0} = 15", "{{$.inputs.parameters['api_token']}}"]
    document = spec({"a": {"command": command}})
    text = {"parameters": {"api_token": {"parameterType": "STRING"}}}
    document["components"]["comp-a"]["inputDefinitions"] = document["root"]["inputDefinitions"] = text
    given = {"api_token": {"componentInputParameter": "api_token"}}
    document["root"]["dag"]["tasks"]["a"]["inputs"]["parameters"] = given
    made = started(http, document, runtime_config={"parameters": {"api_token": word}})
    shown = ended(http, made["run_id"])
    assert shown["state"] == "SUCCEEDED", shown
    clone = http.post(f"/runs/{made['run_id']}:clone").json()
    assert (clone["display_name"], ended(http, clone["run_id"])["state"]) == ("Clone of r", "SUCCEEDED")
    said = [json.dumps(each) for each in (made, shown, clone, platform.run(made["run_id"]))]
    said.append(http.get("/runs").text)
    said.append(http.get("/tasks", params={"run_id": made["run_id"]}).text)
    assert all("***" in each for each in said[:4])
    assert not any(word in each for each in said)
    files = list(tmp_path.glob("tuneline.db*"))
    assert files
    assert not any(word.encode() in file.read_bytes() for file in files)
    assert platform.run(made["run_id"])["warnings"]


def test_a_clone_may_have_another_name_and_other_parameters(http):
    document = spec(n={"parameterType": "NUMBER_INTEGER"})
    made = started(http, document, runtime_config={"parameters": {"n": 1}}, description="d")
    body = {"display_name": "again", "runtime_config": {"parameters": {"n": 2}}}
    clone = http.post(f"/runs/{made['run_id']}:clone", json=body).json()
    assert (clone["display_name"], clone["description"]) == ("again", "d")
    assert clone["runtime_config"] == {"parameters": {"n": 2}}
    assert clone["pipeline_spec"] == made["pipeline_spec"]
    assert clone["run_id"] != made["run_id"]
    refused(http.post("/runs/none:clone"), 404, 5, "Run none not found")
    lost = http.post("/experiments", json={"display_name": "lost"}).json()["experiment_id"]
    run = started(http, experiment_id=lost)["run_id"]
    http.delete(f"/experiments/{lost}")
    assert http.post(f"/runs/{run}:clone").json()["experiment_id"] == made["experiment_id"]


def test_a_deleted_run_ends_and_leaves_nothing(http, tmp_path, platform):
    run = started(http, spec({"a": {"sh": "sleep 30"}}))["run_id"]
    assert http.delete(f"/runs/{run}").json() == {}
    refused(http.get(f"/runs/{run}"), 404, 5)
    refused(http.delete(f"/runs/{run}"), 404, 5)
    assert http.get("/runs").json() == {}
    with pytest.raises(NotFoundError):
        platform.run(run)
    deadline = time.monotonic() + 20
    while (tmp_path / "runs" / run).exists() or platform.record.runs.active():
        platform.kfp.runs.sweep()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert platform.runs() == []


def test_runs_of_projects_are_in_the_same_list(http, platform):
    platform.submit(spec(name="project"), {}, {"name": "mine"})
    (run,) = http.get("/runs").json()["runs"]
    default = http.get("/experiments").json()["experiments"][0]
    assert run["experiment_id"] == default["experiment_id"]
    assert run["display_name"].startswith("mine-")
    assert default["last_run_created_at"] == run["created_at"]
