"""Placeholders and structures: what a task sees in its command. Texts are as the `kfp` SDK compiles them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneline_ir import expand, local_path, resolve, resolve_value, used

EXECUTOR_INPUT: dict[str, Any] = {
    "inputs": {
        "parameterValues": {
            "s": "a 'b' {{$}}",
            "i": 3,
            "f": 3.0,
            "d": 0.5,
            "l": [1, "x"],
            "m": {"k": 1},
            "b": True,
            "null": None,
        },
        "artifacts": {
            "data": {"artifacts": [{"name": "data", "uri": "/in/data", "metadata": {"rows": 5.0, "n": "x"}}]},
            "many": {"artifacts": [{"uri": "/in/1"}, {"uri": "/in/2"}]},
            "remote": {"artifacts": [{"name": "remote", "uri": "gs://bucket/x"}]},
            "own": {"artifacts": [{"name": "own", "uri": "/in/own", "customPath": "/data/own.csv"}]},
            "kept": {
                "artifacts": [{"uri": "s3://bucket/a/b", "metadata": {"_kfp_workspace": True}}],
            },
            "none": {"artifacts": []},
        },
    },
    "outputs": {
        "parameters": {"out": {"outputFile": "/o/out"}},
        "artifacts": {
            "model": {"artifacts": [{"name": "model", "uri": "/o/model", "metadata": {"r": 1}}]},
            "moved": {"artifacts": [{"name": "moved", "uri": "/o/moved", "customPath": "/o/elsewhere"}]},
        },
        "outputFile": "/o/executor_output.json",
    },
}
NAMES = {
    "pipeline_task_name": "train",
    "pipeline_job_schedule_time_utc": "2026-01-02T03:04:05Z",
    "workspace_path": "/tmp/ws",
}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("x={{$.inputs.parameters['i']}}", "x=3"),
        ("{{$.inputs.parameters['f']}}", "3"),
        ("{{$.inputs.parameters['d']}}", "0.5"),
        ("{{$.inputs.parameters['b']}}", "true"),
        ("{{$.inputs.parameters['l']}}", '[1, "x"]'),
        ('{{$.inputs.parameters["m"]}}', '{"k": 1}'),
        ("<{{$.inputs.parameters['null']}}>", "<>"),
        ("{{$.inputs.parameters['s']}}", "a 'b' {{$}}"),  # a value is not looked at again
        ("{{$.inputs.parameters['i']}}-{{$.inputs.parameters['i']}}", "3-3"),
        ("{{$.inputs.artifacts['data'].uri}} {{$.inputs.artifacts['data'].path}}", "/in/data /in/data"),
        ("{{$.inputs.artifacts['remote'].uri}}", "gs://bucket/x"),
        ("{{$.inputs.artifacts['remote'].path}}", "/gcs/bucket/x"),
        ("{{$.inputs.artifacts['own'].uri}} {{$.inputs.artifacts['own'].path}}", "/in/own /data/own.csv"),
        ("{{$.inputs.artifacts['kept'].path}}", "/tmp/ws/.artifacts/s3/bucket/a/b"),
        ("{{$.inputs.artifacts['data'].metadata}}", '{"rows": 5.0, "n": "x"}'),
        ("{{$.inputs.artifacts['data'].metadata['rows']}}", "5"),
        ("{{$.inputs.artifacts['data'].metadata['n']}}", "x"),
        ("{{$.inputs.artifacts['own'].metadata}}", "{}"),
        ("{{$.inputs.artifacts['many']}}", '[{"uri": "/in/1"}, {"uri": "/in/2"}]'),
        ("{{$.inputs.artifacts['none']}}", "[]"),
        ("{{$.outputs.artifacts['model'].path}}", "/o/model"),
        ("{{$.outputs.artifacts['model'].uri}}", "/o/model"),
        ("{{$.outputs.artifacts['moved'].path}}", "/o/elsewhere"),
        ("{{$.outputs.artifacts['model'].metadata['r']}}", "1"),
        ("{{$.outputs.parameters['out'].output_file}}", "/o/out"),
        ("{{$.outputs.output_file}}{{$.outputMetadataUri}}", "/o/executor_output.json" * 2),
        ("{{$.pipeline_task_name}}", "train"),
        ("{{$.pipeline_job_schedule_time_utc}}", "2026-01-02T03:04:05Z"),
        ("{{$.workspace_path}}/x", "/tmp/ws/x"),
        ("{ {$} }", "{ {$} }"),
        ("{{$name}} {{ $.x }}", "{{$name}} {{ $.x }}"),  # other template languages'
    ],
)
def test_placeholders_are_replaced(text: str, result: str) -> None:
    assert resolve(text, EXECUTOR_INPUT, NAMES) == result


def test_the_executor_input_is_put_in_as_json() -> None:
    assert json.loads(resolve("{{$}}", EXECUTOR_INPUT, {})) == EXECUTOR_INPUT


def test_the_executor_input_can_stand_inside_a_json_text() -> None:
    text = resolve('{"args": ["--input={{$.json_escape[1]}}"]}', EXECUTOR_INPUT, {})
    assert json.loads(json.loads(text)["args"][0].removeprefix("--input=")) == EXECUTOR_INPUT
    assert resolve("{{$.json_escape[0]}}", EXECUTOR_INPUT, {}) == resolve("{{$}}", EXECUTOR_INPUT, {})


@pytest.mark.parametrize(
    "text",
    [
        "{{$.inputs.parameters['none']}}",
        "{{$.inputs.artifacts['data'].name}}",
        "{{$.inputs.artifacts['none'].path}}",
        "{{$.inputs.artifacts['data'].metadata['absent']}}",
        "{{$.outputs.artifacts['data'].uri}}",
        "{{$.outputs.parameters['none'].output_file}}",
        "{{$.json_escape[9]}}",
        "{{$.nonsense}}",
        "{{$.pipeline_root}}",
        "{{$.pipeline_nonsense}}",
    ],
)
def test_a_placeholder_without_a_value_is_an_error_that_names_it(text: str) -> None:
    with pytest.raises(ValueError, match="placeholder") as caught:
        resolve(text, EXECUTOR_INPUT, {})
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("/a/b", "/a/b"),
        ("gs://b/x", "/gcs/b/x"),
        ("s3://b/x", "/s3/b/x"),
        ("minio://b/x", "/minio/b/x"),
        ("oci://registry/a/b:1", "/oci/registry_a_b:1/models"),
        ("https://host/x", "https://host/x"),
    ],
)
def test_a_remote_artifact_is_found_where_the_sdk_looks_for_it(uri: str, path: str) -> None:
    assert local_path({"uri": uri}) == path
    assert local_path({"uri": uri, "customPath": "/own"}) == "/own"
    assert local_path({"uri": uri, "metadata": {"_kfp_workspace": True}}) == (
        f"/kfp-workspace/.artifacts/{path.lstrip('/')}"
    )


def test_a_constant_is_resolved_in_lists_and_structs_and_numbers_in_it_stay_numbers() -> None:
    constant = {
        "n": ["{{$.inputs.parameters['i']}}", "{{$.inputs.parameters['l']}}", 2.5],
        "{{$.inputs.parameters['i']}}": "no. {{$.inputs.parameters['i']}}",
        "name": "{{$.pipeline_task_name}}",
    }
    assert resolve_value(constant, EXECUTOR_INPUT, NAMES) == {
        "n": [3, [1, "x"], 2.5],
        "3": "no. 3",
        "name": "train",
    }
    with pytest.raises(ValueError, match="has no value"):
        resolve_value(["{{$.inputs.parameters['absent']}}"], EXECUTOR_INPUT, NAMES)


def test_a_constant_that_begins_and_ends_with_placeholders_is_not_one() -> None:
    constant = "{{$.inputs.parameters['i']}} and {{$.inputs.parameters['i']}}"
    assert resolve_value(constant, EXECUTOR_INPUT, NAMES) == "3 and 3"


CONCAT = (  # ConcatPlaceholder(["--x=", opt, IfPresentPlaceholder("n", then=Concat(["a", n]), else_="none")])
    '{"Concat": ["--x=", "{{$.inputs.parameters[\'opt\']}}", {"IfPresent": {"InputName": "n", "Then": '
    '{"Concat": ["a", "{{$.inputs.parameters[\'n\']}}"]}, "Else": "none"}}]}'
)
PRESENT = (
    '{"IfPresent": {"InputName": "ds", "Then": ["--ds", "{{$.inputs.artifacts[\'ds\'].path}}", {"IfPresent": '
    '{"InputName": "opt", "Then": ["--opt", "{{$.inputs.parameters[\'opt\']}}"]}}], "Else": ["--no"]}}'
)
ALONE = '{"IfPresent": {"InputName": "opt", "Then": "{{$.inputs.parameters[\'opt\']}}"}}'


def _given(parameters: dict[str, Any], **artifacts: Any) -> dict[str, Any]:
    return {"inputs": {"parameterValues": parameters, "artifacts": artifacts}}


DS = {"artifacts": [{"uri": "/in/ds"}]}


@pytest.mark.parametrize(
    ("word", "executor_input", "words"),
    [
        (CONCAT, _given({"opt": "o", "n": 2.0}), ["--x=oa2"]),
        (CONCAT, _given({"opt": "o"}), ["--x=onone"]),
        (CONCAT, _given({}), ["--x=none"]),
        (CONCAT, _given({"opt": None, "n": None}), ["--x=none"]),
        (PRESENT, _given({"opt": "o"}, ds=DS), ["--ds", "/in/ds", "--opt", "o"]),
        (PRESENT, _given({"opt": None}, ds=DS), ["--ds", "/in/ds"]),
        (PRESENT, _given({"opt": "o"}), ["--no"]),
        (PRESENT, _given({}, ds={"artifacts": []}), ["--no"]),
        (ALONE, _given({"opt": ""}), [""]),
        (ALONE, _given({"opt": False}), ["false"]),
        (ALONE, _given({"opt": 0}), ["0"]),
        (ALONE, _given({}), []),
        ('{"IfPresent": {"InputName": "x", "Else": "y"}}', _given({}), ["y"]),
        ('{"Concat": ["\\u00e9\\"", "x"]}', _given({}), ['é"x']),
        ('  { "Concat" : [] }', _given({}), [""]),
        # what only looks like a structure is a word
        ('{"Concatenate": 1}', _given({}), ['{"Concatenate": 1}']),
        ('x{"Concat": []}', _given({}), ['x{"Concat": []}']),
    ],
)
def test_structures_become_words(word: str, executor_input: dict[str, Any], words: list[str]) -> None:
    assert expand(["first", word, "last"], executor_input, {}) == ["first", *words, "last"]


@given(st.sampled_from([CONCAT, PRESENT, ALONE, "{{$}}", "{{$.inputs.parameters['n']}}", '{"Concat": [1]}']))
def test_a_value_is_never_taken_for_a_placeholder_or_a_structure(value: str) -> None:
    words = ["{{$.inputs.parameters['opt']}}", "-{{$.inputs.parameters['opt']}}", ALONE, CONCAT]
    assert expand(words, _given({"opt": value}), {}) == [value, f"-{value}", value, f"--x={value}none"]


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ('{"IfPresent": {"InputName": "flag", "Then": ["--flag"]', "malformed `IfPresent`"),
        ('{"IfPresent": "invalid"}', "is not `Concat` or `IfPresent`"),
        ('{"IfPresent": {"Then": "x"}}', "is not `Concat` or `IfPresent`"),
        ('{"IfPresent": {"InputName": "x", "Then": "y", "Otherwise": "z"}}', "is not `Concat`"),
        ('{"IfPresent": {"InputName": "flag", "Then": ["--flag", 123]}}', "123 is neither a text"),
        ('{"IfPresent": {"InputName": "flag", "Then": ["--flag", null]}}', "null is neither a text"),
        ('{"IfPresent": {"InputName": "flag", "Then": [["x"]]}}', "is neither a text"),
        ('{"IfPresent": {"InputName": "flag", "Then": {"key": "value"}}}', "is not `Concat`"),
        ('{"Concat": "x"}', "is not `Concat`"),
        ('{"Concat": ["x"], "other": 1}', "is neither a text"),
        ('{"Concat": [{"IfPresent": {"InputName": "x", "Then": ["y"]}}]}', "a list of words"),
        ('{"Concat": ' + "[" * 100_000, "malformed `Concat`"),
        ('{"Concat": ["{{$.nonsense}}"]}', "{{$.nonsense}} is not supported"),
    ],
)
def test_a_malformed_structure_is_refused_before_and_when_it_runs(word: str, why: str) -> None:
    for refused in (lambda: used(word), lambda: expand([word], _given({"flag": True, "x": 1}), {})):
        with pytest.raises(ValueError, match=why.replace("{", r"\{").replace("$", r"\$")):
            refused()


def test_an_absent_parameter_is_nothing_in_a_concat_and_an_error_elsewhere() -> None:
    with pytest.raises(ValueError, match="has no value"):
        expand(["{{$.inputs.parameters['opt']}}"], _given({}), {})
    with pytest.raises(ValueError, match="has no value"):
        expand(
            ['{"IfPresent": {"InputName": "x", "Else": "{{$.inputs.parameters[\'opt\']}}"}}'], _given({}), {}
        )
    with pytest.raises(ValueError, match="has no value"):
        expand(['{"Concat": ["{{$.inputs.artifacts[\'ds\'].path}}"]}'], _given({}), {})


def test_what_a_text_uses_is_known_also_inside_structures() -> None:
    assert used("{{$}} {{$.inputs.artifacts['a'].metadata['x']}}") == [
        ("executor_input", ""),
        ("input_metadata", "a"),
    ]
    assert used(CONCAT) == [("parameter", "opt"), ("present", "n"), ("parameter", "n")]
    assert used(PRESENT) == [
        ("present", "ds"),
        ("input_path", "ds"),
        ("present", "opt"),
        ("parameter", "opt"),
    ]
