"""What the starter of several processes decides: who is who, whose fault it was. No torch."""

import json
import subprocess
import sys

import pytest

from tuneline.errors import SpecError
from tuneline.steps.workers import Place, Worker, failed_first, place_of, variables
from tuneline.train.recipe import Recipe

TWO_BY_TWO = Recipe(num_processes=2, num_machines=2)


def test_each_worker_is_told_who_it_is_and_its_share_of_the_cores(tmp_path):
    told = variables(TWO_BY_TWO, Place(1, "first", 29500), 1, tmp_path / "meeting", 8)
    assert told == {
        "RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "OMP_NUM_THREADS": "4",
        "MASTER_ADDR": "first", "MASTER_PORT": "29500",
    }  # fmt: skip
    here = variables(Recipe(num_processes=3), Place(), 0, tmp_path / "meeting", 2)
    assert (here["OMP_NUM_THREADS"], here["TUNELINE_MEETING"]) == ("1", str(tmp_path / "meeting"))
    assert "MASTER_ADDR" not in here


@pytest.mark.parametrize("number, port", [("2", "29500"), ("-1", "29500"), ("x", "29500"), ("0", "port")])
def test_a_machine_that_is_none_of_them_is_refused(number, port):
    with pytest.raises(SpecError, match="do not name one of 2 machines"):
        place_of({"MASTER_ADDR": "a", "MASTER_PORT": port, "NODE_RANK": number}, 2)


def test_who_only_says_that_the_line_broke_is_not_to_blame(tmp_path):
    def worker(rank, code=None):
        folder = tmp_path / str(rank)
        folder.mkdir()
        if code:
            (folder / "error.json").write_text(json.dumps({"code": code, "message": str(rank)}))
        return Worker(rank, subprocess.Popen([sys.executable, "-S", "-c", ""]), folder, None)

    broke, killed = worker(0, "internal"), worker(1)
    wrong, silent = worker(2, "invalid_data"), worker(3)
    try:
        assert failed_first([(broke, 1), (killed, -9)]) is killed
        assert failed_first([(broke, 1), (wrong, 1)]) is wrong
        assert failed_first([(silent, 1), (wrong, 1)]) is wrong
    finally:
        for each in (broke, killed, wrong, silent):
            each.process.wait()


def test_a_checkpoint_fits_another_number_of_processes_where_the_batch_is_the_same():
    one = Recipe(per_device_train_batch_size=16)
    two = Recipe(per_device_train_batch_size=8, num_processes=2)
    assert one.alike() == two.alike() == one.to_json()
    assert two.to_json()["num_processes"] == 2
    assert "num_processes" not in one.to_json()
    assert Recipe(per_device_train_batch_size=8).alike() != two.alike()
