"""Draws docs/run.svg, the picture of the terminal in the README: `python docs/picture.py [RUN]`.

Nothing is made up: it asks this home's server for the run (by default the newest that succeeded), its
endpoint and its losses, and draws with the code that draws them in a terminal.
"""

import os
import re
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from tuneline.cli.connect import Link
from tuneline.cli.following import approved_release, endpoint_name
from tuneline.cli.picture import picture
from tuneline.cli.progress import Track
from tuneline.cli.report import lines
from tuneline.client import Client, ensure_server
from tuneline.settings import Settings

FILE = Path(__file__).parent / "run.svg"
COMMAND = "tuneline run examples/movie-reviews"
WIDTH = 112
WEB_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def main(wanted: str | None) -> None:
    """Draw the run `wanted`, or the newest that succeeded."""
    client, _ = ensure_server(Settings.from_env(os.environ))
    with client:
        id = wanted or next(run["id"] for run in client.runs() if run["state"] == "SUCCEEDED")
        run = client.run(id)
        release = approved_release(run)
        name = endpoint_name(Link(client), release) if release else None
        svg = drawn(run, client.endpoint(name) if name else None, losses(client, id))
    FILE.write_text(svg, encoding="utf-8")


def losses(client: Client, id: str) -> tuple[float, ...]:
    """The training's losses, in order; none if the cache had it."""
    found: list[float] = []
    after, more = 0, True
    while more:
        answer = client.series(id, "tune", after)
        found += [float(point["loss"]) for point in answer["points"] if "loss" in point]
        more, after = answer["next"] > after, int(answer["next"])
    return tuple(found)


def drawn(run: dict[str, Any], endpoint: dict[str, Any] | None, curve: tuple[float, ...]) -> str:
    """The terminal after that run, as SVG that loads nothing from elsewhere."""
    tracks = {
        task["name"]: Track(task["attempts"], (), curve) for task in run["tasks"] if task["name"] == "tune"
    }
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        console = Console(
            record=True, width=WIDTH, file=nowhere, force_terminal=True, color_system="truecolor"
        )
        console.print(Text(f"$ {COMMAND}", style="bold"))
        console.print(picture(run, tracks, 0.0), "")
        for line in lines(run, endpoint):
            console.print(Text(line, overflow="fold"))
        return WEB_FONTS.sub("", console.export_svg(title=COMMAND))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
