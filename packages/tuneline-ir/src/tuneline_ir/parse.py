"""KFP IR 2.1 (a text, or the mapping it holds) -> `Pipeline`, checked as a whole, with all faults at once.

`documents` tells the pipeline's document from the platform's; `graph` reads tasks. What is refused by name:
resolvers, custom jobs, runtime parameters of tasks, other schema versions.
"""

from collections.abc import Mapping
from typing import Any

from tuneline_ir.graph import read_dag
from tuneline_ir.links import check_links, order
from tuneline_ir.model import (
    ArtifactSpec,
    Component,
    Constant,
    Container,
    Dag,
    Executor,
    Importer,
    Interface,
    IRError,
    ParameterSpec,
    Pipeline,
    PipelineInput,
)
from tuneline_ir.reading import Node
from tuneline_ir.values import TYPES, convert, whole

SCHEMA_VERSION = "2.1.0"
ROOT = ""
"""The root's name as a component, which no other has."""

_OLD_TYPES = {"INT": "NUMBER_INTEGER", "DOUBLE": "NUMBER_DOUBLE", "STRING": "STRING"}
"""`type`, which `parameterType` took the place of."""
_EXECUTOR_REFUSED = {
    "resolver": "a resolver",
    "customJob": "a custom job of a cloud",
}
_TOP = ("pipelineInfo", "deploymentSpec", "components", "root", "schemaVersion", "sdkVersion")
_IMPORTER = ("artifactUri", "typeSchema", "metadata", "reimport", "downloadToWorkspace")
_COMPONENT = ("inputDefinitions", "outputDefinitions", "taskConfigPassthroughs", "singlePlatformSpecs")


def parse(ir: str | Mapping[str, Any]) -> Pipeline:
    """The pipeline of an IR text (one or two YAML documents, or JSON) or mapping.

    A mapping may be a pipeline spec, or `{"pipeline_spec": ..., "platform_spec": ...}` as KFP's API has it.

    Raises: IRError with every fault.
    """
    spec, platform = documents(ir)
    faults: list[str] = []
    root = Node("", spec, faults)
    _top(root)
    configured, config = _platform(Node("platform", platform, faults))
    executors = {
        label: _executor(node, configured.get(label, {}))
        for label, node in root.node("deploymentSpec").nodes("executors")
    }
    info, main = root.node("pipelineInfo"), root.node("root")
    workspace = config.body.get("workspace")
    pipeline = Pipeline(
        name=info.text("name", required=True),
        root=Component(
            ROOT, _interface(main.node("inputDefinitions")), _interface(main.node("outputDefinitions")),
            dag=read_dag(main.node("dag")),
        ),
        components={name: _component(name, node) for name, node in root.nodes("components")},
        executors=executors,
        display_name=info.text("displayName"),
        description=info.text("description"),
        sdk_version=root.text("sdkVersion"),
        default_root=root.text("defaultPipelineRoot"),
        workspace=dict(config.node("workspace").body) if workspace is not None else None,
        platform={key: value for key, value in config.body.items() if key != "workspace"},
    )  # fmt: skip
    if not pipeline.tasks and not faults:
        main.node("dag").fault("there are no tasks")
    if not faults:
        faults.extend(check_links(pipeline))
    if faults:
        raise IRError(tuple(faults))
    return order(pipeline)


def documents(ir: str | Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The pipeline spec and the platform spec in an IR. Raises: IRError if it is no IR at all."""
    found = [ir] if isinstance(ir, Mapping) else _yaml(ir)
    spec: Mapping[str, Any] = {}
    platform: Mapping[str, Any] = {}
    for document in found:
        if not isinstance(document, Mapping):
            raise IRError((f"a pipeline is a mapping, not {type(document).__name__}",))
        if "pipeline_spec" in document:
            spec, platform = document["pipeline_spec"], document.get("platform_spec") or {}
        elif "platforms" in document and "root" not in document:
            platform = document
        else:
            spec = document
    if not isinstance(spec, Mapping) or not isinstance(platform, Mapping):
        raise IRError(("`pipeline_spec` and `platform_spec` must be mappings",))
    return spec, platform


def _yaml(text: str) -> list[Any]:
    import yaml  # noqa: PLC0415 - 10 ms that a task on Airflow, whose pipeline is read already, need not pay

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return [document for document in yaml.load_all(text, Loader=loader) if document is not None]
    except (yaml.YAMLError, RecursionError) as error:
        raise IRError((f"this is no YAML: {' '.join(str(error).split())}",)) from error


def _top(root: Node) -> None:
    if "spec" in root.body and str(root.body.get("apiVersion", "")).startswith("argoproj.io/"):
        root.fault("this is an Argo Workflow, as KFP's SDK v1 compiled it; compile the pipeline with SDK v2")
        return
    root.only((*_TOP, "defaultPipelineRoot"), {})
    version = root.text("schemaVersion", required=True)
    if version and version != SCHEMA_VERSION:
        root.fault(f"`schemaVersion` is {version}; only {SCHEMA_VERSION} is supported")
    if "root" not in root.body:
        root.fault("`root` is missing")
    root.node("root").only(("inputDefinitions", "outputDefinitions", "dag"), {})


def _platform(platform: Node) -> tuple[dict[str, Mapping[str, Any]], Node]:
    """What the platform document says of each executor on Kubernetes, and of the pipeline."""
    platform.only(("platforms",), {})
    kubernetes = platform.node("platforms").node("kubernetes")
    kubernetes.only(("deploymentSpec", "pipelineConfig", "platform", "config"), {})
    found: dict[str, Mapping[str, Any]] = {
        label: dict(node.body) for label, node in kubernetes.node("deploymentSpec").nodes("executors")
    }
    config = kubernetes.node("pipelineConfig")
    config.node("workspace")
    config.number("activeDeadlineSeconds", 0)
    return found, config


def _executor(node: Node, platform: Mapping[str, Any]) -> Executor:
    node.only(("container", "importer"), _EXECUTOR_REFUSED)
    if "importer" in node.body:
        return _importer(node.node("importer"))
    body = node.node("container")
    body.only(("image", "command", "args", "env", "resources", "lifecycle"), {})
    image = body.text("image", required="container" in node.body)
    if "container" not in node.body and not set(node.body) & set(_EXECUTOR_REFUSED):
        node.fault("neither `container` nor `importer` is given")
    command, args = body.texts("command"), body.texts("args")
    env = {item.text("name", required=True): item.text("value") for item in body.listed("env")}
    for text in (image, *command, *args, *env.values()):
        body.placeholders(text)
    configured = Node(f"platform.executors of {node.place}", platform, node.faults)
    timeout_s = configured.number("activeDeadlineSeconds", 0)
    return Container(image, command, args, env, timeout_s, dict(body.node("resources").body), platform)


def _importer(node: Node) -> Importer:
    node.only(_IMPORTER, {"properties": "properties", "customProperties": "properties"})
    uri, schema = node.node("artifactUri"), node.node("typeSchema")
    if "runtimeParameter" in uri.body:
        source: Constant | PipelineInput = PipelineInput(uri.text("runtimeParameter", required=True))
    else:
        old = uri.node("constantValue").text("stringValue")
        source = Constant(uri.text("constant", old, required=not old))
    return Importer(
        source,
        schema.text("schemaTitle", "system.Artifact"),
        schema.text("schemaVersion", "0.0.1"),
        dict(whole(node.node("metadata").body)),
        node.flag("reimport"),
        node.flag("downloadToWorkspace"),
    )


def _component(name: str, node: Node) -> Component:
    node.only((*_COMPONENT, "executorLabel", "dag"), {})
    inputs, outputs = _interface(node.node("inputDefinitions")), _interface(node.node("outputDefinitions"))
    if "dag" in node.body:
        dag: Dag = read_dag(node.node("dag"))
        return Component(name, inputs, outputs, dag=dag)
    passed = {body.text("field"): body.flag("applyToTask") for body in node.listed("taskConfigPassthroughs")}
    label = node.text("executorLabel", required=True)
    return Component(name, inputs, outputs, label, passthroughs=passed)


def _interface(node: Node) -> Interface:
    node.only(("parameters", "artifacts"), {})
    parameters, artifacts = {}, {}
    for name, body in node.nodes("parameters"):
        body.only(("parameterType", "type", "isOptional", "defaultValue", "description", "literals"), {})
        parameters[name] = _parameter(body)
    for name, body in node.nodes("artifacts"):
        body.only(
            ("artifactType", "isOptional", "description", "metadata", "isArtifactList"),
            {"properties": "properties", "customProperties": "properties"},
        )
        schema = body.node("artifactType")
        artifacts[name] = ArtifactSpec(
            schema.text("schemaTitle", "system.Artifact"),
            schema.text("schemaVersion", "0.0.1"),
            body.flag("isOptional"),
            dict(whole(body.node("metadata").body)),
            body.flag("isArtifactList"),
        )
    return Interface(parameters, artifacts)


def _parameter(body: Node) -> ParameterSpec:
    old = _OLD_TYPES.get(body.text("type"), "")
    kind = body.text("parameterType", old, required=not old)
    default = body.body.get("defaultValue")
    if kind and kind not in TYPES:
        body.fault(f"`parameterType` is {kind}, which is none of {', '.join(TYPES)}")
    elif default is not None and kind:
        default = _converted(body, "defaultValue", default, kind)
    literals = body.body.get("literals") or ()
    if not isinstance(literals, list | tuple):
        body.fault("`literals` must be a list")
        literals = ()
    return ParameterSpec(
        kind,
        body.flag("isOptional") or default is not None,
        default,
        "defaultValue" in body.body,
        tuple(_converted(body, "literals", value, kind) for value in literals if kind in TYPES),
        body.text("description"),
    )


def _converted(body: Node, key: str, value: Any, kind: str) -> Any:
    try:
        return convert(whole(value), kind)
    except ValueError as error:
        body.fault(f"`{key}`: {error}")
        return value
