"""Titles of real GitHub issues: ROUGE-L of a fine-tuned Gemma 3 270M minus that of the base.

`python bench/issue_titles.py --data github_issues.csv.gz` (or TUNELINE_BENCH_ISSUES): columns `issue_title`
and `body`. 400 issues cut to 256 tokens are trained on, 200 others held out; the whole line runs, in a new
home that it removes. The interval is a bootstrap's over the held-out rows, paired. Take a quiet machine and
ten minutes.
"""

import argparse
import gzip
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
import yaml

from tuneline.client import Client
from tuneline.steps.choosing import TEST, TRAIN
from tuneline.steps.prepare import prepare
from tuneline.steps.shapes import Recipe
from tuneline.train.base_models import make_base
from tuneline.train.tokenizer import Tokenizer, load

TRAINED, HELD_OUT, TOKENS = 400, 200, 256
FRACTION = 0.3
PROMPT, COMPLETION = "{body}\n\nTitle:", " {title}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=os.environ.get("TUNELINE_BENCH_ISSUES", ""))
    parser.add_argument("--base", default="gemma-3-270m")
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--epochs", type=float, default=1.0)
    options = parser.parse_args()
    if not options.data:
        print("No issues: give --data FILE.csv.gz, or set TUNELINE_BENCH_ISSUES.")
        return
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory(prefix="tuneline-bench-") as home:
        env = os.environ | {"TUNELINE_HOME": f"{home}/home", "TUNELINE_PORT": "0"}
        try:
            project = write_project(Path(home) / "issue-titles", options)
            measure(project, env)
        finally:
            subprocess.run([sys.executable, "-m", "tuneline", "down"], env=env, capture_output=True)


def write_project(folder: Path, options: argparse.Namespace) -> Path:
    """Exactly so many issues on each side: which side one is on depends on the issue alone."""
    folder.mkdir()
    make_base(options.base, folder / "base", lambda _: None)
    tokenizer = load(folder / "base")
    with gzip.open(options.data, "rb") as file:
        rows = pl.read_csv(file.read(), columns=["issue_title", "body"]).drop_nulls().head(2000)
    cut = [shortened(tokenizer, *row) for row in rows.select("issue_title", "body").iter_rows()]
    everything = pl.DataFrame([row for row in cut if row], schema=["title", "body"], orient="row")
    everything.write_csv(folder / "all.csv")
    recipe = Recipe("", {}, {}, "prompt", PROMPT, COMPLETION, "", (), "generate")
    chosen = prepare(
        [folder / "all.csv"], recipe, test=FRACTION, limit=0, tokenizer=None, max_length=TOKENS
    ).choice
    at = np.concatenate([chosen.rows(TRAIN)[:TRAINED], chosen.rows(TEST)[:HELD_OUT]])
    everything[np.sort(at).tolist()].write_csv(folder / "issues.csv")
    body = {
        "name": "issue-titles",
        "data": {
            "source": "issues.csv", "prompt": PROMPT, "completion": COMPLETION, "split": {"test": FRACTION},
        },
        "base_model": options.base,
        "train": {
            "r": 8, "lora_alpha": 16, "learning_rate": options.learning_rate,
            "num_train_epochs": options.epochs, "per_device_train_batch_size": 16, "max_length": TOKENS,
        },
        "evaluate": {"task": "generate", "max_new_tokens": 32},
        "gate": ["rouge_l > 0"],
    }  # fmt: skip
    (folder / "tuneline.yaml").write_text(yaml.safe_dump(body, sort_keys=False), encoding="utf-8")
    return folder


def shortened(tokenizer: Tokenizer, title: str, body: str) -> tuple[str, str] | None:
    """Title and body, the body cut so that prompt, title and end have 256 tokens; None if nothing is left."""
    title, body = " ".join(title.split()), body.strip()
    rest = len(tokenizer.encode(PROMPT.format(body="") + COMPLETION.format(title=title))) + 2
    ids = tokenizer.encode_all([body], special=False)[0]
    room = TOKENS - rest
    if len(ids) > room:
        body = tokenizer.decode(ids[: max(0, room - 2)]).strip()
    return (title, body) if title and body else None


def measure(project: Path, env: dict[str, str]) -> None:
    began = time.perf_counter()
    command = [sys.executable, "-m", "tuneline", "run", str(project), "--json"]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"tuneline run ended with {done.returncode}:\n{done.stderr[-3000:]}")
    run = json.loads(done.stdout)["run"]
    with Client(json.loads((Path(env["TUNELINE_HOME"]) / "server.json").read_text())["url"]) as client:
        tasks = {task["name"]: task for task in client.run(run)["tasks"]}
    for name, task in tasks.items():
        print(f"  {name:10} {task['seconds']:7.1f} s")
    print(f"all: {time.perf_counter() - began:.0f} s")
    predictions = Path(tasks["evaluate"]["outputs"]["artifacts"]["predictions"][0]["uri"])
    file = predictions if predictions.is_file() else next(predictions.glob("*.parquet"))
    rows = pl.read_parquet(file)
    after, before = (rows[f"{who}_score_rouge_l"].to_numpy() for who in ("candidate", "base"))
    differences = after - before
    draws = np.random.default_rng(0).integers(0, len(rows), (10_000, len(rows)))
    low, high = np.quantile(differences[draws].mean(axis=1), [0.025, 0.975])
    print(f"{len(rows)} held-out issues: ROUGE-L {before.mean():.4f} before, {after.mean():.4f} after")
    print(f"after minus before: {differences.mean():+.4f}, 95% interval {low:+.4f} to {high:+.4f} (above 0)")
    if low <= 0:
        sys.exit("The interval is not above zero.")
    for row in rows.head(5).iter_rows(named=True):
        print(f"  {row['label']!r}\n    -> {row['candidate']!r}   (before: {row['base']!r})")


if __name__ == "__main__":
    main()
