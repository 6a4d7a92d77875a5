"""Python components of each make: with packages, in a venv, with embedded files, notebooks, task config."""

import os

from kfp import dsl
from tests.conformance.pipelines.common import case, component

FILES = os.path.join(os.path.dirname(__file__), "files")


@component(packages_to_install=["iniconfig==2.0.0"])
def with_package() -> str:
    """Uses a package that it asks for."""
    import iniconfig

    return iniconfig.__name__


@case(tasks={"with-package": "SUCCEEDED"}, outputs={"Output": "iniconfig"})
@dsl.pipeline(name="packages-to-install")
def packages() -> str:
    return with_package().output


@component(use_venv=True)
def in_venv() -> str:
    """Runs in an environment of its own."""
    import kfp

    return kfp.__name__


@case(tasks={"in-venv": "SUCCEEDED"}, outputs={"Output": "kfp"})
@dsl.pipeline(name="a-component-in-a-venv")
def venv() -> str:
    return in_venv().output


@component(base_image="python:3.9", kfp_package_path="kfp==2.14.3")
def older() -> str:
    """Compiled for an older SDK and Python."""
    import sys

    return str(sys.version_info >= (3, 9))


@case(tasks={"older": "SUCCEEDED"}, outputs={"Output": "True"})
@dsl.pipeline(name="an-older-sdk-and-python")
def older_sdk() -> str:
    return older().output


@component(embedded_artifact_path=os.path.join(FILES, "words.txt"))
def embedded(words: dsl.EmbeddedInput[dsl.Dataset]) -> str:
    """Reads a file that was embedded when it was compiled."""
    return open(words.path).read().strip()


@case(tasks={"embedded": "SUCCEEDED"}, outputs={"Output": "embedded words"})
@dsl.pipeline(name="an-embedded-file")
def embedded_file() -> str:
    return embedded().output


def double(n: int) -> int:
    """Beside the component's function."""
    return 2 * n


@component(additional_funcs=[double])
def with_functions(n: int) -> int:
    """Calls a function that was given along."""
    return double(n) + 1


@case(tasks={"with-functions": "SUCCEEDED"}, outputs={"Output": 7})
@dsl.pipeline(name="additional-functions")
def additional_functions() -> int:
    return with_functions(n=3).output


@component(task_config_passthroughs=[dsl.TaskConfigField.RESOURCES, dsl.TaskConfigField.ENV])
def configured(config: dsl.TaskConfig) -> str:
    """What the task's configuration holds."""
    return f"{config.resources} {config.env}"


@case(tasks={"configured": "SUCCEEDED"}, outputs={"Output": {"$match": "."}})
@dsl.pipeline(name="task-config")
def task_config() -> str:
    return configured().set_cpu_limit("1").set_env_variable("A", "b").output


@dsl.notebook_component(notebook_path=os.path.join(FILES, "double.ipynb"), base_image="python:3.11")
def notebook(n: int, out: dsl.Output[dsl.Dataset]):
    """Runs a notebook with a parameter."""
    dsl.run_notebook(n=n, path=out.path)


@case(
    slow=True,
    tasks={"notebook": "SUCCEEDED"},
    task_artifacts={"notebook": {"out": [{"text": "42"}]}},
)
@dsl.pipeline(name="a-notebook-component")
def notebooks():
    notebook(n=21)


@component
def metadata_of_component(n: int) -> int:
    """Sums up.

    Args:
        n: A number.

    Returns:
        The same number.
    """
    return n


@case(tasks={"metadata-of-component": "SUCCEEDED"}, outputs={"Output": 1})
@dsl.pipeline(name="descriptions-are-kept", description="A pipeline\nwith a description.")
def described() -> int:
    return metadata_of_component(n=1).output
