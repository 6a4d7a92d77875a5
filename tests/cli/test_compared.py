"""The comparison of a release as text: the table, what was measured, and what was compared."""

from tests.cli.runs import METRICS, VERDICT, release, run

from tuneline.cli.compared import latency_lines, subject_lines, table_lines
from tuneline.cli.report import lines


def line(set_="", column="", value="", **numbers):
    empty = dict.fromkeys(("base", "live", "interval", "difference", "difference_interval"))
    known = {
        "set": set_,
        "column": column,
        "value": value,
        "metric": "accuracy",
        "rows": 600,
        "candidate": 0.91,
    }
    return {**empty, **known, **numbers}


MEASURED = {
    "runtime": "llamacpp", "p50": 0.1, "p95": 0.25, "ttft_p50": 0.02, "tokens_per_s": 81.25, "prompts": 64,
    "spread": {"p95": [0.2, 0.3]},
}  # fmt: skip
COMPARISON = {
    "level": 0.95,
    "against": "live",
    "models": {
        "candidate": {"digest": "sha256:c"},
        "base": {"name": "gemma-3-270m", "digest": "sha256:b"},
        "live": {"release": "reviews@1.0.0", "digest": "sha256:l"},
    },
    "sets": [
        {"set": "", "rows": 600, "left_out": 3, "rows_digest": "sha256:m", "source": None,
         "source_digest": None},
        {"set": "hard", "rows": 90, "left_out": 0, "rows_digest": "sha256:h", "source": "hard.csv",
         "source_digest": "sha256:s"},
    ],
    "lines": [
        line(base=0.5, live=0.9, difference=0.01, difference_interval=[-0.012, 0.032]),
        line(column="site", value="osaka", rows=12),
        line("hard", rows=90, live=0.95, difference=-0.04),
    ],
    "left_off": 0,
    "latency": {"candidate": MEASURED, "live": None},
}  # fmt: skip


def test_the_table_has_every_line_with_counts_estimates_and_interval():
    assert table_lines(COMPARISON) == """\
set   slice       rows  metric    candidate    base    live  difference to live, 95% interval
main  all          600  accuracy     0.9100  0.5000  0.9000  +0.0100  -0.0120 to +0.0320
main  site=osaka    12  accuracy     0.9100       -       -
hard  all           90  accuracy     0.9100       -  0.9500  -0.0400
""".splitlines()  # fmt: skip


def test_what_was_compared_is_said_by_digest():
    assert subject_lines(COMPARISON) == [
        "candidate: sha256:c",
        "base: gemma-3-270m sha256:b",
        "live: reviews@1.0.0 sha256:l",
        "set main: 600 rows, 3 left out sha256:m",
        "set hard: 90 rows sha256:h; hard.csv sha256:s",
    ]


def test_the_report_of_a_run_has_sets_slices_and_latency_below_the_main_numbers():
    verdict = {**VERDICT, "comparison": COMPARISON}
    verdict["rules"] = [{**VERDICT["rules"][0], "origin": "evaluate.safety: alpha 0.05 over 2 slices"}]
    said = "\n".join(lines(run("SUCCEEDED", metrics=METRICS, verdict=verdict, release=release()), None))
    assert "  compared   set   slice" in said
    assert "main  all" not in said
    assert "             hard  all           90  accuracy" in said
    (latency,) = latency_lines(COMPARISON)
    assert f"  latency    {latency}" in said
    assert latency.endswith("first token 0.0200 s, 81.2 tokens/s; 64 prompts, llamacpp")
    assert "accuracy >= 0.80   (evaluate.safety: alpha 0.05 over 2 slices)" in said


def test_a_long_table_is_cut_and_says_so():
    many = {**COMPARISON, "lines": [line(rows=at) for at in range(40)], "left_off": 7}
    found = table_lines(many, most=24)
    assert (len(found), found[-1]) == (26, "... 23 lines more; --json has them")
