"""Placeholders of the run and the task, in parameters, f-strings, arguments and the executor's own input."""

from typing import NamedTuple

from kfp import dsl
from tests.conformance.pipelines.common import case, component, write_text


@component
def see(
    name: str, resource: str, run: str, task: str, task_id: str, root: str, created: str, scheduled: str
) -> list:
    """What the placeholders became; fails where one was left."""
    found = [name, resource, run, task, task_id, root, created, scheduled]
    assert all(one and "{{" not in one for one in found), found
    return found


@case(
    tasks={"see": "SUCCEEDED"},
    outputs={
        "Output": [
            {"$match": "."},
            {"$match": "^placeholders-of-the-run-"},
            {"$run": "id"},
            "see",
            {"$match": "."},
            {"$match": "^/"},
            {"$match": "^20..-..-..T..:..:"},
            {"$match": "^20..-..-..T..:..:"},
        ]
    },
)
@dsl.pipeline(name="placeholders-of-the-run")
def placeholders_of_the_run() -> list:
    return see(
        name=dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
        resource=dsl.PIPELINE_JOB_RESOURCE_NAME_PLACEHOLDER,
        run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
        task=dsl.PIPELINE_TASK_NAME_PLACEHOLDER,
        task_id=dsl.PIPELINE_TASK_ID_PLACEHOLDER,
        root=dsl.PIPELINE_ROOT_PLACEHOLDER,
        created=dsl.PIPELINE_JOB_CREATE_TIME_UTC_PLACEHOLDER,
        scheduled=dsl.PIPELINE_JOB_SCHEDULE_TIME_UTC_PLACEHOLDER,
    ).output


@component
def say(text: str) -> str:
    """The text."""
    return text


@dsl.pipeline(name="deeper")
def deeper(word: str) -> str:
    return say(text=f"{word} {dsl.PIPELINE_TASK_NAME_PLACEHOLDER} {dsl.PIPELINE_JOB_ID_PLACEHOLDER}").output


@case(
    tasks={"say": "SUCCEEDED", "deeper": "SUCCEEDED", "deeper/say": "SUCCEEDED"},
    outputs={"flat": {"$match": "^run [0-9a-z-]+ task say$"}, "deep": {"$match": "^in say [0-9a-z-]+$"}},
)
@dsl.pipeline(name="placeholders-in-f-strings")
def in_f_strings() -> NamedTuple("Out", [("flat", str), ("deep", str)]):
    flat = say(text=f"run {dsl.PIPELINE_JOB_ID_PLACEHOLDER} task {dsl.PIPELINE_TASK_NAME_PLACEHOLDER}")
    deep = deeper(word="in")
    return NamedTuple("Out", [("flat", str), ("deep", str)])(flat.output, deep.output)


@dsl.container_component
def everything(
    text: str,
    n: int,
    items: list,
    data: dsl.Input[dsl.Dataset],
    out: dsl.Output[dsl.Model],
    said: dsl.OutputPath(str),
    args: dsl.OutputPath(list),
):
    """All placeholders that a container's arguments may hold."""
    return dsl.ContainerSpec(
        image="alpine",
        command=[
            "sh",
            "-ec",
            'mkdir -p "$(dirname "$1")" "$(dirname "$2")" "$(dirname "$3")"\n'
            'printf %s "$4 $5 $6 $7" > "$2"\n'
            'cat "$8" > "$1"; test "$9" = "$8"\n'
            'printf \'["%s", "%s"]\' "${10}" "$(test -s "${11}" && echo no || echo yes)" > "$3"',
            "sh",
        ],
        args=[
            out.path,
            said,
            args,
            text,
            n,
            items,
            f"n={n}",
            data.path,
            data.uri,
            data.metadata["length"],
            dsl.PIPELINE_TASK_EXECUTOR_OUTPUT_PATH_PLACEHOLDER,
        ],
    )


@case(
    tasks={"write-text": "SUCCEEDED", "everything": "SUCCEEDED"},
    task_outputs={"everything": {"said": 'it\'s 7 [1, "a"] n=7', "args": ["5", "yes"]}},
    task_artifacts={"everything": {"out": [{"type": "system.Model", "text": "words"}]}},
)
@dsl.pipeline(name="placeholders-of-a-container")
def placeholders_of_a_container():
    data = write_text(text="words")
    everything(text="it's", n=7, items=[1, "a"], data=data.outputs["out"])


@dsl.container_component
def with_metadata(executor_input: str, destination: str, out: dsl.Output[dsl.Dataset]):
    """Writes the executor output by itself."""
    return dsl.ContainerSpec(
        image="python:3.11",
        command=[
            "python3",
            "-c",
            "import json, sys\n"
            "asked = json.loads(sys.argv[1])\n"
            "out = asked['outputs']['artifacts']['out']['artifacts'][0]\n"
            "assert out['type']['schemaTitle'] == 'system.Dataset', out\n"
            "assert out['name'] and out['uri'], out\n"
            "assert sys.argv[2] == asked['outputs']['outputFile'], sys.argv\n"
            "open(sys.argv[3], 'w').write('by hand')\n"
            "body = {'artifacts': {'out': {'artifacts': [{**out, 'metadata': {'by': 'hand'}}]}}}\n"
            "open(sys.argv[2], 'w').write(json.dumps(body))\n",
        ],
        args=[executor_input, destination, out.path],
    )


@case(
    tasks={"with-metadata": "SUCCEEDED"},
    task_artifacts={"with-metadata": {"out": [{"text": "by hand", "metadata": {"by": "hand"}}]}},
)
@dsl.pipeline(name="executor-input-and-output")
def executor_input_and_output():
    with_metadata(
        executor_input=dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER,
        destination=dsl.PIPELINE_TASK_EXECUTOR_OUTPUT_PATH_PLACEHOLDER,
    )
