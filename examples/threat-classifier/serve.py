"""Loads a model and answers: what the endpoint runs. tuneline calls `load` once, then `predict`."""

import joblib
from features import features


class Classifier:
    """Flows in, labels with their probabilities out."""

    def __init__(self, model_dir: str) -> None:
        self.model = joblib.load(f"{model_dir}/model.joblib")

    def predict(self, rows: list[dict]) -> list[dict]:
        """For each flow its label, how likely each is, and how likely it is a threat at all."""
        found = []
        for likely in self.model.predict_proba([features(row) for row in rows]):
            probabilities = dict(zip(self.model.classes_.tolist(), likely.tolist(), strict=True))
            label = max(probabilities, key=probabilities.get)
            threat = 1.0 - probabilities.get("benign", 0.0)
            found.append({"label": label, "threat": threat, "probabilities": probabilities})
        return found


def load(model_dir: str) -> Classifier:
    """The object whose `predict` answers."""
    return Classifier(model_dir)
