"""Run where kfp is installed: `{"runs": [body], "experiments": [body]}`, read by Kubeflow's models and SDK.

What a model does not know is a failure: the real server refuses it.
"""

import json
import sys

import kfp_server_api
import yaml
from google.protobuf import json_format
from kfp import components
from kfp.kubernetes.kubernetes_executor_config_pb2 import KubernetesExecutorConfig
from kfp.pipeline_spec import pipeline_spec_pb2


class Answer:
    """What the client's deserializer reads."""

    def __init__(self, body):
        self.data = json.dumps(body)


def parsed(body, kind):
    model = kfp_server_api.ApiClient().deserialize(Answer(body), kind)
    names = getattr(kfp_server_api, kind).attribute_map
    unknown = set(body) - set(names.values())
    assert not unknown, f"{kind} has no {unknown}"
    again = kfp_server_api.ApiClient().sanitize_for_serialization(model)
    assert again == body, (again, body)
    return model


given = json.load(sys.stdin)
found = []
for body in given["runs"]:
    run = parsed(body, "V2beta1Run")
    spec = run.pipeline_spec
    platform = spec.get("platform_spec") or {}
    spec = spec.get("pipeline_spec", spec)
    json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    component = components.load_component_from_text(yaml.safe_dump(spec))
    json_format.ParseDict(platform, pipeline_spec_pb2.PlatformSpec())
    executors = (
        platform.get("platforms", {}).get("kubernetes", {}).get("deploymentSpec", {}).get("executors", {})
    )
    for config in executors.values():
        json_format.ParseDict(config, KubernetesExecutorConfig())
    found.append(
        {"name": component.name, "executors": sorted(executors), "parameters": run.runtime_config.parameters}
    )
for body in given["experiments"]:
    parsed(body, "V2beta1Experiment")
json.dump(found, sys.stdout)
