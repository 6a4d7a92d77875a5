"""The order of rows: every row once, like lengths together, the same for the same seed."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tuneline.train.batches import epoch_batches, length_batches

lengths = st.lists(st.integers(1, 60), min_size=1, max_size=300)


@given(lengths, st.integers(1, 32), st.integers(0, 2**31), st.integers(0, 5))
def test_every_row_is_in_one_batch_of_an_epoch(rows, size, seed, epoch):
    batches = epoch_batches(rows, size, seed, epoch)
    assert sorted(k for batch in batches for k in batch) == list(range(len(rows)))
    assert all(1 <= len(batch) <= size for batch in batches)
    assert batches == epoch_batches(rows, size, seed, epoch)


@given(lengths)
def test_the_longest_row_is_in_the_first_batch(rows):
    assert max(rows[k] for k in epoch_batches(rows, 8, 1, 0)[0]) == max(rows)


def test_seeds_and_epochs_give_other_orders():
    rows = list(range(1, 101))
    orders = {str(epoch_batches(rows, 8, seed, epoch)) for seed in (1, 2) for epoch in (0, 1)}
    assert len(orders) == 4


def test_little_is_padding_where_lengths_differ():
    rows = np.random.default_rng(0).integers(5, 60, 1000).tolist()
    batches = epoch_batches(rows, 16, 0, 0)
    padded = sum(max(rows[k] for k in batch) * len(batch) for batch in batches)
    assert padded < 1.05 * sum(rows)


@given(lengths, st.integers(1, 400))
def test_reading_batches_hold_every_row_and_no_more_tokens_than_asked(rows, tokens):
    batches = length_batches(rows, tokens)
    assert sorted(k for batch in batches for k in batch) == list(range(len(rows)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(rows[k] for k in batch) <= tokens
