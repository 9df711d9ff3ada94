"""The Helm chart: rendered by Helm itself, held to the schemas of Kubernetes, and to what the product needs."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from deploy_files import DEPLOY, read_yaml

from offerhub.settings.catalogue import SHUTDOWN_SECONDS, describe

CHART = DEPLOY / "helm" / "offerhub"
VALUES = read_yaml(CHART / "values.yaml")
VERSIONS = ["1.27", "1.37"]
"""The oldest that Chart.yaml admits, and the newest whose schemas there are."""
FOREIGN = ["PodMonitor", "PrometheusRule"]
LEAST: dict[str, Any] = {
    "image": {"repository": "registry.example.com/offerhub"},
    "secret": {"name": "offerhub"},
    "config": {"PUBLIC_BASE_URL": "https://payments.example.com"},
    "ingress": {"host": "payments.example.com", "tlsSecret": "offerhub-tls"},
}
MOST: dict[str, Any] = {
    **LEAST,
    "image": {"repository": "registry.example.com/offerhub", "digest": f"sha256:{'0' * 64}", "pullSecrets": ["pull"]},
    "worker": {"queues": "sagas,webhooks", "autoscaling": {"backlogMetric": "offerhub_jobs_waiting"}},
    "metrics": {"podMonitor": True, "rules": True},
    "serviceAccount": {"annotations": {"example.com/role": "offerhub"}},
}
ALONE: dict[str, Any] = {
    **LEAST,
    "worker": {"enabled": False},
    "api": {"replicas": 1, "autoscaling": {"enabled": False}},
    "ingress": {"enabled": False},
    "networkPolicy": {"enabled": False},
    "podDisruptionBudget": {"enabled": False},
    "migrations": {"enabled": False},
    "serviceAccount": {"name": "given"},
}


def test_the_alerts_in_the_chart_are_the_alerts() -> None:
    ours = (DEPLOY / "monitoring" / "rules" / "offerhub.yml").read_text(encoding="utf-8")
    assert (CHART / "files" / "alerts.yml").read_text(encoding="utf-8") == ours


def test_the_defaults_are_the_guides_thresholds_and_leave_time_to_stop() -> None:
    for name in ("api", "worker"):
        assert VALUES[name]["autoscaling"]["cpuPercent"] == 70
        assert VALUES[name]["autoscaling"]["minReplicas"] >= 2
    assert VALUES["worker"]["autoscaling"]["backlogJobs"] == 1000
    assert VALUES["terminationGracePeriodSeconds"] > SHUTDOWN_SECONDS.default + 10 + 5


def test_the_schema_knows_every_value() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))

    def unknown(values: dict[str, Any], shape: dict[str, Any], place: str) -> list[str]:
        found = []
        for name, value in values.items():
            inner = shape.get("properties", {}).get(name)
            if inner is None:
                found += [f"{place}{name}"] if shape.get("additionalProperties") is False else []
            elif isinstance(value, dict):
                found += unknown(value, inner, f"{place}{name}.")
        return found

    assert unknown(VALUES, schema, "") == []


@pytest.fixture(scope="module")
def helm(tools: Path) -> Any:
    """Render the chart with values: what helm_probe tells."""

    def render(values: dict[str, Any]) -> dict[str, Any]:
        asked = {"chart": str(CHART), "values": values, "versions": VERSIONS, "foreign": FOREIGN}
        told = subprocess.run(
            [tools / "python", Path(__file__).with_name("helm_probe.py")],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            check=False,
        )
        assert told.returncode == 0, told.stderr
        found: dict[str, Any] = json.loads(told.stdout)
        return found

    return render


def containers(manifests: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Each container with its pod's specification and the name of what makes it."""
    found = []
    for one in manifests:
        spec = one["spec"] if one["kind"] == "Pod" else one.get("spec", {}).get("template", {}).get("spec")
        if spec:
            found += [(one["metadata"]["name"], spec, container) for container in spec["containers"]]
    return found


@pytest.mark.long
@pytest.mark.parametrize("values", [LEAST, MOST, ALONE], ids=["least", "most", "alone"])
def test_helm_renders_what_kubernetes_takes(helm: Any, values: dict[str, Any]) -> None:
    told = helm(values)
    assert told["refused"] is None
    assert told["faults"] == []
    assert [one for one in told["lint"] if one["severity"] > 1] == []
    known = {name for one in describe() for name in (one.name, *one.aliases)}
    running = containers(told["manifests"])
    assert running
    for name, pod, container in running:
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["automountServiceAccountToken"] is False
        rights = container["securityContext"]
        assert rights["readOnlyRootFilesystem"] is True
        assert rights["allowPrivilegeEscalation"] is False
        assert rights["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"]
        assert {one["name"] for one in container.get("env", ())} <= known


@pytest.mark.long
def test_the_parts_fit_each_other(helm: Any) -> None:
    manifests = helm(MOST)["manifests"]
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for one in manifests:
        by_kind.setdefault(one["kind"], []).append(one)
    deployments = {one["metadata"]["name"]: one for one in by_kind["Deployment"]}
    assert deployments.keys() == {"pay-offerhub-api", "pay-offerhub-worker"}
    labels = {name: one["spec"]["template"]["metadata"]["labels"] for name, one in deployments.items()}
    for name, one in deployments.items():
        assert one["spec"]["selector"]["matchLabels"].items() <= labels[name].items()
        assert "replicas" not in one["spec"], "the autoscaler decides"
    assert {one["spec"]["scaleTargetRef"]["name"] for one in by_kind["HorizontalPodAutoscaler"]} == set(deployments)
    selectors = [one["spec"]["selector"]["matchLabels"] for one in by_kind["PodDisruptionBudget"]]
    selectors += [one["spec"]["selector"]["matchLabels"] for one in by_kind["PodMonitor"]]
    selectors.append(by_kind["Service"][0]["spec"]["selector"])
    for selector in selectors:
        assert sum(selector.items() <= one.items() for one in labels.values()) == 1, selector
    everything = by_kind["NetworkPolicy"][0]["spec"]["podSelector"]["matchLabels"]
    assert all(everything.items() <= one.items() for one in labels.values())
    (job,) = by_kind["Job"]
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    commands = {name: container["args"] for name, _, container in containers(manifests)}
    assert commands["pay-offerhub-api"] == ["serve", "--no-jobs"]
    assert commands["pay-offerhub-worker"] == ["worker", "--queues", "sagas,webhooks"]
    assert commands["pay-offerhub-migrate"] == ["migrate", "up"]
    (rules,) = by_kind["PrometheusRule"]
    assert rules["spec"]["groups"] == read_yaml(CHART / "files" / "alerts.yml")["groups"]
    (api,) = deployments["pay-offerhub-api"]["spec"]["template"]["spec"]["containers"]
    assert api["readinessProbe"]["httpGet"]["path"] == "/api/v1/ready"
    assert api["livenessProbe"]["httpGet"]["path"] == "/api/v1/health"


@pytest.mark.long
def test_without_workers_the_api_runs_the_jobs(helm: Any) -> None:
    manifests = helm(ALONE)["manifests"]
    commands = {name: container.get("args") for name, _, container in containers(manifests)}
    assert commands["pay-offerhub-api"] == ["serve"]
    assert "pay-offerhub-worker" not in commands
    (deployment,) = [one for one in manifests if one["kind"] == "Deployment"]
    assert deployment["spec"]["replicas"] == 1


@pytest.mark.long
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"secret": {"name": ""}}, "/secret/name"),
        ({"config": {"PUBLIC_BASE_URL": "http://payments.example.com"}}, "PUBLIC_BASE_URL"),
        ({"config": {**LEAST["config"], "AIRTM_API_SECRET": "x"}}, "AIRTM_API_SECRET"),
        ({"ingress": {"host": ""}}, "/ingress/host"),
        ({"workers": {}}, "workers"),
        ({"terminationGracePeriodSeconds": 10}, "terminationGracePeriodSeconds"),
    ],
)
def test_values_that_would_hurt_are_refused(helm: Any, change: dict[str, Any], words: str) -> None:
    assert words in (helm(LEAST | change)["refused"] or "")
