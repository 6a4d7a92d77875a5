"""The step `hold-out` of a project with own code: held-out rows without those the live release learned.

Where none is left out the folder is the same, so what stands after it comes from the cache whatever is live.
"""

import json
from pathlib import Path

import polars as pl

from tuneline.errors import DataError
from tuneline.steps.evaluate import trained_rows
from tuneline.steps.io import Step
from tuneline.steps.prepare_rows import proof_rows


def run(step: Step) -> None:
    """Inputs `test`, `live`; puts out `test` and `left_out`. Raises: DataError if no row is left."""
    test = step.inputs["test"]
    index = pl.read_parquet(test / "rows.parquet")
    trained = trained_rows(step.inputs["live"])
    kept = ~index["row"].is_in(sorted(trained))
    left_out = int((~kept).sum())
    step.set("left_out", left_out)
    if not left_out:
        step.point_to("test", test)
        return
    if not kept.any():
        raise DataError(
            f"All {len(index)} held-out rows were training rows of the live release: nothing is left to "
            "compare on.",
            hint="Add fresh rows, or hold out more with data.split.test.",
        )
    step.note(f"{left_out} held-out rows were left out: the live release was trained on them.")
    _write(test, step.outputs["test"], index.filter(kept), kept.to_list())


def _write(test: Path, folder: Path, index: pl.DataFrame, kept: list[bool]) -> None:
    folder.mkdir()
    index.write_parquet(folder / "rows.parquet", compression="uncompressed", statistics=False)
    with (
        (test / "rows.jsonl").open(encoding="utf-8") as source,
        (folder / "rows.jsonl").open("w", encoding="utf-8") as target,
    ):
        target.writelines(line for line, keep in zip(source, kept, strict=True) if keep)
    info = json.loads((test / "info.json").read_text(encoding="utf-8"))
    info |= {"rows": len(index), "proof": proof_rows(folder)}
    text = json.dumps(info, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    (folder / "info.json").write_text(text, encoding="utf-8")
