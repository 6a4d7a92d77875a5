"""Files on this machine: copied, pinned, never linked."""

import json
import os
import subprocess
import sys

import pytest

from tuneline.errors import DataError
from tuneline.steps.fetch import fetch


def test_a_glob_is_its_files_by_name_wherever_they_lie(desk, tmp_path):
    found = []
    for place in ("here", "there"):
        (tmp_path / place / "sub").mkdir(parents=True)
        for name in ("b.csv", "a.csv", "sub/c.csv"):
            (tmp_path / place / name).write_text(f"text\n{name}\n")
        (tmp_path / place / "d.txt").write_text("no")
        fetch(str(tmp_path / place / "**/*.csv"), desk(), tmp_path / f"{place}-data")
        found.append((tmp_path / f"{place}-data/source.json").read_bytes())
    assert found[0] == found[1]
    assert [entry["path"] for entry in json.loads(found[0])["files"]] == [
        "files/a.csv",
        "files/b.csv",
        "files/c.csv",
    ]


def test_a_folder_is_the_data_files_in_it(desk, tmp_path):
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows/a.jsonl").write_text("{}\n")
    (tmp_path / "rows/README.md").write_text("no")
    fetch(str(tmp_path / "rows"), desk(), tmp_path / "data")
    assert os.listdir(tmp_path / "data/files") == ["a.jsonl"]


def test_the_run_keeps_its_copy_when_the_file_changes(desk, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("text\none\n")
    fetch(str(path), desk(), tmp_path / "data")
    with path.open("a") as file:
        file.write("two\n")
    assert (tmp_path / "data/files/rows.csv").read_text() == "text\none\n"


def test_a_missing_file_names_what_is_there_instead(desk, tmp_path):
    (tmp_path / "review.csv").write_text("text\n")
    with pytest.raises(DataError, match=r"There is no file .*reviews\.csv") as caught:
        fetch(str(tmp_path / "reviews.csv"), desk(), tmp_path / "data")
    assert "review.csv" in caught.value.hint
    with pytest.raises(DataError, match="There is no file"):
        fetch(str(tmp_path / "none/*.csv"), desk(), tmp_path / "data")


def test_two_files_of_one_name_are_refused(desk, tmp_path):
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "rows.csv").write_text("text\n")
    with pytest.raises(DataError, match="Two files of `data.source` have one name"):
        fetch(str(tmp_path / "*/rows.csv"), desk(), tmp_path / "data")


def test_a_checksum_is_checked_and_is_for_one_file(desk, tmp_path):
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("text\n")
    with pytest.raises(DataError, match="is not the file it should be"):
        fetch(str(tmp_path / "a.csv"), desk(sha256="0" * 64), tmp_path / "data")
    with pytest.raises(DataError, match="means 2 files"):
        fetch(str(tmp_path / "*.csv"), desk(sha256="0" * 64), tmp_path / "data")


def fetched(tmp_path, **parameters):
    """What the step put out; a real child process, as the runner starts it."""
    (tmp_path / "rows.csv").write_text("text\none\n")
    values = {"source": str(tmp_path / "rows.csv"), "sha256": "", **parameters}
    body = {
        "inputs": {"parameterValues": values},
        "outputs": {
            "artifacts": {"data": {"artifacts": [{"name": "data", "uri": str(tmp_path / "out/data")}]}},
            "outputFile": str(tmp_path / "out/output.json"),
        },
    }
    code = "import sys; from tuneline.steps.main import main; sys.exit(main('fetch', sys.argv[1]))"
    env = {**os.environ, "TUNELINE_HOME": str(tmp_path / "home")}
    subprocess.run([sys.executable, "-c", code, json.dumps(body)], env=env, check=True, timeout=60)
    return json.loads((tmp_path / "out/output.json").read_text())


def test_the_step_puts_out_the_artifact_and_says_what_it_used(tmp_path):
    made = fetched(tmp_path, base_model="gemma-3-270m")
    assert made["artifacts"]["data"]["artifacts"][0]["metadata"] == {"source": "rows.csv", "files": 1}
    assert (tmp_path / "out/data/files/rows.csv").read_text() == "text\none\n"
    assert made["parameterValues"] == {"base_digest": ""}


def test_a_base_model_that_is_a_path_is_known_by_its_content(tmp_path):
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text("{}")
    first = fetched(tmp_path, base_model=str(base))["parameterValues"]["base_digest"]
    (base / "config.json").write_text('{"changed": "in place"}')
    second = fetched(tmp_path, base_model=str(base))["parameterValues"]["base_digest"]
    assert first.startswith("sha256:")
    assert second != first
