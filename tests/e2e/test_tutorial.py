"""Every command of the tutorial, typed into one bash as a reader types them, on a tiny language model.

The same story as `test_story`, with adapters behind llama.cpp, the commands of the page and its users: each
command must end as the page says, no request may fail, and what is printed must tell the story. The project's
waiting times are shorter here. About two minutes on two idle cores.
"""

import csv
import importlib.util
import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from tests.e2e.projects import TRAIN
from tests.e2e.world import World
from tests.tiny import movie_rows, tiny_gguf

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[2]
CODES = {"negative": "0", "positive": "1"}


def write(path: Path, rows, *, coded: bool = True, longer: int = 1) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, ["text", "label"])
        table.writeheader()
        for row in rows:
            label = CODES[row["label"]] if coded else row["label"]
            table.writerow({"text": " ".join([row["text"]] * longer), "label": label})


@pytest.fixture
def folder(tmp_path):
    """The example as `reviews.py` leaves it, of reviews made by rule, and a base of its own."""
    made = tmp_path / "reviews"
    leave = shutil.ignore_patterns("*.csv", "*.whl")
    shutil.copytree(ROOT / "examples" / "review-releases", made, ignore=leave)
    (made / "reviews.py").write_text("print('made')\n")
    write(made / "reviews.csv", movie_rows(1200))
    write(made / "checked.csv", movie_rows(100, start=2000), coded=False)
    write(made / "users.csv", movie_rows(800, start=3000))
    write(made / "long.csv", movie_rows(800, start=5000), longer=4)
    write(made / "more.csv", movie_rows(500, start=7000), longer=4)
    tiny_gguf(made / "tiny.gguf", "gemma3")
    file = made / "tuneline.yaml"
    text = file.read_text()
    train = yaml.safe_dump({"train": TRAIN}, default_flow_style=None)
    for written, instead in (
        (r"base_model: .*\n", "base_model: tiny.gguf\n"),
        (r"train: .*\n", train),
        (r"limit: \d+", "limit: 32"),
        (r"test: [\d.]+", "test: 0.1"),
        (r"accuracy >= 0.60", "accuracy >= 0.40"),
        (r"every: 30s\n", "every: 2s\n"),
        (r"every: 30s, settle: 10s", "every: 10s, settle: 2s"),
    ):
        text, count = re.subn(written, instead, text, count=1)
        assert count == 1, written
    file.write_text(text)
    return made


@pytest.fixture
def world(folder):
    made = World(folder / "home")
    made.env["PATH"] = f"{folder / 'bin'}:{Path(sys.executable).parent}:{made.env['PATH']}"
    (folder / "bin").mkdir()
    program = folder / "bin" / "tuneline"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m tuneline "$@"\n')
    program.chmod(0o755)
    yield made
    made.close()


@pytest.fixture(scope="module")
def recorder():
    spec = importlib.util.spec_from_file_location("record_tutorial", ROOT / "docs" / "record_tutorial.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tutorial_can_be_typed_from_its_first_command_to_its_last(world, folder, recorder):
    shell, said = recorder.Shell(folder, world.env), {}

    def typed(command):
        code, said[command] = shell.type(command)
        return code, said[command]

    try:
        page = recorder.recorded((ROOT / "docs" / "tutorial.md").read_text(), typed)
    finally:
        shell.type("kill $(jobs -p)")
        shell.close()
    for wanted in (
        "FAILS    noninferior(sets.checked.accuracy, live, margin=0.10)",
        "no reason is given why it is forced",
        "worse: e = ",
        "reviews@1.2.0  rejected, forced",
        "prompt_length",
        "by release       reviews@1.2.0",
        "forced           past its gate at reviews by ",
        "| What an auditor asks | ",
    ):
        assert wanted in page, page
    live = [line.split()[0] for line in page.splitlines() if re.match(r"reviews@\S+ +20\d\d-.* now ", line)]
    assert live == ["reviews@1.1.0", "reviews@1.1.0", "reviews@1.3.0"]
    ended = [said[command] for command in said if command.startswith("kill %1")]
    assert [re.search(r"right\); (\d+) failed", each)[1] for each in ended] == ["0", "0"]
