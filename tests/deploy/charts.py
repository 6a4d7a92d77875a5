"""Helm, where it is installed, and what it makes of the chart.

`TUNELINE_TEST_HELM` names the folder that `make helm` fills; a `helm` on the path will do as well.
"""

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy/helm/tuneline"
VALUES = sorted((Path(__file__).parent / "values").glob("*.yaml"))
SMALLEST = Path(__file__).parent / "values/smallest.yaml"
EVERYTHING = Path(__file__).parent / "values/everything.yaml"
KUBERNETES = "1.36"
_MONITORS = """
import * as kinds from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1";
for (const body of JSON.parse(process.env.BODIES)) new kinds[body.kind](body).validate();
"""


def folder() -> Path:
    """Where `make helm` puts what it downloads."""
    return Path(os.environ.get("TUNELINE_TEST_HELM") or ROOT / ".venv-helm")


def program() -> str:
    """The path of helm; skips the test where there is none."""
    own = folder() / "helm/helm"
    found = str(own) if own.exists() else shutil.which("helm")
    if found is None:
        pytest.skip(f"There is no helm on the path and none at {own}: `make helm`, or set TUNELINE_TEST_HELM")
    return found


def helm(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run helm without a cluster."""
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "KUBECONFIG": "/dev/null"}
    return subprocess.run(
        [program(), *map(str, words)], capture_output=True, text=True, timeout=60, env=env, check=False
    )


def rendered(values: Path, *words: str, release: str = "tuneline") -> list[dict[str, Any]]:
    """The manifests of the chart, in namespace `ml`."""
    return [body for body in yaml.safe_load_all(text_of(values, *words, release=release)) if body]


@cache
def text_of(values: Path, *words: str, release: str = "tuneline") -> str:
    """What `helm template` prints."""
    done = helm("template", release, CHART, "--namespace", "ml", "--values", values, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(values: Path, *words: str, release: str = "tuneline") -> str:
    """Why `helm template` takes no such values."""
    done = helm("template", release, CHART, "--values", values, *words)
    assert done.returncode != 0, f"taken: {words}"
    return done.stderr


def of_kind(bodies: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Those of one kind."""
    return [body for body in bodies if body["kind"] == kind]


def check_monitors(bodies: list[dict[str, Any]]) -> None:
    """Judge ServiceMonitors and PodMonitors by the operator's own schemas, which are JavaScript there."""
    schemas = folder() / "node_modules/@kubernetes-models/prometheus-operator"
    if not schemas.exists() or shutil.which("node") is None:
        pytest.skip(f"The schemas of Prometheus's operator are not at {schemas}: `make helm`")
    done = subprocess.run(
        ["node", "--input-type=module"], input=_MONITORS, cwd=folder(), capture_output=True, text=True,
        timeout=60, env={"PATH": os.environ["PATH"], "BODIES": json.dumps(bodies)}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
