"""Events: every version ever written is read, and says what it said."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from tuneline.errors import InternalError
from tuneline.plan.events import KINDS, from_json, to_json
from tuneline.plan.nodes import Context
from tuneline.plan.schedule import fold
from tuneline_ir import Status, parse

FIXTURES = Path(__file__).parent / "fixtures"
V1 = FIXTURES / "events-v1.jsonl"
V2 = FIXTURES / "events-v2.jsonl"
V3 = FIXTURES / "events-v3.jsonl"


def test_every_kind_of_event_has_a_line_in_the_fixture_of_its_version() -> None:
    lines = [json.loads(line) for line in V1.read_text(encoding="utf-8").splitlines()]
    assert {line["kind"] for line in lines} == set(KINDS) - {"graph_started"}
    assert {line["version"] for line in lines} == {1}
    later = [json.loads(line) for line in V2.read_text(encoding="utf-8").splitlines()]
    assert {line["kind"] for line in later} == {name for name, kind in KINDS.items() if kind.version >= 2} | {
        "graph_started"
    }
    assert {line["version"] for line in later if line["kind"] != "graph_started"} == {2}
    newest = [json.loads(line) for line in V3.read_text(encoding="utf-8").splitlines()]
    assert {line["kind"] for line in newest} == {name for name, kind in KINDS.items() if kind.version == 3}
    assert {line["version"] for line in newest} == {3}


def test_an_event_is_written_as_it_was_read() -> None:
    for path in (V2, V3):
        for line in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
            event = json.loads(json.dumps(to_json(from_json(line))))
            given = {name: value for name, value in line.items() if name != "version"}
            assert {name: event[name] for name in given} == given
            if line["version"] == KINDS[line["kind"]].version:
                assert event == line


def test_an_artifact_of_the_first_version_becomes_a_list_of_one() -> None:
    for line in map(json.loads, V1.read_text(encoding="utf-8").splitlines()):
        event = json.loads(json.dumps(to_json(from_json(line))))
        for key, artifact in line.get("outputs", {}).get("artifacts", {}).items():
            (only,) = event["outputs"]["artifacts"][key]
            assert {name: only[name] for name in artifact} == artifact
        given = {name: value for name, value in line.items() if name not in ("version", "outputs")}
        assert {name: event[name] for name in given} == given


def test_a_run_of_the_first_version_replays_to_the_state_it_was_in() -> None:
    needs = {"live": (), "fetch": (), "prepare": ("fetch",), "tune": ("prepare", "live")}
    tasks = {
        name: {"componentRef": {"name": "c"}, "dependentTasks": list(found)} for name, found in needs.items()
    }
    ir = {
        "pipelineInfo": {"name": "p"},
        "components": {"c": {"executorLabel": "e"}},
        "deploymentSpec": {"executors": {"e": {"container": {"image": "i"}}}},
        "root": {"dag": {"tasks": tasks}},
        "schemaVersion": "2.1.0",
    }
    plan = Context(parse(ir), {})
    events = [from_json(json.loads(line)) for line in V1.read_text(encoding="utf-8").splitlines()]
    state = fold(plan, events)
    assert {name: (task.status, task.attempts) for name, task in state.tasks.items() if name} == {
        "live": (Status.SUCCEEDED, 1),
        "fetch": (Status.SUCCEEDED, 3),
        "prepare": (Status.CACHED, 0),
        "tune": (Status.CANCELED, 2),
    }
    assert state.ended is not None
    assert state.ended.state == "CANCELED"
    assert state.tasks["fetch"].outputs.artifacts["data"][0].size_bytes == 7


def test_an_event_of_a_newer_program_is_refused_with_what_to_do() -> None:
    for body in ({"kind": "run_paused", "version": 1}, {"kind": "run_started", "version": 2}):
        with pytest.raises(InternalError, match="unknown here") as caught:
            from_json(body)
        assert "upgrade" in caught.value.hint


def test_a_kind_is_its_class() -> None:
    for name, kind in KINDS.items():
        assert (kind.kind, name) == (name, kind.kind)
        assert asdict(from_json({"kind": "run_started", "version": 1})) == {}
