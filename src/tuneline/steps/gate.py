"""The step `gate`: the evaluation's report and predictions in, the verdict out.

A refusal is a verdict, not a failed task: the line goes on and `propose` records the rejected release.
"""

import json

import polars as pl

from tuneline.plan.comparison import Comparison
from tuneline.plan.gate import judge
from tuneline.steps.io import Step
from tuneline.types import canonical_json

UNKNOWN = "unknown: "
"""What the step `live` puts before the reason, in place of a digest, when nobody could say what is live."""


def run(step: Step) -> None:
    """Parameters: rules, live_release, live_digest. Raises: DataError if report and predictions disagree."""
    report = json.loads(step.inputs["report"].read_text(encoding="utf-8"))
    predictions = pl.read_parquet(step.inputs["predictions"])
    digest = str(step.parameters.get("live_digest", ""))
    unknown = digest.removeprefix(UNKNOWN) if digest.startswith(UNKNOWN) else ""
    comparison = Comparison.of(
        report,
        {name: predictions[name].to_list() for name in predictions.columns if name != "row"},
        live_release=str(step.parameters.get("live_release", "")),
        live_digest="" if unknown else digest,
        live_unknown=unknown,
    )
    verdict = judge(step.parameters.get("rules", []), comparison)
    step.outputs["verdict"].write_text(canonical_json(verdict.to_json()) + "\n", encoding="utf-8")
    for finding in verdict.findings:
        step.note(f"{'pass' if finding.passed else 'REFUSED'}  {finding.rule}: {finding.reason}")
    step.set("passed", verdict.passed)
