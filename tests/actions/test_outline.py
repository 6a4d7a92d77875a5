"""What a person is shown of runs of any shape; counts against a plain count of all leaves."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from tuneline.actions.outline import Inside, Light, Tree, outline

STATES = ("PENDING", "RUNNING", "SUCCEEDED", "FAILED")


def tree(*lines):
    """`path kind state`, the parent being the path above."""
    found = []
    for line in lines:
        path, kind, state = line.split()
        found.append(Light(path, path.rpartition("/")[0], kind, state))
    return Tree(found)


def drawn(found):
    return [(item.path, item.depth, item.closed) for item in found.shown]


def test_nested_pipelines_are_opened_and_loops_are_one_line():
    found = outline(
        tree(
            "prepare task SUCCEEDED", "inner dag RUNNING", "inner/a task SUCCEEDED", "inner/b task PENDING",
            "loop-1 loop RUNNING", "loop-1/0 iteration SUCCEEDED", "loop-1/0/x task SUCCEEDED",
            "loop-1/1 iteration PENDING", "loop-1/1/x task PENDING",
        )
    )  # fmt: skip
    assert drawn(found) == [
        ("prepare", 0, False), ("inner", 0, False), ("inner/a", 1, False), ("inner/b", 1, False),
        ("loop-1", 0, True),
    ]  # fmt: skip
    assert found.rest == {}


def test_what_failed_or_runs_in_a_loop_is_shown_under_it():
    found = outline(
        tree(
            "l loop FAILED", "l/0 iteration FAILED", "l/0/x task SUCCEEDED", "l/0/y task FAILED",
            "l/1 iteration RUNNING", "l/1/x task RUNNING", "after task PENDING",
        )
    )  # fmt: skip
    assert drawn(found) == [("l", 0, True), ("l/0/y", 1, False), ("l/1/x", 1, False), ("after", 0, False)]


def test_iterations_that_are_tasks_themselves_are_counted_as_both():
    found = tree("l loop RUNNING", "l/0 task SUCCEEDED", "l/1 task RUNNING", "l/2 task PENDING")
    assert drawn(outline(found)) == [("l", 0, True), ("l/1", 1, False)]
    assert found.inside["l"] == Inside(*2 * ({"SUCCEEDED": 1, "RUNNING": 1, "PENDING": 1},))


def test_of_five_thousand_tasks_side_by_side_few_are_shown():
    lines = [f"t{n} task {'FAILED' if n == 4000 else 'RUNNING' if n < 2 else 'PENDING'}" for n in range(5000)]
    found = outline(tree(*lines))
    assert [item.path for item in found.shown] == ["t0", "t1", "t4000"]
    assert found.rest == {"PENDING": 4997}


@st.composite
def runs(draw):
    found, graphs = [], [("", "dag")]
    for n in range(draw(st.integers(1, 60))):
        above, kind_above = draw(st.sampled_from(graphs))
        kinds = ("iteration", "task") if kind_above == "loop" else ("task", "task", "dag", "loop")
        kind = draw(st.sampled_from(kinds))
        path = f"{above}/{n}" if above else f"{n}"
        found.append(Light(path, above, kind, draw(st.sampled_from(STATES))))
        if kind != "task":
            graphs.append((path, kind))
    return found


@settings(max_examples=50, deadline=None)
@given(runs(), st.integers(1, 70))
def test_nothing_is_counted_twice_or_lost(tasks, room):
    found = outline(Tree(tasks), room)
    names = [item.path for item in found.shown]
    assert len(names) == len(set(names))
    assert len(names) <= room + 15
    hidden = Counter(
        task.state
        for task in tasks
        if task.kind == "task"
        and task.path not in names
        and not any(task.path.startswith(f"{name}/") for name in names)
    )
    assert hidden == Counter(found.rest)
