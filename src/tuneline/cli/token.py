"""`tuneline token ...`: who may ask this home's server from elsewhere.

These write the record itself, not through a server: the first token must be there before one may listen.
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tuneline.cli.connect import settings
from tuneline.cli.output import json_option, print_json, print_table, say, short_time
from tuneline.errors import SettingError

if TYPE_CHECKING:
    from tuneline.record.tokens import Tokens

GENERATE = "`tuneline token generate > FOLDER/NAME`"
UNITS_S = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}
LONGEST_S = 100 * 365 * 86_400


@click.group()
def token() -> None:
    """Make, list and revoke tokens for whoever asks from elsewhere."""


@token.command()
@click.argument("name")
@click.option("--expires", metavar="TIME", help="When it ends: after 90m, 12h, 30d or 8w; default: never.")
@click.option("--read-only", is_flag=True, help="It may look at everything and change nothing.")
@json_option
def create(name: str, expires: str | None, read_only: bool, as_json: bool) -> None:
    """Make a token called NAME and print it: this once, nothing can show it again.

    NAME stands wherever it is recorded who did something.
    """
    now = time.time()
    ends = None if expires is None else now + lasting(expires)
    with _tokens() as tokens:
        made = tokens.create(name, now, expires_at=ends, read_only=read_only)
    if as_json:
        body = {"name": name, "token": made, "read_only": read_only, "expires_at": _moment(ends)}
        print_json(body)
    else:
        click.echo(made)
    say(
        "Keep it now: it is not shown again. Clients send it as a bearer token, commands take TUNELINE_TOKEN."
    )


@token.command()
def generate() -> None:
    """Print a new token that no server knows yet: for a secret that `tuneline token keep` reads."""
    from tuneline.record.tokens import new_token  # noqa: PLC0415 - SQLAlchemy, which no --help needs

    click.echo(new_token())


@token.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--read-only", multiple=True, metavar="NAME", help="That one may change nothing. Repeatable.")
@json_option
def keep(folder: Path, read_only: tuple[str, ...], as_json: bool) -> None:
    """Let the files of FOLDER be good tokens, each called as its file: a secret mounted into a pod.

    Another token of the same name is revoked; one that was revoked stays so. Files whose names begin with a
    dot are left alone.
    """
    given = kept_in(folder)
    unknown = sorted(set(read_only) - set(given))
    if unknown:
        raise SettingError(
            f"--read-only names {', '.join(unknown)}, and {folder} has no such file.",
            hint=f"It has {', '.join(given) or 'none'}.",
        )
    with _tokens() as tokens:
        now = time.time()
        found = {
            name: tokens.keep(name, text, now, read_only=name in read_only) for name, text in given.items()
        }
    if as_json:
        print_json(found)
        return
    for name, state in found.items():
        click.echo(f"{name} {state}")
        if state == "revoked":
            say(f"{name} was revoked and stays so: put a new token into {folder / name}.")


@token.command(name="list")
@click.option("--all", "every", is_flag=True, help="Also those that were revoked or have expired.")
@json_option
def list_(every: bool, as_json: bool) -> None:
    """Tokens, the newest first."""
    now = time.time()
    with _tokens() as tokens:
        found = [_shown(dict(row), now) for row in tokens.all()]
    found = [row for row in found if every or row["state"] == "good"]
    if as_json:
        print_json(found)
        return
    rows = [
        [row["name"], "read" if row["read_only"] else "read and write", row["state"]]
        + [short_time(row[key]) for key in ("created_at", "expires_at", "used_at")]
        for row in found
    ]
    print_table(["name", "may", "state", "created", "expires", "last used"], rows, "There is no token.")


@token.command()
@click.argument("name")
@json_option
def revoke(name: str, as_json: bool) -> None:
    """Make the token NAME void, at once and for ever."""
    with _tokens() as tokens:
        tokens.revoke(name, time.time())
    if as_json:
        print_json({"name": name, "state": "revoked"})
    else:
        click.echo(f"{name} revoked")


def kept_in(folder: Path) -> dict[str, str]:
    """The text of every file in `folder`, by name. Raises SettingError if there is none."""
    try:
        files = sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.is_file())
        found = {path.name: path.read_text(encoding="utf-8", errors="replace").strip() for path in files}
    except OSError as error:
        raise SettingError(
            f"The folder {folder} cannot be read: {error.strerror}.",
            hint="Give a folder with a file a token.",
        ) from error
    if not found:
        raise SettingError(
            f"The folder {folder} has no file.", hint=f"{GENERATE} prints what belongs in one."
        )
    return found


def lasting(text: str) -> float:
    """Seconds of `90m`, `12h`, `30d`, `8w`. Raises SettingError."""
    found = re.fullmatch(r"(\d{1,9})([mhdw])", text.strip().lower())
    seconds = int(found[1]) * UNITS_S[found[2]] if found else 0
    if not 0 < seconds <= LONGEST_S:
        raise SettingError(
            f"--expires {text} is no time that a token can last.", hint="Write 90m, 12h, 30d or 8w."
        )
    return seconds


@contextmanager
def _tokens() -> Iterator["Tokens"]:
    chosen = settings()
    if chosen.url:
        raise SettingError(
            "Tokens are made on the machine of the server, and TUNELINE_URL names another one.",
            hint="Unset TUNELINE_URL, or do it there.",
        )
    from tuneline.record.record import Record  # noqa: PLC0415 - SQLAlchemy, which no --help needs

    record = Record(chosen.record_url)
    try:
        record.migrate()
        yield record.tokens
    finally:
        record.close()


def _shown(row: dict[str, Any], now: float) -> dict[str, Any]:
    state = "revoked" if row["revoked_at"] else "good"
    if state == "good" and row["expires_at"] is not None and row["expires_at"] <= now:
        state = "expired"
    times = ("created_at", "expires_at", "revoked_at", "used_at")
    shown = {"name": row["name"], "state": state, "read_only": bool(row["read_only"])}
    return shown | {key: _moment(row[key]) for key in times}


def _moment(at: float | None) -> str | None:
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
