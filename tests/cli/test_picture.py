"""The live picture, drawn on a console of a known width."""

from rich.console import Console
from tests.cli.runs import AT, run, task

from tuneline.cli.picture import picture
from tuneline.cli.progress import tracked

LINE = run(
    "RUNNING",
    task("fetch", "SUCCEEDED", seconds=1.2),
    task("base", "CACHED", seconds=0.0, reason="the same as task base of run 1"),
    task("tune", "RUNNING", seconds=31.0, progress=(12, 48, "steps")),
    task("evaluate", "PENDING"),
    task("verify", "FAILED", seconds=2.0, error={"message": "trained and served disagree"}),
)


def drawn(shown, width=100, **options) -> list[str]:
    """What stands on a terminal without colours."""
    console = Console(width=width, no_color=True, force_terminal=False)
    with console.capture() as captured:
        console.print(picture(shown, tracked({}, shown, AT), AT + 42, **options))
    return [line.rstrip() for line in captured.get().splitlines()]


def test_each_task_has_one_line_with_its_state_as_a_word():
    head, *tasks = drawn(LINE)
    assert head == "reviews  run 20261118-110640-abc123  running  42 s"
    assert [line.split()[1:3] for line in tasks] == [
        ["fetch", "done"], ["base", "cached"], ["tune", "running"], ["evaluate", "waiting"],
        ["verify", "FAILED"],
    ]  # fmt: skip
    assert "1.2 s" in tasks[0]
    assert "the same as task base of run 1" in tasks[1]
    assert "━━━━━╌" in tasks[2]
    assert "12 of 48 steps" in tasks[2]
    assert tasks[4].endswith("trained and served disagree")


def test_a_narrow_terminal_cuts_lines_and_never_wraps_them():
    assert len(drawn(LINE, width=40)) == 1 + len(LINE["tasks"])
    assert all(len(line) <= 40 for line in drawn(LINE, width=40)[1:])


def test_what_comes_after_the_tasks_stands_under_them():
    assert drawn(LINE, footer="reviews: starting reviews@1.1.0")[-1] == "reviews: starting reviews@1.1.0"


def test_a_message_with_brackets_is_no_markup():
    shown = run("FAILED", task("fetch", "FAILED", seconds=1.0, error={"message": "no column [red]"}))
    assert drawn(shown)[-1].endswith("no column [red]")
