"""Writes every command's `--help` into docs/cli.md, between its markers: `python docs/generate_cli.py`.

A test fails when that file is not what this makes of it.
"""

import re
from pathlib import Path

import click

from tuneline.cli.main import cli

FILE = Path(__file__).parent / "cli.md"
WIDTH = 100
BLOCK = re.compile(r"<!-- help: (?P<path>[^>]*?) -->\n.*?<!-- end -->", re.DOTALL)


def generated(text: str) -> str:
    """`text` with the help between `<!-- help: runs show -->` and `<!-- end -->` as it is now."""
    return BLOCK.sub(lambda found: _block(found["path"].strip()), text)


def described(text: str) -> set[str]:
    """Paths of the commands that `text` shows the help of, e.g. `runs show`."""
    return {found["path"].strip() for found in BLOCK.finditer(text)}


def commands() -> list[str]:
    """Paths of all commands but the hidden ones, groups included."""
    return list(_paths(cli, click.Context(cli), []))


def _paths(group: click.Group, context: click.Context, above: list[str]) -> list[str]:
    found = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        found.append(" ".join([*above, name]))
        if isinstance(command, click.Group):
            found += _paths(command, click.Context(command), [*above, name])
    return found


def _block(path: str) -> str:
    command: click.Command = cli
    width = {"terminal_width": WIDTH, "max_content_width": WIDTH}
    context = click.Context(cli, info_name="tuneline", **{**cli.context_settings, **width})
    for part in path.split():
        assert isinstance(command, click.Group)
        below = command.get_command(context, part)
        assert below is not None, f"there is no command `{path}`"
        command = below
        context = click.Context(command, info_name=part, parent=context, **width)
    return f"<!-- help: {path} -->\n```text\n{command.get_help(context).rstrip()}\n```\n<!-- end -->"


if __name__ == "__main__":
    FILE.write_text(generated(FILE.read_text(encoding="utf-8")), encoding="utf-8")
