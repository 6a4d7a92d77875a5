"""One graph of a run, from its IR and the states of its tasks."""

from tuneline.actions.levels import counted, inputs_of, level, needs
from tuneline.actions.outline import Inside, Light, Tree


def task(component, **more):
    return {"componentRef": {"name": component}, **more}


LEAF = {"executorLabel": "exec-x"}
SPEC = {
    "components": {
        "comp-x": LEAF,
        "comp-body": {"dag": {"tasks": {"x": task("comp-x"), "y": task("comp-x", dependentTasks=["x"])}}},
    },
    "root": {
        "inputDefinitions": {"parameters": {"n": {"parameterType": "NUMBER_INTEGER"}}},
        "dag": {
            "tasks": {
                "first": task("comp-x"),
                "inner": task(
                    "comp-body",
                    inputs={"parameters": {"n": {"taskOutputParameter": {"producerTask": "first"}}}},
                ),
                "loop-1": task("comp-body", parameterIterator={}, dependentTasks=["inner"]),
                "loop-2": task("comp-x", artifactIterator={}),
            }
        },
    },
}
TREE = Tree(
    [
        Light("first", "", "task", "SUCCEEDED"),
        Light("inner", "", "dag", "RUNNING"),
        Light("inner/x", "inner", "task", "RUNNING"),
        Light("loop-1", "", "loop", "RUNNING"),
        Light("loop-1/0", "loop-1", "iteration", "RUNNING"),
        Light("loop-1/0/x", "loop-1/0", "task", "FAILED"),
        Light("loop-2", "", "loop", "RUNNING"),
        Light("loop-2/0", "loop-2", "task", "SUCCEEDED"),
    ]
)


def test_the_pipeline_itself_has_its_tasks_with_states_and_needs():
    found = level(SPEC, TREE, "")
    assert [(place.path, place.kind, place.state, set(place.needs)) for place in found.places] == [
        ("first", "task", "SUCCEEDED", set()),
        ("inner", "dag", "RUNNING", {"first"}),
        ("loop-1", "loop", "RUNNING", {"inner"}),
        ("loop-2", "loop", "RUNNING", set()),
    ]


def test_what_has_not_been_opened_is_drawn_all_the_same():
    found = level(SPEC, TREE, "inner")
    assert [(place.path, place.state) for place in found.places] == [
        ("inner/x", "RUNNING"),
        ("inner/y", "PENDING"),
    ]
    assert found.above == (("", ""), ("inner", "inner"))


def test_a_loop_has_its_iterations_and_each_of_them_its_graph():
    assert level(SPEC, TREE, "loop-1").iterations == (("loop-1/0", "RUNNING"),)
    assert [place.path for place in level(SPEC, TREE, "loop-1/0").places] == ["loop-1/0/x", "loop-1/0/y"]
    assert level(SPEC, TREE, "loop-2/0").kind == "task"


def test_what_is_not_there_is_none():
    for path in ("nobody", "first/x", "loop-1/7", "inner/x/y"):
        assert level(SPEC, TREE, path) is None
    assert level({}, Tree([]), "").places == ()


def test_needs_come_from_inputs_too():
    parameters = {"s": {"taskFinalStatus": {"producerTask": "q"}}, "c": {"runtimeValue": 1}}
    artifacts = {"a": {"taskOutputArtifact": {"producerTask": "p"}}}
    body = {"inputs": {"artifacts": artifacts, "parameters": parameters}}
    assert set(needs(body)) == {"p", "q"}
    assert inputs_of(SPEC) == {"n": {"parameterType": "NUMBER_INTEGER"}}


def test_counts_are_of_iterations_where_there_are_any():
    inside = Inside({"SUCCEEDED": 9, "RUNNING": 2}, {"SUCCEEDED": 3, "RUNNING": 1, "FAILED": 1})
    assert counted(inside, ("SUCCEEDED",)) == "3 of 5 done, 1 running, 1 failed"
    assert counted(Inside(), ()) == ""
