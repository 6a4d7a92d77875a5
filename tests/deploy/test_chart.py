"""The chart as helm renders it: valid for Kubernetes 1.36, hardened, with no more rights than chosen.

Nothing is installed: there is no cluster. `test_server_image.py` runs the rendered containers.
"""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from tests.deploy import charts
from tests.pod_security import forbidden

from tuneline.settings import Settings

SNAPSHOT = Path(__file__).parent / "smallest.rendered.yaml"
MONITORS = ("ServiceMonitor", "PodMonitor")

slow = pytest.mark.slow
each = pytest.mark.parametrize("values", charts.VALUES, ids=lambda path: path.stem)


def differing(schema: dict[str, Any], values: dict[str, Any], place: str = "") -> list[str]:
    """Where a schema's keys and those of a file of values are not the same."""
    known = schema["properties"]
    found = [f"{place}{key}" for key in set(known) ^ set(values)]
    for key in set(known) & set(values):
        if "properties" in known[key]:
            found += differing(known[key], values[key], f"{place}{key}.")
    return found


def test_every_value_has_a_default_and_a_schema_that_takes_no_other():
    values = yaml.safe_load((charts.CHART / "values.yaml").read_text())
    schema = json.loads((charts.CHART / "values.schema.json").read_text())
    assert differing(schema, values) == ["global"]  # Helm's own
    assert '"additionalProperties": false' in json.dumps(schema)


def test_values_for_airflow_say_that_nothing_checked_them():
    text = (charts.CHART.parent / "airflow-values.yaml").read_text()
    assert text.startswith("# UNCHECKED")
    assert yaml.safe_load(text)["executor"] == "LocalExecutor"


@slow
@each
def test_helm_finds_nothing_wrong(values):
    done = charts.helm("lint", "--strict", charts.CHART, "--values", values)
    assert done.returncode == 0, done.stdout + done.stderr


@slow
@each
def test_every_manifest_is_valid(values):
    bodies = charts.rendered(values)
    for body in bodies:
        if body["kind"] not in MONITORS:
            kubernetes_validate.validate(body, charts.KUBERNETES, strict=True)
        rights = body["kind"] in ("Role", "RoleBinding")
        assert body["metadata"]["namespace"] in (("ml", "models") if rights else ("ml",))
    names = [(body["kind"], body["metadata"]["namespace"], body["metadata"]["name"]) for body in bodies]
    assert len(set(names)) == len(names)


@slow
def test_monitors_are_valid_and_ask_what_the_controller_starts():
    found = [body for body in charts.rendered(charts.EVERYTHING) if body["kind"] in MONITORS]
    assert sorted(body["kind"] for body in found) == ["PodMonitor", "ServiceMonitor", "ServiceMonitor"]
    assert all(body["metadata"]["labels"]["release"] == "prometheus" for body in found)
    named = {body["metadata"]["name"]: body for body in found}
    (routers,) = named["tuneline-server-routers"]["spec"]["podMetricsEndpoints"]
    assert (routers["port"], routers["path"]) == ("http", "/router/metrics")
    (server,) = named["tuneline-server"]["spec"]["endpoints"]
    assert (server["path"], server["authorization"]["credentials"]) == (
        "/metrics", {"name": "tuneline-tokens", "key": "grafana"},
    )  # fmt: skip
    (service,) = charts.of_kind(charts.rendered(charts.EVERYTHING), "Service")
    assert (
        named["tuneline-server"]["spec"]["selector"]["matchLabels"].items()
        <= service["metadata"]["labels"].items()
    )
    charts.check_monitors(found)
    engines = named["tuneline-server-engines"]
    assert engines["spec"]["namespaceSelector"] == {"matchNames": ["ml", "models"]}
    with pytest.raises(AssertionError, match="must be array"):
        charts.check_monitors([engines | {"spec": engines["spec"] | {"endpoints": 3}}])


@slow
def test_a_server_without_a_token_for_it_is_not_scraped():
    found = charts.rendered(charts.EVERYTHING, "--set=monitoring.token=")
    assert "tuneline-server" not in [body["metadata"]["name"] for body in found if body["kind"] in MONITORS]


@slow
def test_what_is_rendered_by_default_is_what_was_reviewed():
    """To accept a change: `helm template tuneline deploy/helm/tuneline -n ml -f .../values/smallest.yaml`."""
    assert charts.rendered(charts.SMALLEST) == list(yaml.safe_load_all(SNAPSHOT.read_text()))


@slow
@pytest.mark.parametrize(
    "words, said",
    [
        (["image.tag=latest"], "additional properties 'tag' not allowed"),
        (["image.digest=latest"], "/image/digest': 'latest' does not match pattern"),
        (["image.repository=registry/server:1.0@sha256"], "/image/repository"),
        (["server.taskSlots=many"], "/server/taskSlots': got string, want integer"),
        (["ingress.hosts[0]=a"], "additional properties 'hosts' not allowed"),
        (["rbac.clusterAdmin=true"], "additional properties 'clusterAdmin' not allowed"),
        (["artifacts.root=s3://key:secret@models"], "/artifacts/root"),
        (["replicas=2"], "additional properties 'replicas' not allowed"),
        (["service.port=0"], "/service/port"),
    ],
)
def test_a_value_that_is_none_is_refused_by_name(words, said):
    assert said in charts.refused(charts.SMALLEST, *(f"--set={word}" for word in words))


@slow
def test_what_is_missing_is_said_at_once_and_what_to_do(tmp_path):
    nothing = tmp_path / "values.yaml"
    nothing.write_text("ingress: {enabled: true}\nhome: {enabled: false}\n")
    said = charts.refused(nothing)
    for part in ("image.repository is empty", "image.digest is empty", "tuneline token generate",
                 "ingress.host is empty", "ingress.tlsSecret is empty", "home.enabled is false"):  # fmt: skip
        assert part in said


@slow
@pytest.mark.parametrize("release", ["1st", "my.line"])
def test_a_release_whose_service_could_have_no_such_name_is_refused(release):
    """Helm takes it, and the API would refuse the Service alone, when all else is there."""
    assert f"the release is called {release}" in charts.refused(charts.SMALLEST, release=release)


@slow
@each
def test_every_pod_is_hardened_and_its_image_is_a_digest(values):
    specs = [
        body["spec"] if body["kind"] == "Pod" else body["spec"]["template"]["spec"]
        for body in charts.rendered(values)
        if body["kind"] in ("Pod", "Deployment")
    ]
    assert len(specs) == 2
    for spec in specs:
        assert forbidden(spec) == []
        assert spec["enableServiceLinks"] is False
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert "@sha256:" in container["image"]
            assert container["resources"]["limits"]["memory"]


@slow
@each
def test_a_role_has_no_wildcard_and_lists_no_secrets(values):
    for role in charts.of_kind(charts.rendered(values), "Role"):
        for rule in role["rules"]:
            assert set(rule) == {"apiGroups", "resources", "verbs"}
            words = {word for part in rule.values() for word in part}
            assert "*" not in words
            assert not words & {"roles", "rolebindings", "pods/exec", "escalate", "bind", "impersonate"}
            if "secrets" in words:
                assert rule["resources"] == ["secrets"]
                assert not words & {"list", "watch"}
    assert not charts.of_kind(charts.rendered(values), "ClusterRole")


@slow
@pytest.mark.parametrize(
    "right, resources",
    [
        (
            "endpoints",
            {"deployments", "services", "configmaps", "poddisruptionbudgets", "secrets", "pods/proxy"},
        ),
        ("routes", {"httproutes"}),
        ("autoscaling", {"horizontalpodautoscalers"}),
        ("keda", {"scaledobjects"}),
    ],
)  # fmt: skip
def test_each_right_is_given_by_itself(right, resources):
    bodies = charts.rendered(charts.SMALLEST, f"--set=rbac.{right}=true")
    (role,) = charts.of_kind(bodies, "Role")
    writes = {"create", "patch", "delete"}
    written = {name for rule in role["rules"] for name in rule["resources"] if writes & set(rule["verbs"])}
    assert written == resources
    (binding,) = charts.of_kind(bodies, "RoleBinding")
    (server,) = charts.of_kind(bodies, "Deployment")
    pod = server["spec"]["template"]["spec"]
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": pod["serviceAccountName"], "namespace": "ml"}
    ]
    assert not any("watch" in rule["verbs"] for rule in role["rules"])
    assert pod["automountServiceAccountToken"] is True


@slow
def test_the_same_rights_are_given_in_further_namespaces_once_each():
    bodies = charts.rendered(charts.EVERYTHING)
    roles = {role["metadata"]["namespace"]: role["rules"] for role in charts.of_kind(bodies, "Role")}
    assert list(roles) == ["ml", "models"]
    assert roles["ml"] == roles["models"]
    for binding in charts.of_kind(bodies, "RoleBinding"):
        assert binding["subjects"][0]["namespace"] == "ml"


@slow
def test_without_rights_the_pod_has_no_token_of_the_cluster():
    bodies = charts.rendered(charts.SMALLEST)
    assert not charts.of_kind(bodies, "Role")
    (server,) = charts.of_kind(bodies, "Deployment")
    assert server["spec"]["template"]["spec"]["automountServiceAccountToken"] is False
    assert charts.of_kind(bodies, "ServiceAccount")[0]["automountServiceAccountToken"] is False


@slow
@each
def test_the_environment_is_one_that_the_server_reads(values):
    (server,) = charts.of_kind(charts.rendered(values), "Deployment")
    pod = server["spec"]["template"]["spec"]
    known = {f"TUNELINE_{field.name.upper()}" for field in fields(Settings)}
    for container in [*pod["initContainers"], *pod["containers"]]:
        env = {entry["name"]: entry.get("value") for entry in container["env"]}
        ours = {name for name in env if name.startswith("TUNELINE_")}
        assert ours <= known
        read = Settings.from_env({name: env[name] for name in ours if env[name] is not None})
        assert str(read.home) == "/var/lib/tuneline"
        assert read.port == 8080
        for secret in ("TUNELINE_DATABASE_URL", "TUNELINE_NOTIFY"):
            assert env.get(secret) is None


@slow
@pytest.mark.parametrize("release", ["tuneline", "a", "x" * 53])
def test_the_service_sets_no_variable_that_tuneline_reads(release):
    """Kubernetes gives every pod `<SERVICE>_PORT=tcp://...`: a Service `tuneline` would break every step."""
    (service,) = charts.of_kind(charts.rendered(charts.SMALLEST, release=release), "Service")
    name = service["metadata"]["name"]
    assert len(name) <= 63
    assert name.upper().replace("-", "_") + "_PORT" not in {
        f"TUNELINE_{f.name.upper()}" for f in fields(Settings)
    }


@slow
def test_notes_say_how_to_reach_it():
    words = ("install", "tuneline", charts.CHART, "--dry-run=client", "--namespace", "ml", "--values")
    notes = charts.helm(*words, charts.EVERYTHING).stdout.partition("NOTES:")[2]
    assert "TUNELINE_URL=https://tuneline.example\n" in notes
    assert "create secret generic tuneline --from-literal=token=" in notes
    plain = charts.helm(*words, charts.SMALLEST).stdout.partition("NOTES:")[2]
    assert "port-forward service/tuneline-server 8080:80" in plain
    assert "SQLite" in plain
