"""The example's notebook, run from its first cell to its last by a real kernel, against a real server."""

import json
import shutil
import subprocess

import pytest
from tests.examples.conftest import EXAMPLE

pytestmark = pytest.mark.slow

EXECUTE = """
import sys
import nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=150, kernel_name="python3").execute()
nbformat.write(notebook, sys.argv[1])
"""


def shown(notebook, text):
    """The outputs of the one cell that holds `text`, as one text."""
    (cell,) = [cell for cell in notebook["cells"] if text in "".join(cell["source"])]
    parts = [
        part.get("text") or part["data"]["text/plain"]
        for part in cell["outputs"]
        if part["output_type"] != "error"
    ]
    return "".join("".join(part) for part in parts)


def test_the_notebook_runs_and_shows_what_it_says(world, kfp_python, tmp_path):
    folder = shutil.copytree(
        EXAMPLE, tmp_path / "example", ignore=shutil.ignore_patterns("app", "components")
    )
    with world.server() as client:
        url = client.url
    env = {
        "PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "KFP_ENDPOINT": url, "KFP_POLL_S": "0.2",
        "NO_PROXY": "127.0.0.1", "IPYTHONDIR": str(tmp_path / "ipython"),
    }  # fmt: skip
    command = [kfp_python, "-c", EXECUTE, "notebook.ipynb"]
    ended = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert ended.returncode == 0, f"{ended.stdout[-3000:]}\n{ended.stderr[-5000:]}\n{world.logs()}"
    notebook = json.loads((folder / "notebook.ipynb").read_text(encoding="utf-8"))
    assert "SUCCEEDED" in shown(notebook, "upload_pipeline")
    states = shown(notebook, "task.display_name:24")
    for name in ("load-issues", "first-words", "best", "shout"):
        assert name in states
    assert "words: ROUGE-L 0." in shown(notebook, "scores, result")
    again = shown(notebook, "create_run_from_pipeline_func")
    assert "SUCCEEDED" in again
    assert "SKIPPED" in again
    assert shown(notebook, "list_runs").count("SUCCEEDED") == 2
