"""Chosen rows out of the table: counted in tokens, and written as `rows.parquet`. Streams; memory does not
grow with rows.

Bytes depend on the rows alone: fixed row groups, one order (that of the files), nothing of time or place.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tuneline.steps.choosing import Bytes
from tuneline.steps.tables import INDEX
from tuneline.train.tokenizer import Tokenizer, render_chat

ROW_GROUP = 65_536
"""Rows in a row group."""
Tokens = NDArray[np.int32]


def token_lengths(texts: Sequence[str], tokenizer: Tokenizer, *, special: bool = True) -> list[int]:
    """How many ids each text has."""
    return [
        len(found) for found in tokenizer.backend.encode_batch_fast(list(texts), add_special_tokens=special)
    ]


def count_tokens(
    rows: pl.LazyFrame,
    chosen: NDArray[np.int64],
    total: int,
    tokenizer: Tokenizer,
    *,
    chat: bool,
    seen: Callable[[int], None],
) -> Tokens:
    """Tokens of the chosen rows (indices, ascending), as they are trained on: from BOS to the end token.

    Args:
        rows: `shapes.written`, of `total` rows.
        seen: told how many rows were counted, batch by batch.
    Raises: ModelError if rows are messages and the model has no chat template.
    """
    wanted = np.zeros(total, dtype=np.bool_)
    wanted[chosen] = True
    end = "" if chat else tokenizer.eos_token

    def count(batch: pl.Series) -> pl.Series:
        columns = batch.struct.unnest()
        if chat:
            texts = [render_chat(tokenizer, json.loads(text), generate=False) for text in columns["messages"]]
        else:
            pairs = zip(columns["prompt"], columns["completion"], strict=True)
            texts = [prompt + (said if said.endswith(end) else said + end) for prompt, said in pairs]
        seen(len(texts))
        return pl.Series(token_lengths(texts, tokenizer, special=not chat), dtype=pl.Int32)

    text = pl.struct("prompt", "completion", "messages")
    counted = rows.filter(marked(wanted)).select(
        text.map_batches(count, return_dtype=pl.Int32, is_elementwise=True)
    )
    return counted.collect(engine="streaming").to_series().to_numpy()


def write_rows(
    rows: pl.LazyFrame, chosen: NDArray[np.bool_], digests: Bytes, tokens: Tokens | None, path: Path
) -> None:
    """Write the rows marked in `chosen` with their digests and tokens.

    Args:
        rows: `shapes.written`.
        digests: of all rows, in order: (rows, 16).
        tokens: of all rows; None leaves the column null.
    """
    counted = pl.lit(None, dtype=pl.Int32) if tokens is None else _looked_up(tokens, pl.Int32)
    kept = [name for name in rows.collect_schema() if name.startswith("keep_")]
    table = rows.filter(marked(chosen)).select(
        hexadecimal(digests).alias("row"),
        "prompt",
        "completion",
        "messages",
        "label",
        counted.alias("tokens"),
        *kept,
    )
    table.sink_parquet(
        path,
        compression="uncompressed",  # read once, right after; zstd would take a third of the time
        row_group_size=ROW_GROUP,
        statistics=False,
        maintain_order=True,
    )


_PAIRS = np.array([f"{byte:02x}" for byte in range(256)], dtype="S2")


def hexadecimal(digests: Bytes) -> pl.Expr:
    """For each row of a batch, its digest as text."""

    def written(at: pl.Series) -> pl.Series:
        pairs = _PAIRS[digests[at.to_numpy()]]  # (batch, 16) of two digits
        return pl.Series(np.ascontiguousarray(pairs).view("S32").ravel(), dtype=pl.Binary).cast(pl.String)

    return pl.col(INDEX).map_batches(written, return_dtype=pl.String, is_elementwise=True)


def marked(marks: NDArray[np.bool_]) -> pl.Expr:
    """For each row of a batch, whether it is marked."""
    return _looked_up(marks, pl.Boolean)


def _looked_up(values: NDArray[np.bool_] | Tokens, kind: type[pl.DataType]) -> pl.Expr:
    """For each row of a batch, its entry in `values`, an array over all rows."""
    return pl.col(INDEX).map_batches(
        lambda at: pl.Series(values[at.to_numpy()], dtype=kind), return_dtype=kind, is_elementwise=True
    )
