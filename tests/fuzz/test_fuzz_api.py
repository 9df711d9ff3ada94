"""Generated requests against a running product: it answers every one as its document says, and the books hold."""

import asyncio
import secrets

import aiohttp
import pytest
from fuzz_engine import Plan, run
from fuzz_ids import RealIds
from fuzz_stage import furnish

from support.outside import World
from support.product import MASTER_KEY, Marketplace, Running
from support.routes import all_routes

MARKETPLACES = ("marketplaces.create", "marketplaces.list")
"""What only the master key may do."""
OPERATORS = tuple(
    route.name
    for route in all_routes()
    if route.path.startswith(
        ("/admin/queues", "/admin/dlq", "/admin/reconciliation", "/admin/stuck", "/admin/treasury", "/metrics")
    )
)
"""What concerns the whole installation."""
MAINTENANCE = ("maintenance.enable", "maintenance.disable")
"""What would stop the fuzzing of everything else: it has a run of its own, the last."""
ENDLESS = ("events.follow",)
"""An answer that does not end is no case for a client that waits for the end."""
SHORT_SEED = 20_261_126
SHORT_EXAMPLES = 1
SHORT_COVERAGE_STEP = 16
LONG_CASES_MIN = 2_000


def size(config: pytest.Config) -> tuple[int, int, int]:
    """(seed, examples per operation, step of the coverage phase) of this run."""
    examples, seed = config.getoption("--fuzz-examples", None), config.getoption("--fuzz-seed", None)
    if examples is None:
        return SHORT_SEED if seed is None else seed, SHORT_EXAMPLES, SHORT_COVERAGE_STEP
    return secrets.randbelow(2**32) if seed is None else seed, examples, 1


# Hypothesis suspects strategies when the state of `random` changes; it is the product's jitter, in the same process.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
async def test_every_generated_request_is_answered_as_the_document_says(
    live: Running,
    world: World,
    http: aiohttp.ClientSession,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seed, examples, step = size(request.config)
    shop, master = await Marketplace.found(live, world, http), Marketplace(live, world, http, "", MASTER_KEY)
    furnished = await furnish(shop, 1 if step > 1 else 3)
    own_key = (await shop.done("GET", "/auth/me"))["apiKeyId"]
    real = RealIds([*furnished.people, shop.id], ready=furnished.ready, forbidden=own_key, seed=seed)
    headers = {"X-Marketplace-Id": shop.id}
    plans = {
        "shop": Plan(
            shop.credential,
            seed,
            examples,
            step,
            without=(*MARKETPLACES, *OPERATORS, *MAINTENANCE, *ENDLESS),
            headers=headers,
            address=furnished.address,
        ),
        "marketplaces": Plan(MASTER_KEY, seed, examples, step, only=MARKETPLACES),
        "operators": Plan(MASTER_KEY, seed, examples, step, only=OPERATORS),
        "maintenance": Plan(MASTER_KEY, seed, examples, step, only=MAINTENANCE),
    }
    outcomes = {name: await asyncio.to_thread(run, live.url, plan, real) for name, plan in plans.items()}
    await master.done("POST", "/admin/maintenance/disable")
    reports = "\n".join(outcome.report(name) for name, outcome in outcomes.items())
    with capsys.disabled():
        print(f"\n{reports}", flush=True)
    for outcome in outcomes.values():
        assert outcome.finished, reports
        assert outcome.errors == [], reports
        assert not outcome.failures, reports
    assert step > 1 or sum(outcome.total for outcome in outcomes.values()) >= LONG_CASES_MIN
    await live.deposits_caught_up()
    await live.assert_books_hold()
    with capsys.disabled():
        print("fuzz: proven, the books hold", flush=True)
