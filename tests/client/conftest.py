"""A home in a folder of its own, and servers that end with the test."""

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tuneline.settings import Settings


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    """Settings of an empty home; whatever server it has at the end is killed."""
    made = Settings(home=tmp_path / "home", port=free_port())
    yield made
    kill(made)


def kill(settings: Settings) -> None:
    """End the home's server, if one is there, as `kill -9` does."""
    with contextlib.suppress(OSError, ValueError, psutil.Error):
        process = psutil.Process(json.loads((settings.home / "server.json").read_text())["pid"])
        process.kill()
        process.wait(10)


@pytest.fixture
def live_only() -> dict:
    """A pipeline of the real step `live` alone: it asks the server, so it shows that all parts are joined."""

    given = {"model": "reviews", "endpoint": "reviews", "init_adapter": ""}
    string = {"parameterType": "STRING"}
    artifact = {"artifactType": {"schemaTitle": "system.Model", "schemaVersion": "0.0.1"}}
    container = {
        "image": "tuneline",
        "command": ["tuneline", "step", "live"],
        "args": ["--executor-input", "{{$}}"],
    }
    component = {
        "executorLabel": "exec-live",
        "inputDefinitions": {"parameters": dict.fromkeys(given, string)},
        "outputDefinitions": {
            "parameters": {"release": string, "digest": string},
            "artifacts": {"package": artifact, "init": artifact},
        },
    }
    task = {
        "taskInfo": {"name": "live"},
        "componentRef": {"name": "comp-live"},
        "retryPolicy": {"maxRetryCount": 5, "backoffDuration": "1s"},  # it fails while the server is down
        "inputs": {
            "parameters": {name: {"runtimeValue": {"constant": value}} for name, value in given.items()}
        },
    }
    return {
        "schemaVersion": "2.1.0",
        "pipelineInfo": {"name": "reviews"},
        "components": {"comp-live": component},
        "deploymentSpec": {"executors": {"exec-live": {"container": container}}},
        "root": {"dag": {"tasks": {"live": task}}},
    }
