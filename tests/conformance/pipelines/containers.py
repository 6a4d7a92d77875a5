"""Container components: images, commands, IfPresent and Concat, environment, resources, exit codes."""

from typing import List, Optional

from kfp import components, dsl
from tests.conformance.pipelines.common import case, component, write_text


@dsl.container_component
def hello(who: str, out: dsl.OutputPath(str)):
    """Says hello from a shell."""
    return dsl.ContainerSpec(
        image="alpine:3.20",
        command=["sh", "-c", 'mkdir -p "$(dirname "$1")" && echo -n "hello $0" > "$1"'],
        args=[who, out],
    )


@case(parameters={"who": "you there"}, tasks={"hello": "SUCCEEDED"}, outputs={"Output": "hello you there"})
@dsl.pipeline(name="a-container-with-a-shell")
def shell(who: str) -> str:
    return hello(who=who).outputs["out"]


@dsl.container_component
def plain():
    """No inputs, no outputs."""
    return dsl.ContainerSpec(image="busybox", command=["echo", "said without inputs"])


case(tasks={"plain": "SUCCEEDED"}, logs={"plain": "said without inputs"})(plain)


@dsl.container_component
def maybe(
    out: dsl.OutputPath(list),
    text: Optional[str] = None,
    prefix: str = "p",
    data: dsl.Input[dsl.Dataset] = None,
):
    """Arguments that come only where an input does, as JSON lines."""
    return dsl.ContainerSpec(
        image="python:3.11",
        command=[
            "python3",
            "-c",
            "import json, os, sys\n"
            "os.makedirs(os.path.dirname(sys.argv[1]), exist_ok=True)\n"
            "open(sys.argv[1], 'w').write(json.dumps(sys.argv[2:]))\n",
        ],
        args=[
            out,
            dsl.IfPresentPlaceholder(input_name="text", then=["--text", text], else_=["--no-text"]),
            dsl.IfPresentPlaceholder(input_name="data", then="--data"),
            dsl.ConcatPlaceholder(["--prefix=", prefix, "/", "end"]),
            dsl.ConcatPlaceholder(
                [
                    "<",
                    dsl.IfPresentPlaceholder(input_name="text", then=dsl.ConcatPlaceholder([text, "!"])),
                    ">",
                ]
            ),
        ],
    )


@case(
    tasks={"maybe": "SUCCEEDED", "maybe-2": "SUCCEEDED"},
    task_outputs={
        "maybe": {"out": ["--no-text", "--prefix=p/end", "<>"]},
        "maybe-2": {"out": ["--text", "a b", "--prefix=it's/end", "<a b!>"]},
    },
)
@dsl.pipeline(name="if-present-and-concat")
def if_present():
    maybe()
    maybe(text="a b", prefix="it's")


@dsl.container_component
def with_lists(
    data: dsl.Input[List[dsl.Dataset]],
    out: dsl.OutputPath(list),
    other: dsl.Input[List[dsl.Dataset]] = None,
):
    """The URIs in a list of artifacts, given as one argument."""
    return dsl.ContainerSpec(
        image="python:3.11",
        command=[
            "python",
            "-c",
            "import json, os, sys\n"
            "texts = [open(one['uri']).read() for one in json.loads(sys.argv[2])]\n"
            "os.makedirs(os.path.dirname(sys.argv[1]), exist_ok=True)\n"
            "open(sys.argv[1], 'w').write(json.dumps(texts + sys.argv[3:]))\n",
        ],
        args=[
            out,
            data,
            dsl.IfPresentPlaceholder(input_name="data", then="--data"),
            dsl.IfPresentPlaceholder(input_name="other", then="--other", else_="--alone"),
        ],
    )


@case(
    tasks={
        "for-loop-2": "SUCCEEDED",
        "for-loop-2/0": "SUCCEEDED",
        "for-loop-2/0/write-text": "SUCCEEDED",
        "for-loop-2/1": "SUCCEEDED",
        "for-loop-2/1/write-text": "SUCCEEDED",
        "with-lists": "SUCCEEDED",
    },
    task_outputs={"with-lists": {"out": ["a", "b", "--data", "--alone"]}},
)
@dsl.pipeline(name="a-list-of-artifacts-as-an-argument")
def list_argument():
    with dsl.ParallelFor(["a", "b"]) as word:
        made = write_text(text=word)
    with_lists(data=dsl.Collected(made.outputs["out"]))


@component
def variables(names: list) -> list:
    """Environment variables."""
    import os

    return [os.environ.get(name) for name in names]


@case(
    tasks={"variables": "SUCCEEDED"},
    outputs={"Output": ["one", 'it\'s "two" $HOME', "", None]},
)
@dsl.pipeline(name="environment")
def environment() -> list:
    task = variables(names=["A_ONE", "A_TWO", "A_EMPTY", "A_MISSING"])
    task.set_env_variable("A_ONE", "one").set_env_variable("A_TWO", 'it\'s "two" $HOME')
    return task.set_env_variable("A_EMPTY", "").output


@component
def done() -> str:
    """Says so."""
    return "done"


@case(
    parameters={"memory": "64M", "gpus": 1},
    tasks={"done": "SUCCEEDED"},
    outputs={"Output": "done"},
)
@dsl.pipeline(name="resources")
def resources(memory: str, gpus: int) -> str:
    task = done().set_cpu_request("100m").set_cpu_limit("2").set_memory_limit(memory)
    return task.set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(1).output


@case(
    parameters={"image": "python:3.11-slim"},
    tasks={"done": "SUCCEEDED"},
    outputs={"Output": "done"},
)
@dsl.pipeline(name="an-image-given-as-a-parameter")
def image_parameter(image: str) -> str:
    return done().set_container_image(image).output


@dsl.container_component
def unknown_image():
    """An image that nobody has."""
    return dsl.ContainerSpec(image="example.org/nobody-has-this:1", command=["run"])


@case(refused="nobody-has-this")
@dsl.pipeline(name="an-image-that-is-refused")
def refused_image():
    done()
    unknown_image()


@dsl.component(target_image="example.org/ours:1", base_image="python:3.11")
def containerized(n: int) -> int:
    """Lives in an image that was built for it."""
    return n


@case(refused="ours:1")
@dsl.pipeline(name="a-containerized-python-component")
def containerized_pipeline():
    containerized(n=1)


@dsl.container_component
def bad(code: int):
    """Ends with a status."""
    return dsl.ContainerSpec(
        image="alpine", command=["sh", "-c", 'echo going wrong >&2; exit "$0"'], args=[code]
    )


@case(state="FAILED", tasks={"bad": "FAILED"}, errors={"bad": "3"}, logs={"bad": "going wrong"})
@dsl.pipeline(name="a-status-that-is-not-zero")
def bad_status():
    bad(code=3)


@dsl.container_component
def outputs_as_texts(
    n: dsl.OutputPath(int), x: dsl.OutputPath(float), ok: dsl.OutputPath(bool), s: dsl.OutputPath(str)
):
    """Writes outputs as a shell does, with a newline at the end."""
    return dsl.ContainerSpec(
        image="alpine",
        command=[
            "sh",
            "-ec",
            'for f; do mkdir -p "$(dirname "$f")"; done; echo 7 > "$1"; echo 1.5 > "$2"; '
            'echo true > "$3"; echo " as it is " > "$4"',
            "sh",
        ],
        args=[n, x, ok, s],
    )


@case(
    tasks={"outputs-as-texts": "SUCCEEDED"},
    task_outputs={"outputs-as-texts": {"n": 7, "x": 1.5, "ok": True, "s": " as it is \n"}},
)
@dsl.pipeline(name="outputs-written-by-a-shell")
def shell_outputs():
    outputs_as_texts()


@dsl.container_component
def wrong_output(n: dsl.OutputPath(int)):
    """Promises a number and writes a word."""
    return dsl.ContainerSpec(
        image="alpine", command=["sh", "-c", 'mkdir -p "$(dirname "$0")" && echo seven > "$0"'], args=[n]
    )


@case(state="FAILED", tasks={"wrong-output": "FAILED"}, errors={"wrong-output": "seven"})
@dsl.pipeline(name="an-output-of-the-wrong-type")
def output_of_wrong_type():
    wrong_output()


FROM_TEXT = """
name: Join
inputs:
- {name: first, type: String}
- {name: second, type: String, optional: true}
outputs:
- {name: joined, type: String}
implementation:
  container:
    image: alpine
    command: [sh, -ec, 'mkdir -p "$(dirname "$2")"; printf "%s" "$0-$1" > "$2"']
    args:
    - {inputValue: first}
    - if:
        cond: {isPresent: second}
        then: [{inputValue: second}]
        else: [alone]
    - {outputPath: joined}
"""

join = components.load_component_from_text(FROM_TEXT)


@case(
    tasks={"join": "SUCCEEDED", "join-2": "SUCCEEDED"},
    task_outputs={"join": {"joined": "a-b"}, "join-2": {"joined": "a-alone"}},
)
@dsl.pipeline(name="a-component-from-yaml")
def from_yaml():
    join(first="a", second="b")
    join(first="a")
