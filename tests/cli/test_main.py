"""The table of commands: help without imports, names that are nearly right, exit codes."""

import subprocess
import sys

import pytest

from tuneline import __version__
from tuneline.cli.main import COMMANDS, HIDDEN

HEAVY = (
    "httpx",
    "rich",
    "yaml",
    "numpy",
    "psutil",
    "polars",
    "sqlalchemy",
    "asyncio",
    "tuneline.spec",
    "tuneline.plan",
)


def test_help_lists_every_command_with_its_line_and_hides_those_of_tasks(tuneline):
    ended = tuneline("--help")
    assert ended.code == 0
    for name, (_, _, line) in COMMANDS.items():
        assert (f"  {name} " in ended.out and line in ended.out) is (name not in HIDDEN)


@pytest.mark.parametrize(
    "arguments", [[], *([name] for name in COMMANDS), ["runs", "show"], ["data", "preview"]]
)
def test_no_help_imports_what_only_work_needs(arguments):
    program = (
        "import sys\nfrom tuneline.cli.main import cli\n"
        f"cli.main({[*arguments, '--help']!r}, standalone_mode=False)\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.startswith("Usage: ")
    assert ended.stderr.strip() == "[]"


def test_the_table_says_what_each_command_itself_says(tuneline):
    for name in COMMANDS:
        assert tuneline(name, "--help").code == 0


def test_a_name_that_is_nearly_right_is_told(tuneline):
    ended = tuneline("chek")
    assert (ended.code, ended.out) == (2, "")
    assert "Did you mean `check`?" in ended.err


@pytest.mark.parametrize(
    "arguments", [("check", "--nonsense"), ("runs", "nonsense"), ("runs", "show"), ("run", "-p", "r")]
)
def test_wrong_usage_ends_with_2_and_nothing_on_stdout(tuneline, arguments):
    if arguments[0] == "run":
        tuneline("init", "demo")
        arguments = ("run", "demo", "-p", "r")
    ended = tuneline(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert "Error: " in ended.err


def test_the_version_is_the_packages(tuneline):
    assert tuneline("--version").out == f"{__version__}\n"


def test_it_runs_as_a_module_too():
    command = [sys.executable, "-m", "tuneline", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == f"{__version__}\n"
