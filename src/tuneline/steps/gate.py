"""The step `gate`: the evaluation's report and predictions in, the verdict out.

A refusal is a verdict, not a failed task: the line goes on and `propose` records the rejected release.
"""

import json
from dataclasses import replace

import polars as pl

from tuneline.plan.compared import compared
from tuneline.plan.comparison import Comparison
from tuneline.plan.gate import judge
from tuneline.steps.io import Step
from tuneline.types import canonical_json, digest_bytes

UNKNOWN = "unknown: "
"""What the step `live` puts before the reason, in place of a digest, when nobody could say what is live."""


def run(step: Step) -> None:
    """Parameters: rules, live_release, live_digest; safety where there are slices of it.

    Inputs: report, predictions; of each further held-out set report_NAME and predictions_NAME; latency where
    it was measured. Raises: DataError if report and predictions disagree.
    """
    names = [key.removeprefix("report_") for key in step.inputs if key.startswith("report_")]
    comparison = replace(_read(step, ""), sets={name: _read(step, f"_{name}") for name in names})
    if "latency" in step.inputs:
        found = json.loads(step.inputs["latency"].read_text(encoding="utf-8"))
        comparison = replace(comparison, latency=found)
    safety = step.parameters.get("safety") or {}
    verdict = judge(step.parameters.get("rules", []), comparison, safety)
    verdict = replace(verdict, comparison=compared(comparison))
    step.outputs["verdict"].write_text(canonical_json(verdict.to_json()) + "\n", encoding="utf-8")
    for finding in verdict.findings:
        step.note(f"{'pass' if finding.passed else 'REFUSED'}  {finding.rule}: {finding.reason}")
    step.set("passed", verdict.passed)


def _read(step: Step, suffix: str) -> Comparison:
    """The comparison on one held-out set."""
    report = json.loads(step.inputs[f"report{suffix}"].read_text(encoding="utf-8"))
    predictions = pl.read_parquet(step.inputs[f"predictions{suffix}"])
    digest = str(step.parameters.get("live_digest", ""))
    unknown = digest.removeprefix(UNKNOWN) if digest.startswith(UNKNOWN) else ""
    rows = "\n".join(sorted(predictions["row"].to_list()))
    made = Comparison.of(
        report,
        {name: predictions[name].to_list() for name in predictions.columns if name != "row"},
        live_release=str(step.parameters.get("live_release", "")),
        live_digest="" if unknown else digest,
        live_unknown=unknown,
    )
    about = {"rows_digest": digest_bytes(rows.encode()), "set": report.get("set")}
    return replace(made, about={**about, "models": report.get("models") or {}})
