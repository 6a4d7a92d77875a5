"""What is asked of a machine's GPUs before workers start; that they train as one is in `tests/steps`."""

import pytest

from tuneline.errors import SpecError
from tuneline.train.world import check_gpus


def test_more_processes_than_gpus_are_refused_with_what_to_write(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    check_gpus(2, 2)
    with pytest.raises(SpecError) as refused:
        check_gpus(1, 4)
    assert str(refused.value.message) == (
        "train.num_processes is 4, but CUDA shows 1 GPU on this machine (CUDA_VISIBLE_DEVICES is 3)."
    )
    assert refused.value.hint == "Set train.num_processes: 1, or show more GPUs."
