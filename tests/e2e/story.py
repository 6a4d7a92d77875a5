"""The story's projects: a model that knows the words it was trained on, and rows in two languages of use.

One has own code on `pyfunc`, the other a tiny language model on llama.cpp. Everything is made by rule, so a
release's quality is what its training rows make it: few rows know few words, flipped labels know them the
wrong way round, and rows of another use know none of these.
"""

import json
import random
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.tiny import tiny_gguf

Use = tuple[str, Sequence[str]]
"""What is talked of, and its words: the first half of them is good."""


@dataclass(frozen=True)
class Kind:
    """What the model is."""

    name: str
    """`rows` or `prompts`: how users ask, see story_load.py."""
    step: str
    """The step that trains."""
    few: int
    """Rows that teach it something, and not enough."""
    files: Mapping[str, str]
    """Of the project's folder, by name; `FOLDER` stands for its path."""
    films: Use
    parcels: Use


REST = """
        gate:
          - accuracy >= 0.4
          - noninferior(accuracy, live, margin=0.1)
          - noninferior(sets.checked.accuracy, live, margin=0.1)
        deploy:
          RUNTIME
          keep_bodies: 1
          rollout:
            strategy: ab
            shadow: true
            every: 1s
            min_requests: 60
            metrics: [errors, feedback]
            margins: {errors: 0.1, feedback: 0.05}
        monitor:
          drift: {every: 10s, settle: 2s, window: 100, retrain: true}
        """
OWN_CODE = {
    "train.py": """
        import json
        def main(rows, model_dir, params):
            votes = {}
            for row in rows:
                for word in set(row["text"].split()):
                    seen = votes.setdefault(word, {"bad": 0, "good": 0})
                    seen[row["label"]] += 1
            with open(f"{model_dir}/model.json", "w") as file:
                json.dump(votes, file, sort_keys=True)
            return {"words": len(votes)}
        """,
    "serve.py": """
        import json
        def load(model_dir):
            with open(f"{model_dir}/model.json") as file:
                votes = json.load(file)
            def label(row):
                found = [votes[word] for word in set(row["text"].split()) if word in votes]
                sure = [each for each in found if not (each["good"] and each["bad"])]
                return "good" if sum(each["good"] - each["bad"] for each in sure) > 0 else "bad"
            return lambda rows: [label(row) for row in rows]
        """,
    "tuneline.yaml": """
        name: moods
        data:
          source: rows.jsonl
          label: label
          map: {label: {"0": bad, "1": good, bad: bad, good: good}}   # the site's codes, and our own words
          split: {test: 0.3}
        train: {entry: "train.py:main"}
        evaluate:
          sets: {checked: {source: checked.jsonl}}                    # somebody looked at these labels
        """
    + REST.replace("RUNTIME", 'entry: "serve.py:load"'),
}
PROMPTS = {
    "tuneline.yaml": """
        name: moods
        data:
          source: rows.jsonl
          map: {label: {"0": bad, "1": good, bad: bad, good: good}}
          prompt: "{text}\\nMood:"
          completion: " {label}"
          split: {test: 0.15}
        base_model: FOLDER/tiny.gguf
        train: {r: 4, lora_alpha: 8, learning_rate: 0.02, num_train_epochs: 2, dtype: float32}
        evaluate:
          task: classify
          sets: {checked: {source: checked.jsonl}}
        """ + REST.replace("RUNTIME", "runtime: llamacpp"),
}  # fmt: skip
CODES = {"bad": "0", "good": "1"}
KINDS = (
    Kind(
        "rows",
        "train",
        12,
        OWN_CODE,
        ("film", [f"{place}{kind}" for kind in ("fine", "dull") for place in "abcdefghijkl"]),
        ("parcel", [f"{place}{kind}" for kind in ("quick", "lost") for place in "mnopqrstuvwx"]),
    ),
    Kind(
        "prompts",
        "tune",
        64,
        PROMPTS,
        ("film", ("good", "great", "fine", "bad", "poor", "dull")),
        ("parcel", ("quick", "funny", "loved", "lazy", "sad", "hated")),
    ),
)


def rows(use: Use, count: int, first: int = 0) -> list[dict[str, str]]:
    """`count` distinct texts with their labels, in our words; `first` numbers them."""
    what, words = use
    chance = random.Random(f"{what} {first}")
    found = []
    for number in range(first, first + count):
        word = chance.choice(words)
        label = "good" if words.index(word) < len(words) // 2 else "bad"
        found.append({"text": f"a {word} {what} no {number:05d}", "label": label})
    return found


def coded(found: list[dict[str, str]]) -> list[dict[str, str]]:
    """The same with the labels as the site writes them."""
    return [row | {"label": CODES[row["label"]]} for row in found]


def write_rows(path: Path, found: list[dict[str, str]]) -> Path:
    """One JSON object a line; the file is there whole or not at all."""
    scratch = path.with_suffix(".new")
    scratch.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
    return scratch.replace(path)


def write_project(folder: Path, kind: Kind) -> Path:
    """The project with its history, and the rows somebody checked."""
    folder.mkdir()
    for name, text in kind.files.items():
        (folder / name).write_text(textwrap.dedent(text).replace("FOLDER", str(folder)))
    if kind.name == "prompts":
        tiny_gguf(folder / "tiny.gguf", "gemma3")
    write_rows(folder / "rows.jsonl", coded(rows(kind.films, 600)))
    write_rows(folder / "checked.jsonl", rows(kind.films, 100, 1000))
    return folder
