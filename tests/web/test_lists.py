"""Lists of runs, experiments and pipelines, and the page of an uploaded pipeline."""

import re

import pytest
import yaml
from fastapi.testclient import TestClient
from tests.web.nested import IR

from tuneline.actions.kfp.pipelines import Described
from tuneline.actions.kfp.runs import RunRequest
from tuneline.web import create_app


@pytest.fixture
def http(platform):
    with TestClient(create_app(platform), base_url="http://localhost") as made:
        yield made


def start(platform, name, experiment=""):
    return platform.kfp.runs.create(RunRequest(display_name=name, spec=IR, experiment_id=experiment))["id"]


def runs_in(text):
    return re.findall(r'<a href="/runs/[^"]+">([^<]+)</a>', text)


def test_runs_are_listed_page_by_page_and_archived_ones_apart(http, platform, monkeypatch):
    monkeypatch.setattr("tuneline.web.lists.PAGE", 2)
    ids = [start(platform, f"try {n}") for n in range(3)]
    platform.kfp.runs.archive(ids[1])
    start(platform, "<b>last</b>")
    text = http.get("/runs").text
    assert runs_in(text) == ["&lt;b&gt;last&lt;/b&gt;", "try 2"]
    older = re.search(r'<a href="(/runs\?after=[^"]+)">', text).group(1)
    assert runs_in(http.get(older.replace("&amp;", "&")).text) == ["try 0"]
    assert runs_in(http.get("/runs?archived=true").text) == ["try 1"]
    assert runs_in(http.get("/").text)[0] == "&lt;b&gt;last&lt;/b&gt;"
    assert http.get("/runs?after=nonsense").status_code == 400


def test_an_experiment_has_its_runs(http, platform):
    id = platform.kfp.experiments.create("trials & errors", "what we tried")["id"]
    start(platform, "mine", id)
    start(platform, "another")
    assert "trials &amp; errors" in http.get("/experiments").text
    text = http.get(f"/experiments/{id}").text
    assert "what we tried" in text
    assert runs_in(text) == ["mine"]
    assert http.get("/experiments/nobody").status_code == 404


def test_a_pipeline_has_its_graph_parameters_and_versions(http, platform):
    data = yaml.safe_dump(IR).encode()
    id = platform.kfp.pipelines.upload(Described(name="nested", description="<i>x</i>"), "p.yaml", data)["id"]
    platform.kfp.pipelines.upload_version(id, Described(name="second"), "p.yaml", data)
    assert f'href="/pipelines/{id}"' in http.get("/pipelines").text
    text = http.get(f"/pipelines/{id}").text
    assert "Version second" in text
    assert re.findall(r'<text x="12" y="21">([^<]*)', text) == ["train", "inner", "for-loop-1", "report"]
    assert "<td>api_token</td><td>STRING</td>" in text
    assert "&lt;i&gt;x&lt;/i&gt;" in text
    assert "h1dden" not in text
    versions = re.findall(rf'href="(/pipelines/{id}\?version=[^"&]+)">', text)
    assert len(versions) == 2
    assert "Version nested" in http.get(versions[1]).text
    assert re.findall(r'<text x="12" y="21">([^<]*)', http.get(f"{versions[0]}&within=inner").text) == [
        "print"
    ]
    assert http.get("/pipelines/nobody").status_code == 404


def test_what_runs_by_itself_has_its_times_and_its_runs(http, platform):
    daily = platform.schedules.set(
        {"cron": "0 6 * * *", "zone": "Europe/Berlin"}, IR, {}, {"name": "<daily>"}
    )
    platform.schedules.set({"every_s": 3600}, IR, {}, {"name": "hourly"})
    platform.schedules.pause("hourly")
    text = http.get("/recurringruns").text
    assert "&lt;daily&gt;" in text
    assert "0 6 * * * (Europe/Berlin)" in text
    assert "every 1:00:00" in text
    run = platform.schedules.run_now(daily["id"])
    start(platform, "another")
    text = http.get(f"/recurringruns/{daily['id']}").text
    assert re.findall(r'href="/runs/([^"]+)"', text) == [run]
    assert "enabled; next: 20" in text
    assert http.get("/recurringruns/nobody").status_code == 404


def test_what_is_not_there_yet_is_told(http):
    for path in ("/runs", "/pipelines", "/recurringruns"):
        assert "None yet." in http.get(path).text
