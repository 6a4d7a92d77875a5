"""Curves are read back by TensorBoard itself."""

import pytest

from tuneline.train.curves import Curves


@pytest.mark.slow
def test_tensorboard_reads_what_was_written(tmp_path):
    """Imports TensorBoard, 1 s."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: PLC0415

    with Curves(tmp_path / "logs", 1000.0) as curves:
        for step in range(1, 301):
            curves.add(step, {"train/loss": 1 / step, "train/learning_rate": 1e-4 * step}, 1000.0 + step)
    read = EventAccumulator(str(tmp_path / "logs"))
    read.Reload()
    assert sorted(read.Tags()["scalars"]) == ["train/learning_rate", "train/loss"]
    points = read.Scalars("train/loss")
    assert [point.step for point in points] == list(range(1, 301))
    assert points[9].value == pytest.approx(0.1)
    assert points[9].wall_time == 1010.0
