"""What a run looks like while it goes: a rich picture for a terminal. Pure.

Every state stands there as a word; marks and colours only repeat it.
"""

from collections.abc import Mapping
from typing import Any, Literal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tuneline.cli.progress import (
    WORDS,
    Track,
    Tracks,
    doing,
    duration,
    label,
    rest_of,
    seconds_between,
    share_done,
    sparkline,
    title,
)

Run = Mapping[str, Any]
"""The API's run."""

MARKS = {
    "PENDING": ("·", "dim"), "RUNNING": ("▸", "cyan"), "SUCCEEDED": ("✓", "green"), "CACHED": ("✓", "green"),
    "SKIPPED": ("-", "dim"), "FAILED": ("✗", "bold red"), "CANCELED": ("■", "yellow"),
}  # fmt: skip
BAR = 20
"""Width of a progress bar, in characters."""


def picture(run: Run, tracks: Tracks, now: float, footer: str = "") -> RenderableType:
    """One line a task: mark, name, state, seconds, and how far the running ones are. now: Unix seconds."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    columns: tuple[tuple[Literal["left", "right"], int], ...] = (("left", 10), ("left", 8), ("right", 6))
    for justify, width in columns:  # at least so wide: nothing jumps as words change
        table.add_column(no_wrap=True, justify=justify, min_width=width)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for task in run["tasks"]:
        mark, style = MARKS.get(task["state"], ("?", ""))
        table.add_row(
            Text(f"{mark} {label(task)}", style=style),
            Text(WORDS.get(task["state"], task["state"]), style=style),
            "" if task["state"] == "CACHED" else duration(task["seconds"]),
            _detail(task, tracks.get(task["name"])),
        )
    took = duration(seconds_between(run["created_at"], run["finished_at"], now))
    head = Text.assemble((title(run), "bold"), f"  run {run['id']}  {run['state'].lower()}  {took}")
    head.no_wrap, head.overflow = True, "ellipsis"
    parts: list[RenderableType] = [head, table]
    if rest := rest_of(run):
        parts.append(Text(f"  {rest}", style="dim"))
    if footer:
        parts.append(Text(footer, style="cyan"))
    return Group(*parts)


def _detail(task: Mapping[str, Any], track: Track | None) -> Text:
    said = doing(task, track)
    share = share_done(task)
    text = Text(
        no_wrap=True,
        overflow="ellipsis",
        style="red" if task["state"] == "FAILED" else "dim" if share is None else "",
    )
    if share is not None:
        filled = int(BAR * share)
        text.append("━" * filled, style="cyan")
        text.append("╌" * (BAR - filled) + "  ", style="dim")
    text.append(said)
    if track is not None and track.losses:
        text.append("  " + sparkline(track.losses, BAR), style="cyan")
    return text
