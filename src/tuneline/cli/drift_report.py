"""The report of drift: one HTML file with SVG pictures, which loads nothing. Pure: the API's object in, text
out.

Each detector has two pictures: shares of the reference beside those of the newest window, and its p-value
over time with the threshold. What a user wrote (labels, words) is escaped.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment

from tuneline.cli.drift import said
from tuneline.cli.output import short_time

WIDTH, HEIGHT = 440, 170
LEFT, BOTTOM, TOP = 40, 34, 8
FLOOR = 1e-9
"""Smaller p-values are drawn there; `plan.exact_tests` tells no smaller ones."""


def html(found: Mapping[str, Any]) -> str:
    """The whole file."""
    window = found["window"]
    findings = [
        {
            **finding,
            "since": short_time(finding.get("since")),
            "bars": bars(finding["picture"]),
            "line": line(found["windows"], finding["detector"], finding["threshold"]),
        }
        for finding in (window["findings"] if window else [])
    ]
    alerts = [{**alert, "at": short_time(alert["at"]), "ended": short_time(alert["ended_at"])}
              for alert in found["alerts"]]  # fmt: skip
    return _PAGE.render(
        found=found, findings=findings, alerts=alerts, lines=said(found), reference=found["reference"]
    )


def bars(picture: Mapping[str, Any]) -> dict[str, Any] | None:
    """Where the bars of one picture stand, in units of the drawing; None if there is nothing to draw."""
    labels: Sequence[str] = picture.get("labels") or []
    if not labels:
        return None
    sides = (picture["reference"], picture["window"])
    top = max(max(side) for side in sides) or 1.0
    step = (WIDTH - LEFT) / len(labels)
    every = max(1, math.ceil(len(labels) / 7))
    found: dict[str, Any] = {"rects": [], "ticks": [], "top": f"{top:.0%}"}
    for place, label in enumerate(labels):
        for which, side in enumerate(sides):
            height = (HEIGHT - BOTTOM - TOP) * side[place] / top
            x = LEFT + step * (place + 0.1 + 0.4 * which)
            found["rects"].append(
                {
                    "x": round(x, 1), "y": round(HEIGHT - BOTTOM - height, 1), "w": round(step * 0.4, 1),
                    "h": round(height, 1), "kind": ("reference", "window")[which],
                    "title": f"{label}: {side[place]:.2%} of the {('reference', 'window')[which]}",
                }
            )  # fmt: skip
        if place % every == 0:
            short = label if len(label) <= 10 else f"{label[:9]}…"
            found["ticks"].append({"x": round(LEFT + step * (place + 0.5), 1), "text": short})
    return found


def line(windows: Sequence[Mapping[str, Any]], detector: str, threshold: float) -> dict[str, Any] | None:
    """A detector's p-values over time on a logarithmic scale; None without any."""
    points = [
        (place, window, window["findings"][detector])
        for place, window in enumerate(windows)
        if window["findings"].get(detector, {}).get("p") is not None
    ]
    if not points:
        return None
    step = (WIDTH - LEFT - 12) / max(1, len(windows) - 1)

    def y(p: float) -> float:
        share = math.log10(max(p, FLOOR)) / math.log10(FLOOR)
        return round(HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * share, 1)

    dots = [
        {
            "x": round(LEFT + 6 + step * place, 1), "y": y(finding["p"]), "kind": finding["verdict"],
            "title": f"{short_time(window['at'])}, {window['release']}: p = {finding['p']:.2g}",
        }
        for place, window, finding in points
    ]  # fmt: skip
    ends = [short_time(windows[0]["at"]), short_time(windows[-1]["at"])]
    path = " ".join(f"{dot['x']},{dot['y']}" for dot in dots)
    return {"dots": dots, "path": path, "limit": y(threshold), "ends": ends, "low": y(FLOOR), "high": y(1.0)}


_PAGE = Environment(autoescape=True).from_string(
    """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Drift of {{ found.endpoint }}</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem;
  color: #1c2430; background: #fff }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin: 2rem 0 .3rem }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; padding: .25rem .8rem .25rem 0;
  border-bottom: 1px solid #dde2e8; vertical-align: top }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem } figure { margin: 0 } figcaption { color: #556 }
svg { max-width: 100%; height: auto } text { font: 11px system-ui, sans-serif; fill: #556 }
.reference { fill: #8794a6 } .window { fill: #d9822b } .axis { stroke: #aab; stroke-width: 1 }
.limit { stroke: #b3261e; stroke-dasharray: 5 4 } .path { fill: none; stroke: #8794a6 }
.drift { fill: #b3261e } .none { fill: #2c6e49 } .verdict-drift { color: #b3261e; font-weight: 600 }
.key { display: inline-block; width: .8em; height: .8em; margin: 0 .3em 0 .8em }
</style></head><body>
<h1>Drift of {{ found.endpoint }}{% if found.release %}: {{ found.release }}{% endif %}</h1>
{% for line in lines %}<p>{{ line }}</p>
{% endfor %}
{% if reference %}<p>Reference: {{ reference.requests }} requests, {{ reference.source }}
({{ reference.from }} to {{ reference.to }}), {{ reference.digest }}.</p>{% endif %}
{% if findings %}<table><thead><tr><th>Detector</th><th>Verdict</th><th>Since</th><th>Value</th><th>p</th>
<th>Drift if p ≤</th><th>What</th></tr></thead><tbody>
{% for f in findings %}<tr><td><a href="#{{ f.detector }}">{{ f.detector }}</a></td>
<td class="verdict-{{ f.verdict }}">{{ f.verdict }}</td><td>{{ f.since }}</td>
<td>{{ "-" if f.value is none else "%.3g"|format(f.value) }}</td>
<td>{{ "-" if f.p is none else "%.2g"|format(f.p) }}</td><td>{{ "%.1e"|format(f.threshold) }}</td>
<td>{{ f.said }}</td></tr>
{% endfor %}</tbody></table>
<p><span class="key" style="background:#8794a6"></span>reference<span class="key"
style="background:#d9822b"></span>newest window<span class="key" style="background:#b3261e"></span>drift</p>
{% endif %}
{% for f in findings %}<section id="{{ f.detector }}"><h2>{{ f.detector }}: {{ f.verdict }}</h2>
<p>{{ f.statistic }}; {{ f.reference_n }} values in the reference, {{ f.window_n }} in the window.
{{ f.said }}.</p>
<div class="pictures">
{% if f.bars %}<figure><svg width="440" height="170" viewBox="0 0 440 170" role="img"
aria-label="Shares of reference and window of {{ f.detector }}">
<line class="axis" x1="40" y1="136" x2="440" y2="136"/>
<text x="36" y="16" text-anchor="end">{{ f.bars.top }}</text>
{% for r in f.bars.rects %}<rect class="{{ r.kind }}" x="{{ r.x }}" y="{{ r.y }}" width="{{ r.w }}"
height="{{ r.h }}"><title>{{ r.title }}</title></rect>
{% endfor %}{% for t in f.bars.ticks %}<text x="{{ t.x }}" y="152" text-anchor="middle">{{ t.text }}</text>
{% endfor %}</svg><figcaption>Shares: reference and newest window</figcaption></figure>{% endif %}
{% if f.line %}<figure><svg width="440" height="170" viewBox="0 0 440 170" role="img"
aria-label="p-value of {{ f.detector }} over time">
<line class="axis" x1="40" y1="136" x2="440" y2="136"/>
<text x="36" y="{{ f.line.high }}" text-anchor="end">1</text>
<text x="36" y="{{ f.line.low + 4 }}" text-anchor="end">1e-9</text>
<line class="limit" x1="40" y1="{{ f.line.limit }}" x2="440" y2="{{ f.line.limit }}"/>
<polyline class="path" points="{{ f.line.path }}"/>
{% for d in f.line.dots %}<circle class="{{ d.kind }}" cx="{{ d.x }}" cy="{{ d.y }}" r="3">
<title>{{ d.title }}</title></circle>
{% endfor %}<text x="40" y="152">{{ f.line.ends[0] }}</text>
<text x="440" y="152" text-anchor="end">{{ f.line.ends[1] }}</text></svg>
<figcaption>p-value over time; drift is above the dashed line</figcaption></figure>{% endif %}
</div></section>
{% endfor %}
{% if alerts %}<h2>Alerts</h2>
<table><thead><tr><th>From</th><th>To</th><th>Why</th><th>Run</th></tr></thead><tbody>
{% for a in alerts %}<tr><td>{{ a.at }}</td><td>{{ a.ended or "now" }}</td><td>{{ a.why }}</td>
<td>{{ a.run or a.note or "none" }}</td></tr>
{% endfor %}</tbody></table>{% endif %}
</body></html>
"""
)
