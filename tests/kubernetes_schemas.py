"""What a Kubernetes 1.36 API server would say of a manifest.

Kubernetes' own kinds by its own schemas, strictly: unknown fields are errors (package kubernetes-validate).
HTTPRoute (Gateway API v1, standard channel) and KEDA's ScaledObject are no kinds of Kubernetes: for these the
fields that we write, with the types, patterns and bounds of their CRDs, are written down here, and nothing
else is allowed. Not checked by either: what CEL rules and admission would say.
"""

import functools

import jsonschema
import kubernetes_validate
import kubernetes_validate.utils

# else a megabyte of definitions is read again for every manifest
kubernetes_validate.utils.schema_contents = functools.cache(kubernetes_validate.utils.schema_contents)

VERSION = "1.36"
NAME = {"type": "string", "minLength": 1, "maxLength": 253}
DNS = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
NAMESPACE = {"type": "string", "minLength": 1, "maxLength": 63, "pattern": f"^{DNS}$"}
METADATA = {
    "type": "object", "additionalProperties": False, "required": ["name", "namespace"],
    "properties": {
        "name": {**NAME, "pattern": rf"^{DNS}(\.{DNS})*$"}, "namespace": NAMESPACE,
        "labels": {
            "type": "object",
            "additionalProperties": {"type": "string", "maxLength": 63,
                                     "pattern": "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"},
        },
        "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}  # fmt: skip


def closed(required, **properties):
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


BACKEND = {
    "group": {"enum": [""]}, "kind": {"enum": ["Service"]}, "name": NAME,
    "port": {"type": "integer", "minimum": 1, "maximum": 65535},
}  # fmt: skip
HEADER = closed(
    ["name", "value"],
    name={"type": "string", "minLength": 1, "maxLength": 256, "pattern": "^[A-Za-z0-9!#$%&'*+\\-.^_`|~]+$"},
    value={"type": "string", "minLength": 1, "maxLength": 4096},
)
HEADER_FILTER = closed(
    ["type", "responseHeaderModifier"],
    type={"enum": ["ResponseHeaderModifier"]},
    responseHeaderModifier=closed(["set"], set={"type": "array", "maxItems": 16, "items": HEADER}),
)
MIRROR_FILTER = closed(
    ["type", "requestMirror"],
    type={"enum": ["RequestMirror"]},
    requestMirror=closed(["backendRef"], backendRef=closed(["name", "port"], **BACKEND)),
)
RULE = closed(
    ["backendRefs"],
    matches={
        "type": "array", "maxItems": 64,
        "items": closed(["path"], path=closed(
            ["type", "value"], type={"enum": ["Exact", "PathPrefix", "RegularExpression"]},
            value={"type": "string", "maxLength": 1024, "pattern": "^/"},
        )),
    },
    filters={"type": "array", "maxItems": 16, "items": MIRROR_FILTER},
    backendRefs={
        "type": "array", "minItems": 1, "maxItems": 16,
        "items": closed(
            ["name", "port"], **BACKEND, weight={"type": "integer", "minimum": 0, "maximum": 1_000_000},
            filters={"type": "array", "maxItems": 16, "items": HEADER_FILTER},
        ),
    },
)  # fmt: skip
PARENT = closed(
    ["name"], group={"const": "gateway.networking.k8s.io"}, kind={"const": "Gateway"}, name=NAME,
    namespace=NAMESPACE,
)  # fmt: skip
HOST = {"type": "string", "maxLength": 253, "pattern": rf"^(\*\.)?{DNS}(\.{DNS})*$"}
OTHERS = {
    ("gateway.networking.k8s.io/v1", "HTTPRoute"): closed(
        ["parentRefs", "rules"],
        parentRefs={"type": "array", "minItems": 1, "maxItems": 32, "items": PARENT},
        hostnames={"type": "array", "maxItems": 16, "items": HOST},
        rules={"type": "array", "minItems": 1, "maxItems": 16, "items": RULE},
    ),
    ("keda.sh/v1alpha1", "ScaledObject"): closed(
        ["scaleTargetRef", "triggers"],
        scaleTargetRef=closed(["name"], name=NAME),
        minReplicaCount={"type": "integer", "minimum": 0},
        maxReplicaCount={"type": "integer", "minimum": 1},
        cooldownPeriod={"type": "integer", "minimum": 0},
        triggers={
            "type": "array", "minItems": 1,
            "items": closed(
                ["type", "metadata"], type={"const": "prometheus"}, metricType={"const": "AverageValue"},
                metadata=closed(
                    ["serverAddress", "query", "threshold"],
                    serverAddress={"type": "string", "pattern": "^http"},
                    query={"type": "string", "minLength": 1},
                    threshold={"type": "string", "pattern": r"^\d+(\.\d+)?$"},
                ),
            ),
        },
    ),
}  # fmt: skip


def check(manifest):
    """Raises: jsonschema.ValidationError; kubernetes_validate's for a kind that nobody knows."""
    jsonschema.validate(manifest["metadata"], METADATA)
    kind = (manifest["apiVersion"], manifest["kind"])
    if kind in OTHERS:
        envelope = closed(
            ["apiVersion", "kind", "metadata", "spec"],
            apiVersion={}, kind={}, metadata={}, spec=OTHERS[kind],
        )  # fmt: skip
        jsonschema.validate(manifest, envelope)
        return
    assert kubernetes_validate.validate(manifest, VERSION, strict=True) == VERSION
