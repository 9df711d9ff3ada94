"""Run by the Python that has Helm: render a chart, lint it, and hold what came out to the schemas of Kubernetes.

Reads {"chart": folder, "values": {…}, "versions": [Kubernetes, …], "foreign": [kinds without a schema]} and writes
{"refused": why or null, "lint": [messages], "manifests": [{…}], "faults": [texts]}, both as JSON.
"""

import json
import sys

import helm_python as helm
import kubernetes_validate
import yaml


def main() -> None:
    """One chart with one set of values."""
    asked = json.load(sys.stdin)
    told = {"refused": None, "lint": [], "manifests": [], "faults": []}
    with helm.Chart.load(asked["chart"]) as chart:
        try:
            chart.validate_schema(asked["values"])
            rendered = chart.render(asked["values"], name="pay", namespace="payments")
        except helm.HelmError as error:
            told["refused"] = str(error)
            rendered = {}
    for name, text in rendered.items():
        if name.endswith(".yaml"):
            told["manifests"] += [one for one in yaml.safe_load_all(text) if one is not None]
    for manifest in told["manifests"]:
        if manifest["kind"] in asked["foreign"]:
            continue
        for version in asked["versions"]:
            try:
                kubernetes_validate.validate(manifest, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                told["faults"].append(f"{manifest['kind']} {manifest['metadata']['name']} on {version}: {error}")
    told["lint"] = helm.lint(asked["chart"], asked["values"], strict=True)["messages"]
    json.dump(told, sys.stdout)


main()
