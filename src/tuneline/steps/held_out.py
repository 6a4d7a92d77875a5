"""What both kinds of `prepare-NAME` of `evaluate.sets` share: trained rows left out, and what the set is."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tuneline.errors import DataError
from tuneline.steps.choosing import TEST, Choice, Survey, rows_digest, without
from tuneline.steps.io import Step
from tuneline.types import digest_json


def without_trained(survey: Survey, choice: Choice, train: Path) -> Choice:
    """The choice without the rows of `train`. Raises: DataError if none remains."""
    trained = set(pl.read_parquet(train / "rows.parquet", columns=["row"])["row"])
    at = choice.rows(TEST)
    known = np.array([row.tobytes().hex() in trained for row in survey.row[at]], dtype=np.bool_)
    choice = without(choice, at[known], "trained")
    if not (choice.side == TEST).any():
        dropped = [f"{number} dropped as `{reason}`" for reason, number in choice.counts().items()]
        raise DataError(
            f"No row of this held-out set is left: of {len(survey)} rows, {', '.join(dropped) or 'none'}.",
            hint="See its `where` in `evaluate.sets`; rows that are trained on are not held out.",
            details=dropped,
        )
    return choice


def set_report(data: Path, survey: Survey, choice: Choice) -> dict[str, Any]:
    """What the set was made of: its source and that one's digest, its rows and what was dropped."""
    source = json.loads((data / "source.json").read_text(encoding="utf-8"))
    return {
        "source": source["source"],
        "digest": digest_json(source["files"]),
        "rows_digest": rows_digest(survey, choice),
        "read": len(survey),
        "test": int((choice.side == TEST).sum()),
        "dropped": choice.counts(),
    }


def put_out(step: Step, report: Mapping[str, Any]) -> None:
    """Write the report, and say what was dropped."""
    text = json.dumps(report, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    step.outputs["report"].write_text(text, encoding="utf-8")
    if report["dropped"]:
        why = ", ".join(f"{number} dropped as `{reason}`" for reason, number in report["dropped"].items())
        step.note(f"Of {report['read']} rows {report['test']} are held out; {why}.")
    step.describe("test", {"rows": report["test"], "source_digest": report["digest"]})


def left_out_of(info: Mapping[str, Any]) -> int:
    """How many rows of a set the candidate is trained on, by its `info.json`; 0 of the main set."""
    return int((info.get("set") or {}).get("dropped", {}).get("trained", 0))
