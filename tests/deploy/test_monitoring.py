"""Alerts, dashboards and runbooks: what they name is there, and each alert is tried.

That docs/operating/metrics.md has every metric of a running service with its labels, and no other, is held by
tests/product.
"""

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from deploy_files import DEPLOY, ROOT, program, read_yaml
from promql import grouped_by, selectors

from check_links import anchors
from offerhub.operations.metrics import BREAKER_STATES
from offerhub.runtime.jobs import COUNTED
from offerhub.runtime.routes import Stream
from support.outside import eventually
from support.product import MASTER_KEY, Running
from write_reference import declared_routes

MONITORING = DEPLOY / "monitoring"
RULES = MONITORING / "rules" / "offerhub.yml"
RULES_TESTS = MONITORING / "rules-tests" / "offerhub.yml"
DASHBOARDS = sorted((MONITORING / "grafana" / "dashboards").glob("*.json"))
RUNBOOKS = ROOT / "docs" / "operating" / "runbooks.md"
METRICS = ROOT / "docs" / "operating" / "metrics.md"

OF_OTHERS = {
    "up": set[str](),
    "ALERTS": {"alertname", "alertstate"},
    "process_cpu_seconds_total": set[str](),
    "process_resident_memory_bytes": set[str](),
    "container_memory_working_set_bytes": {"pod", "container"},
    "container_spec_memory_limit_bytes": {"pod", "container"},
}
"""Prometheus' own, its client library's, and the kubelet's."""
OF_SCRAPES = {"job", "instance"}
JOBS = {"offerhub", "offerhub-worker"}
VALUES = {
    ("offerhub_breaker_state", "state"): set(BREAKER_STATES),
    ("offerhub_breaker_transitions_total", "state"): set(BREAKER_STATES),
    ("offerhub_queue_jobs", "state"): set(COUNTED),
    ("offerhub_findings", "status"): {"OPEN", "ACKNOWLEDGED"},
    ("offerhub_database_connections", "state"): {"idle", "busy"},
    ("offerhub_metrics_source_up", "source"): {"work", "queues"},
}

GUIDE = {
    "OfferhubApiDown": ("critical", 'up{job="offerhub"}'),
    "OfferhubHighErrorRate": ("high", "> 0.05"),
    "OfferhubDatabaseUnhealthy": ("critical", 'source="work"'),
    "OfferhubRedisUnhealthy": ("high", 'source="queues"'),
    "OfferhubHighLatency": ("medium", "> 2"),
    "OfferhubDeadLettersGrowing": ("medium", "> 100"),
    "OfferhubQueueBacklog": ("medium", "> 1000"),
    "OfferhubCpuBusy": ("info", "> 0.7"),
    "OfferhubMemoryHigh": ("info", "> 0.8"),
    "OfferhubLatencyRising": ("info", "> 0.5"),
}
"""The deployment guide's table of alerts, and its thresholds for scaling."""


def rules() -> Iterator[dict[str, Any]]:
    for group in read_yaml(RULES)["groups"]:
        yield from group["rules"]


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def panels(dashboard: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(dashboard.read_text(encoding="utf-8"))["panels"]
    return found


def queries() -> list[tuple[str, str]]:
    """Every expression with where it stands."""
    found = [(rule.get("alert", rule.get("record", "")), rule["expr"]) for rule in rules()]
    for dashboard in DASHBOARDS:
        found += [
            (f"{dashboard.stem}: {one['title']}", two["expr"]) for one in panels(dashboard) for two in one["targets"]
        ]
        for note in json.loads(dashboard.read_text(encoding="utf-8"))["annotations"]["list"]:
            found.append((f"{dashboard.stem}: {note['name']}", note["expr"]))
    return found


def explained() -> dict[str, set[str]]:
    """Metric to its labels, as the page has them; a histogram by the names of its series."""
    rows = re.findall(r"^\| `(offerhub_\w+)` \| ([^|]*)\| ([^|]*)", METRICS.read_text(encoding="utf-8"), re.MULTILINE)
    found: dict[str, set[str]] = {}
    for name, labels, words in rows:
        of = set(re.findall(r"`(\w+)`", labels))
        if "(histogram)" in words:
            found |= {f"{name}_bucket": of | {"le"}, f"{name}_sum": of, f"{name}_count": of}
        else:
            found[name] = of
    return found


def test_every_query_asks_for_what_the_service_tells() -> None:
    recorded = {rule["record"]: set[str]() for rule in rules() if "record" in rule}
    known = explained() | OF_OTHERS | recorded
    for where, expression in queries():
        of_all: set[str] = set(OF_SCRAPES)
        for metric, asked in selectors(expression):
            assert metric in known, f"{where} asks for {metric}"
            of_all |= known[metric]
            assert asked.keys() <= known[metric] | OF_SCRAPES, f"{where}: labels of {metric}"
            assert set(asked.get("job", ())) <= JOBS
            for label, values in asked.items():
                allowed = VALUES.get((metric, label))
                assert allowed is None or set(values) <= allowed, f"{where}: {metric}{{{label}}}"
        assert grouped_by(expression) <= of_all, where


def test_every_alert_is_tried_silent_and_firing() -> None:
    tried = {one["name"]: one["promql_expr_test"] for one in read_yaml(RULES_TESTS)["tests"]}
    assert tried.keys() == alerts().keys()
    for name, (silent, firing) in tried.items():
        assert f'alertname="{name}"' in silent["expr"]
        assert silent["expr"] == firing["expr"]
        assert silent["exp_samples"] == []
        assert len(firing["exp_samples"]) == 1


def test_every_alert_has_its_runbook_and_every_runbook_its_alert() -> None:
    found = alerts()
    headings = re.findall(r"^## (\w+)$", RUNBOOKS.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(headings) == sorted(found)
    for name, rule in found.items():
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert ROOT / page == RUNBOOKS
        assert anchor in anchors(RUNBOOKS), name
        assert rule["annotations"]["summary"].endswith(".")
    rows = re.findall(r"^\| \[(\w+)\]\(#\w+\) \| [^|]+ \| (\w+) \|$", RUNBOOKS.read_text(), re.MULTILINE)
    assert dict(rows) == {name: rule["labels"]["priority"] for name, rule in found.items()}


def test_the_guides_alerts_and_thresholds_are_there() -> None:
    found = alerts()
    for name, (priority, threshold) in GUIDE.items():
        assert found[name]["labels"]["priority"] == priority, name
        assert threshold in found[name]["expr"], name


def test_latency_leaves_out_what_waits_on_purpose_and_nothing_else() -> None:
    (rule,) = [one for one in rules() if one.get("record") == "offerhub:http_request_seconds:p95"]
    left_out = re.search(r'route!~"([^"]+)"', rule["expr"])
    assert left_out is not None
    waits = {one.name for one in declared_routes() if one.resume is not None or one.answer is Stream}
    told = {one.name for one in declared_routes() if re.fullmatch(left_out[1], one.name)}
    assert told == waits


def test_dashboards_can_be_drawn() -> None:
    for dashboard in DASHBOARDS:
        found = panels(dashboard)
        assert len({one["id"] for one in found}) == len(found)
        taken: set[tuple[int, int]] = set()
        for one in found:
            place = one["gridPos"]
            assert place["x"] + place["w"] <= 24
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not taken & cells, f"{one['title']} lies on another"
            taken |= cells
            assert all(two["datasource"]["uid"] == "${datasource}" for two in one["targets"])


@pytest.mark.long
def test_promtool_takes_the_rules_and_every_alert_fires_when_it_should(tmp_path: Path) -> None:
    promtool = program("promtool", "prometheus")
    here = shutil.copytree(MONITORING, tmp_path / "monitoring")
    for words in (("check", "config", "prometheus.yml"), ("test", "rules", "rules-tests/offerhub.yml")):
        told = subprocess.run([promtool, *words], cwd=here, capture_output=True, text=True, check=False)
        assert told.returncode == 0, told.stdout + told.stderr


@pytest.fixture
async def prometheus(live: Running, tmp_path: Path) -> AsyncIterator[str]:
    """A real one that reads the running service every second; yields its address."""
    server = program("prometheus", "prometheus")
    place = live.url.removeprefix("http://").partition("/")[0]
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [
            {
                "job_name": "offerhub",
                "authorization": {"credentials": MASTER_KEY},
                "static_configs": [{"targets": [place]}],
            }
        ],
    }
    file = tmp_path / "prometheus.json"  # JSON is YAML
    file.write_text(json.dumps(config), encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        server,
        f"--config.file={file}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        "--web.listen-address=127.0.0.1:0",
        "--log.format=json",
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stderr is not None
        while (line := json.loads(await process.stderr.readline())).get("msg") != "Listening on":
            assert line.get("level") != "error", line
        drain = asyncio.create_task(process.stderr.read())
        yield f"http://{line['address']}/api/v1"
    finally:
        process.terminate()
        await process.wait()
    await drain


QUIET = {
    "service: Failing operations",
    "service: Alerts",
    "money: Alerts",
    "work: Alerts",
    "money: USDC of the treasury",
    "money: Treasury and floor",
    "money: Ages",
    "money: Archiving fails",
    "money: Work under way",
    "money: The oldest of it",
    "money: Steps of unknown outcome",
    "money: Past their time",
    "money: Findings",
    "work: Breakers",
    "work: Calls that were not let out",
}
"""Queries without an answer while nothing fails or is under way, without treasury, certificate and archive."""


@pytest.mark.long
async def test_a_real_prometheus_answers_every_query_of_the_dashboards(
    prometheus: str, http: aiohttp.ClientSession, pair: object
) -> None:
    async def is_empty(expression: str) -> bool:
        async with http.get(f"{prometheus}/query", params={"query": expression}) as heard:
            if heard.status == 503:  # it listens before it is ready
                return True
            told = await heard.json()
            assert told["status"] == "success", told
            return not told["data"]["result"]

    drawn = {one.stem for one in DASHBOARDS}

    async def empty() -> set[str]:
        return {
            where for where, query in queries() if where.partition(":")[0] in drawn and await is_empty(query)
        } - QUIET

    await eventually(empty, lambda found: not found)
