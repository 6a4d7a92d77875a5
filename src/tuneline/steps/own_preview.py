"""`tuneline data preview` of a project with code of its own: rows as that code gets them."""

import json
from pathlib import Path

import numpy as np
import polars as pl

from tuneline.plan.own_line import PREPARE
from tuneline.spec.project import Project
from tuneline.steps.choosing import TEST, TRAIN, by_hash
from tuneline.steps.prepare_rows import RowRecipe, Rows, choose_rows, values
from tuneline.steps.preview_rows import DroppedRow, PreviewRow, dropped_rows
from tuneline.steps.tables import INDEX


def own_rows(project: Project, files: list[Path], limit: int) -> tuple[Rows, tuple[PreviewRow, ...]]:
    """`limit` training rows (those with the smallest hash) and one held-out row. Raises: DataError."""
    parameters = {param.name: project.value(param.field) for param in PREPARE.params}
    test = project.data.split.test
    rows = choose_rows(files, RowRecipe.of(parameters), test=test, limit=project.data.limit)
    found = []
    for side, name, count in ((TRAIN, "train", limit), (TEST, "test", 1)):
        chosen = np.sort(by_hash(rows.survey, rows.choice.rows(side))[:count])
        table = rows.table.frame.filter(pl.col(INDEX).is_in(chosen.tolist()))
        shown = table.select(pl.col(INDEX), **values(rows.table, rows.recipe)).collect(engine="streaming")
        for row in shown.iter_rows(named=True):
            number = row.pop(INDEX) + 1
            label = row.get(rows.recipe.label)
            text = json.dumps(row, ensure_ascii=False, default=str)
            found.append(PreviewRow(number, name, None if label is None else str(label), (), text))
    return rows, tuple(found)


def own_dropped(rows: Rows) -> tuple[DroppedRow, ...]:
    """The first rows dropped for each reason."""
    return dropped_rows(rows.table, rows.choice.examples(), list(rows.recipe.wanted()))
