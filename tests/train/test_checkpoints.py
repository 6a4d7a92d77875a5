"""Checkpoints are whole or not there. Imports torch."""

import pytest

torch = pytest.importorskip("torch")

from tuneline.train.checkpoints import Checkpoints  # noqa: E402

pytestmark = pytest.mark.slow


def state(step):
    return {"weights": {"a": torch.full((1000,), float(step))}, "progress": {"step": step}}


def test_the_newest_is_loaded_and_two_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, "key")
    assert checkpoints.load() is None
    for step in (2, 4, 10):
        checkpoints.save(step, state(step))
    assert checkpoints.load()["progress"]["step"] == 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000004", "000000010"]


def test_that_of_another_training_is_not_taken(tmp_path):
    Checkpoints(tmp_path, "other rows").save(2, state(2))
    assert Checkpoints(tmp_path, "key").load() is None


@pytest.mark.parametrize("keep", [0, 1, 500, -1])
def test_a_torn_one_is_passed_over(tmp_path, keep):
    checkpoints = Checkpoints(tmp_path, "key")
    checkpoints.save(2, state(2))
    path = checkpoints.save(4, state(4)) / "state.pt"
    path.write_bytes(path.read_bytes()[:keep])
    assert checkpoints.load()["progress"]["step"] == 2


def test_one_bit_that_flipped_is_noticed(tmp_path):
    checkpoints = Checkpoints(tmp_path, "key")
    path = checkpoints.save(4, state(4)) / "state.pt"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert checkpoints.load() is None


def test_what_a_crash_left_half_written_is_cleared(tmp_path):
    (tmp_path / "000000002.part").mkdir()
    (tmp_path / "000000002.part" / "state.pt").write_bytes(b"half")
    checkpoints = Checkpoints(tmp_path, "key")
    assert checkpoints.load() is None
    checkpoints.save(2, state(2))
    assert [path.name for path in tmp_path.iterdir()] == ["000000002"]


def test_a_full_disk_is_an_error_of_the_system_and_leaves_the_others_whole(tmp_path):
    """/dev/full refuses every write with "No space left on device", as a full disk does."""
    from tuneline.train import checkpoints as module  # noqa: PLC0415

    Checkpoints(tmp_path, "key").save(2, state(2))
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(OSError, match="No space left"):
        module._save(state(4), full)
    assert Checkpoints(tmp_path, "key").load()["progress"]["step"] == 2
