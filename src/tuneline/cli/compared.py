"""The comparison that a verdict carries, as text: for `releases show` and the report of a run. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

View = Mapping[str, Any]
"""An object of the API."""
HEAD = ("set", "slice", "rows", "metric", "candidate", "base", "live")


def table_lines(comparison: View, *, most: int | None = None, brief: bool = False) -> list[str]:
    """The table by line, without indent; empty if there is nothing to show.

    most: so many lines of numbers at most; what is left off is counted. brief: without the main set as a
    whole, and of each slice its first metric alone.
    """
    shown = _brief(comparison["lines"]) if brief else comparison["lines"]
    if not shown:
        return []
    against = comparison["against"]
    title = f"difference to {against}, {100 * comparison['level']:g}% interval" if against else ""
    rows = [[*HEAD, title], *(_row(one) for one in shown[:most])]
    found = _aligned(rows)
    left = len(shown) - len(shown[:most]) + int(comparison["left_off"])
    return [*found, f"... {left} lines more; --json has them"] if left else found


def subject_lines(comparison: View) -> list[str]:
    """What was compared, by digest, a line each."""
    found = []
    for who, one in comparison["models"].items():
        name = " ".join(str(one[key]) for key in ("release", "name") if one.get(key))
        found.append(f"{who}: {name} {one.get('digest') or ''}".replace("  ", " ").rstrip())
    for one in comparison["sets"]:
        left_out = f", {one['left_out']} left out" if one["left_out"] else ""
        source = f"; {one['source']} {one['source_digest']}" if one["source"] else ""
        found.append(
            f"set {one['set'] or 'main'}: {one['rows']} rows{left_out} {one['rows_digest'] or ''}{source}"
        )
    return found


def latency_lines(comparison: View) -> list[str]:
    """What was measured of the runtimes, a line each; empty if nothing was."""
    latency = comparison["latency"] or {}
    found = []
    for who in ("candidate", "live"):
        one = latency.get(who)
        if not one:
            continue
        low, high = one["spread"]["p95"]
        said = f"{who}: p50 {one['p50']:.4f} s, p95 {one['p95']:.4f} s (thirds {low:.4f} to {high:.4f})"
        if "ttft_p50" in one:
            said += f", first token {one['ttft_p50']:.4f} s"
        if "tokens_per_s" in one:
            said += f", {one['tokens_per_s']:.1f} tokens/s"
        found.append(f"{said}; {one['prompts']} prompts, {one['runtime']}")
    return found


def _brief(lines: Sequence[View]) -> list[View]:
    kept, seen = [], {("", "", "")}
    for one in lines:
        part = (one["set"], one["column"], one["value"])
        if part not in seen or (one["set"] and not one["column"]):
            kept.append(one)
        seen.add(part)
    return kept


def _row(one: View) -> list[str]:
    slice_ = f"{one['column']}={one['value']}" if one["column"] else "all"
    numbers = ["-" if one[who] is None else f"{one[who]:.4f}" for who in ("candidate", "base", "live")]
    apart = ""
    if one["difference"] is not None:
        apart = f"{one['difference']:+.4f}"
        if one["difference_interval"]:
            low, high = one["difference_interval"]
            apart += f"  {low:+.4f} to {high:+.4f}"
    return [one["set"] or "main", slice_, str(one["rows"]), one["metric"], *numbers, apart]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    right = (2, 4, 5, 6)
    return [
        "  ".join(
            cell.rjust(width) if at in right else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
