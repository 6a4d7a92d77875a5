"""Drawings of graphs: who stands left of whom, nothing on top of another, thousands in little time."""

from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from tuneline.web.graph import HEIGHT, MOST, WIDTH, Node, draw, worst


def node(name, *needs, state="PENDING"):
    return Node(name, state, frozenset(needs))


def columns(drawing):
    return {box.node.name: box.x for box in drawing.boxes}


def test_a_task_stands_right_of_all_that_it_needs():
    at = columns(draw([node("d", "b", "c"), node("a"), node("b", "a"), node("c", "b"), node("e")]))
    assert at["a"] == at["e"] < at["b"] < at["c"] < at["d"]


def test_two_chains_do_not_cross():
    chains = [node("x1"), node("y1"), node("y2", "y1"), node("x2", "x1"), node("x3", "x2"), node("y3", "y2")]
    rows = {box.node.name: box.y for box in draw(chains).boxes}
    assert rows["x1"] == rows["x2"] == rows["x3"] != rows["y1"] == rows["y2"] == rows["y3"]


def test_a_cycle_or_an_unknown_need_is_no_hindrance():
    assert len(draw([node("a", "b"), node("b", "a"), node("c", "nobody")]).boxes) == 3
    empty = draw([])
    assert (empty.boxes, empty.lines) == ((), ())


@st.composite
def graphs(draw_):
    count = draw_(st.integers(1, 40))
    return [
        node(f"n{n}", *(f"n{m}" for m in draw_(st.sets(st.integers(0, max(0, n - 1)), max_size=3)) if m < n))
        for n in range(count)
    ]


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_every_task_has_a_place_of_its_own_and_every_need_a_line_forward(nodes):
    drawing = draw(nodes)
    at = columns(drawing)
    assert set(at) == {one.name for one in nodes}
    assert all(at[need] < at[one.name] for one in nodes for need in one.needs)
    assert len(drawing.lines) == sum(len(one.needs) for one in nodes)
    for one, other in combinations(drawing.boxes, 2):
        assert abs(one.x - other.x) >= WIDTH or abs(one.y - other.y) >= HEIGHT
    assert all(box.x + WIDTH <= drawing.width and box.y + HEIGHT <= drawing.height for box in drawing.boxes)


def test_five_thousand_tasks_are_a_few_boxes_that_count_them():
    nodes = [node("start", state="SUCCEEDED")]
    nodes += [node(f"work-{n}", "start", state="FAILED" if n == 77 else "SUCCEEDED") for n in range(2, 5000)]
    nodes += [node("end", *(f"work-{n}" for n in range(2, 5000)))]
    drawing = draw(nodes)
    found = {box.label: (box.node.state, box.count) for box in drawing.boxes}
    assert found == {"start": ("SUCCEEDED", 1), "work ×4998": ("FAILED", 4998), "end": ("PENDING", 1)}
    assert len(drawing.lines) == 2


def test_a_long_chain_is_cut_and_says_so():
    drawing = draw([node(f"step{n}", *([f"step{n - 1}"] if n else [])) for n in range(5000)])
    assert (len(drawing.boxes), drawing.left_out) == (MOST, 5000 - MOST)


def test_a_box_of_many_shows_the_worst_of_them():
    assert worst(["SUCCEEDED", "RUNNING", "FAILED"]) == "FAILED"
    assert worst([]) == "PENDING"
