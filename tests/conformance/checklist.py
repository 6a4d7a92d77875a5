"""The checklist of KFP IR 2.1: clauses and their cases, read from the tables of docs/conformance.md."""

import re
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"
_TABLE = "| clause | what holds | cases |\n|---|---|---|\n"


@dataclass(frozen=True)
class Line:
    """One clause. `pipelines`: names of cases in `pipelines/`."""

    sentence: str
    pipelines: tuple[str, ...]


def _lines(page: str) -> dict[str, Line]:
    found: dict[str, Line] = {}
    for part in page.split(_TABLE)[1:]:
        for row in part.split("\n\n")[0].strip().splitlines():
            name, sentence, cases = (cell.strip() for cell in row.strip("|").split(" | "))
            assert name not in found, f"{name} stands twice in {PAGE}"
            found[name] = Line(sentence, tuple(re.findall(r"`([^`]+)`", cases)))
    return found


CHECKLIST = _lines(PAGE.read_text(encoding="utf-8"))
