"""The metrics of a running product: who may read them, that they move, and that the page about them is true."""

import re
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from offerhub.access.model import DEFAULT_MARKETPLACE_ID
from offerhub.kernel.clock import ManualClock
from offerhub.runtime.metrics import Metrics, Reading, Source
from support.outside import World, eventually
from support.product import MASTER_KEY, Marketplace, Person, Running, running

PAGE = Path(__file__).parents[2] / "docs" / "operating" / "metrics.md"

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parse(text: str) -> Samples:
    """Every sample by its name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def at(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


@pytest.fixture
def watcher(live: Running, world: World, http: aiohttp.ClientSession) -> Marketplace:
    """The operator of the installation."""
    return Marketplace(live, world, http, DEFAULT_MARKETPLACE_ID, MASTER_KEY)


async def read(watcher: Marketplace) -> Samples:
    heard = await watcher.send("GET", "/metrics")
    assert heard.status == 200
    assert heard.headers["content-type"].startswith("text/plain; version=")
    return parse(heard.body.decode())


async def test_requests_calls_and_books_are_told(
    watcher: Marketplace, shop: Marketplace, pair: tuple[Person, Person]
) -> None:
    buyer, _ = pair
    before = await read(watcher)
    await shop.balance(buyer)
    assert (await shop.send("GET", "/nowhere")).status == 404
    after = await read(watcher)

    def moved(name: str, **labels: str) -> float:
        return at(after, name, **labels) - before.get((name, frozenset(labels.items())), 0)

    assert moved("offerhub_http_requests_total", route="balances.get", status="200") == 1
    assert moved("offerhub_http_request_seconds_count", route="balances.get") == 1
    assert moved("offerhub_http_requests_total", route="unmatched", status="404") == 1
    assert at(after, "offerhub_provider_call_seconds_count", provider="stellar", outcome="answered") > 0
    assert at(after, "offerhub_breaker_state", provider="stellar", state="closed") == 1
    assert at(after, "offerhub_breaker_state", provider="stellar", state="open") == 0
    assert at(after, "offerhub_ledger_sum_units") == 0
    assert at(after, "offerhub_queue_jobs", queue="sagas", state="failed") >= 0
    assert at(after, "offerhub_metrics_source_up", source="work") == 1
    assert any(name == "process_resident_memory_bytes" for name, _ in after)


async def test_what_runs_low_or_grows_old_is_told(watcher: Marketplace, shop: Marketplace) -> None:
    async def told() -> Samples:
        return await read(watcher)

    xlm = ("offerhub_platform_xlm_units", frozenset[tuple[str, str]]())
    samples = await eventually(told, lambda found: found.get(xlm, 0) > 0)
    assert at(samples, "offerhub_wallet_key_age_seconds") > 0
    assert at(samples, "offerhub_api_key_oldest_seconds") > 0
    names = {name for name, _ in samples}
    assert "offerhub_treasury_units" not in names, "there is no treasury on this rail"
    assert "offerhub_certificate_valid_seconds" not in names, "nobody reaches this one over TLS"


async def test_only_operators_read_them(watcher: Marketplace, shop: Marketplace) -> None:
    least = await watcher.with_key("metrics.read")
    assert (await least.send("GET", "/metrics")).status == 200
    assert (await least.send("GET", "/orders")).status == 403
    assert (await shop.send("GET", "/metrics")).code == "INSUFFICIENT_SCOPE"
    assert (await shop.using("").send("GET", "/metrics")).status == 401


async def test_without_redis_the_rest_is_told(
    office_environ: dict[str, str], world: World, http: aiohttp.ClientSession
) -> None:
    async with running({**office_environ, "REDIS_URL": "redis://127.0.0.1:9/0"}, jobs=False) as found:
        watcher = Marketplace(found, world, http, DEFAULT_MARKETPLACE_ID, MASTER_KEY)
        samples = await read(watcher)
        assert at(samples, "offerhub_metrics_source_up", source="queues") == 0
        assert at(samples, "offerhub_metrics_source_up", source="work") == 1
        assert not any(name == "offerhub_queue_jobs" for name, _ in samples)


async def test_a_source_is_asked_once_in_its_time_and_a_failure_is_told() -> None:
    clock, asked = ManualClock(), []

    async def count() -> list[Reading]:
        asked.append(1)
        if len(asked) == 2:
            raise OSError("away")
        return [Reading("offerhub_asked", "How often.", [((), len(asked))])]

    metrics = Metrics(clock, "1")
    metrics.add(Source("counting", 10, count))

    async def told() -> tuple[float | None, float]:
        samples = parse((await metrics.render()).decode())
        return samples.get(("offerhub_asked", frozenset())), at(
            samples, "offerhub_metrics_source_up", source="counting"
        )

    assert await told() == (1, 1)
    assert await told() == (1, 1)
    clock.advance(10)
    assert await told() == (None, 0)
    clock.advance(10)
    assert await told() == (3, 1)


async def test_the_page_names_every_metric_and_no_other(watcher: Marketplace, shop: Marketplace) -> None:
    """What the page lists can be asked for; what is told is explained."""

    async def told() -> set[str]:
        text = (await watcher.send("GET", "/metrics")).body.decode()
        return {family.name for family in text_string_to_metric_families(text) if family.name.startswith("offerhub_")}

    explained = {
        name.removesuffix("_total") for name in re.findall(r"^\| `(offerhub_\w+)`", PAGE.read_text(), re.MULTILINE)
    }
    await eventually(told, lambda names: names == explained)


async def test_the_page_names_the_labels_of_each_metric(watcher: Marketplace, pair: tuple[Person, Person]) -> None:
    """Alerts and dashboards are held to that page."""
    page = dict(re.findall(r"^\| `(offerhub_\w+)` \| ([^|]*)\|", PAGE.read_text(), re.MULTILINE))
    for name, labels in await read(watcher):
        if name.startswith("offerhub_"):
            told = {label for label, _ in labels} - {"le"}
            stem = re.sub(r"_(bucket|sum|count)$", "", name) if name not in page else name
            assert told == set(re.findall(r"`(\w+)`", page[stem])), name
