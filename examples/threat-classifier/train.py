"""Trains the classifier: rows in, a model's folder out. tuneline calls `main`."""

import joblib
from features import features
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction import DictVectorizer
from sklearn.pipeline import make_pipeline


def main(rows: list[dict], model_dir: str, params: dict) -> dict:
    """rows: the training rows. params: `train.params`. Returns numbers that are shown with the task."""
    forest = RandomForestClassifier(
        n_estimators=params["trees"],
        max_depth=params["max_depth"],
        class_weight="balanced",
        random_state=params["seed"],
    )
    model = make_pipeline(DictVectorizer(sparse=False), forest)
    inputs, labels = [features(row) for row in rows], [row["label"] for row in rows]
    model.fit(inputs, labels)
    joblib.dump(model, f"{model_dir}/model.joblib")
    return {"rows": len(rows), "training_accuracy": model.score(inputs, labels)}
