"""The tutorial is typed into a real bash, and its page says what that printed."""

import importlib.util
import os
import re
from itertools import count
from pathlib import Path

import click
import pytest

from tuneline.cli.main import cli

ROOT = Path(__file__).parents[2]
PAGE = """
## First

<!-- keep: two || four -->

```console
$ printf 'one\\ntwo\\ntune: 1 of 9 steps\\nfour\\nfive\\ntwo\\n'
what was printed before
```

```console
$ cd /; x=5
$ pwd; exit 3  # exits with 3
old
```

## Second

```console
$ echo "$x $(pwd)"
```

<!-- durations -->
| old | table |

The end.
"""
WANTED = """
## First

<!-- keep: two || four -->

```console
$ printf 'one\\ntwo\\ntune: 1 of 9 steps\\nfour\\nfive\\ntwo\\n'
...
two
four
...
```

```console
$ cd /; x=5
$ (pwd; exit 3)  # exits with 3
/
```

## Second

```console
$ echo "$x $(pwd)"
5 /
```

<!-- durations -->
| chapter | about |
|---|---|
| First | 5 min |
| Second | 2 min |

The end.
"""


@pytest.fixture(scope="module")
def recorder():
    spec = importlib.util.spec_from_file_location("record_tutorial", ROOT / "docs" / "record_tutorial.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def shell(recorder, tmp_path):
    made = recorder.Shell(tmp_path, dict(os.environ))
    yield made
    made.close()


def test_a_page_is_typed_into_one_shell_and_keeps_what_it_says_that_it_keeps(recorder, shell):
    """A real bash, 20 ms."""
    page, ticks = PAGE.replace("pwd; exit 3", "(pwd; exit 3)"), count(0, 100)
    once = recorder.recorded(page, shell.type, lambda: next(ticks))
    assert once == WANTED
    ticks = count(0, 100)
    assert recorder.recorded(once.replace("$ cd /; x=5", "$ cd /"), shell.type, lambda: next(ticks)) == (
        WANTED.replace("$ cd /; x=5", "$ cd /")
    )


def test_a_command_that_ends_otherwise_stops_it(recorder, shell):
    with pytest.raises(SystemExit, match="It ended with 1, not 0: false"):
        recorder.recorded("```console\n$ false\n```\n", shell.type)


def test_every_command_of_the_tutorial_is_there_with_its_options():
    page = (ROOT / "docs" / "tutorial.md").read_text()
    typed = re.findall(r"(?:^\$ |\$\(|until )tuneline ([^\n|>;]*)", page, re.MULTILINE)
    assert len(typed) > 15
    for words in typed:
        found, path = cli, []
        for word in words.split():
            inner = found.get_command(click.Context(found), word) if isinstance(found, click.Group) else None
            if inner is not None:
                found, path = inner, [*path, word]
            elif word.startswith("--"):
                assert word in {each for option in found.params for each in option.opts}, (path, word)
        assert path, words
