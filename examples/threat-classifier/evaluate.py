"""Evaluates a model on held-out rows: tuneline calls `main` for the candidate, and for what is live.

Accuracy, macro F1, confusion matrix and so on are computed from the predictions. What is measured here is
what only this project cares about: how far the threat score is from the truth, and how many threats it
misses.
"""

from serve import load


def main(rows: list[dict], model_dir: str) -> dict:
    """The predictions, one a row and in order, and metrics of our own."""
    predictions = load(model_dir).predict(rows)
    for row, said in zip(rows, predictions, strict=True):
        said["scores"] = {"mse": (said["threat"] - (row["label"] != "benign")) ** 2}
    threats = [said for row, said in zip(rows, predictions, strict=True) if row["label"] != "benign"]
    missed = sum(said["label"] == "benign" for said in threats)
    return {"metrics": {"missed_threats": missed / len(threats)}, "predictions": predictions}
