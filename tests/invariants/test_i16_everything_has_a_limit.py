"""I16: whatever could grow has a limit, at which it still works and beyond which it is refused."""

import pytest
import sentences as says
from history import MARKETPLACE
from stand import Stand

from offerhub.kernel import money
from offerhub.providers.trustless_work.intents import MILESTONES_MAX

REFUSED = {
    "a user's id of 256 characters": (
        f"""
        INSERT INTO users (id, marketplace_id, external_user_id, type) VALUES ('usr_' || repeat('2', 32),
            '{MARKETPLACE}', repeat('x', 256), 'BOTH')
        """,
        "users_external_user_id_check",
    ),
    "an idempotency key of 256 characters": (
        f"""
        INSERT INTO idempotent_requests (credential_id, key, marketplace_id, method, path, fingerprint,
            expires_at) VALUES ('c', repeat('x', 256), '{MARKETPLACE}', 'POST', '/', '', now())
        """,
        "idempotent_requests_key_check",
    ),
    "an endpoint for 51 types of events": (
        f"""
        INSERT INTO webhook_endpoints (id, marketplace_id, kind, url, event_types) VALUES ('whe_' ||
            repeat('2', 32), '{MARKETPLACE}', 'PUSH', 'https://shop.example', array_fill('x'::text,
            ARRAY[51]))
        """,
        "webhook_endpoints_event_types_check",
    ),
    "a marketplace's name of 201 characters": (
        """
        INSERT INTO marketplaces (id, name) VALUES ('mkt_' || repeat('2', 32), repeat('x', 201))
        """,
        "marketplaces_name_check",
    ),
    "a timer of more than a year": (
        f"""
        INSERT INTO policies (marketplace_id, name, span_hours, action, changed_at, changed_by) VALUES
            ('{MARKETPLACE}', 'autoRelease', 8761, 'RELEASE', now(), 'x')
        """,
        "policies_span_hours_check",
    ),
}
"""What is tried, and the guard that refuses it."""

FOUND = {
    "eleven milestones": (
        f"""
        INSERT INTO milestones (id, marketplace_id, order_id, position, milestone_ref, title, amount) SELECT
            'mst_' || lpad(n::text, 32, '0'), marketplace_id, id, n, n::text, 'M', 100000 FROM orders,
            generate_series(0, {MILESTONES_MAX}) n
        """,
        {says.LIMITS_HOLD},
    ),
    "an attempt too many": (
        "UPDATE webhook_deliveries SET tries = 11",
        {says.LIMITS_HOLD},
    ),
}
"""What was done with every guard out of the way, and the sentences that the proof says not to hold."""


@pytest.mark.parametrize("case", REFUSED)
async def test_the_database_refuses(stand: Stand, case: str) -> None:
    sql, guard = REFUSED[case]
    assert await stand.refusal_of(sql) == guard


@pytest.mark.parametrize("case", FOUND)
async def test_the_proof_finds(stand: Stand, case: str) -> None:
    sql, sentences = FOUND[case]
    assert await stand.found_after(sql) == sentences


@pytest.mark.parametrize(
    "sql",
    [
        f"INSERT INTO users (id, marketplace_id, external_user_id, type) "
        f"VALUES ('usr_' || repeat('2', 32), '{MARKETPLACE}', repeat('x', 255), 'BOTH')",
        f"INSERT INTO webhook_endpoints (id, marketplace_id, kind, url, event_types) "
        f"VALUES ('whe_' || repeat('2', 32), '{MARKETPLACE}', 'PUSH', 'https://shop.example', "
        "array_fill('x'::text, ARRAY[50]))",
    ],
)
async def test_the_limit_itself_is_allowed(stand: Stand, sql: str) -> None:
    with pytest.raises(AssertionError, match="nothing refused"):
        await stand.refusal_of(sql)


def test_amounts_have_ten_digits_and_no_more() -> None:
    assert money.parse_amount("9" * money.INTEGER_DIGITS_MAX + ".99") <= money.UNITS_MAX
    with pytest.raises(money.AmountError):
        money.parse_amount("9" * (money.INTEGER_DIGITS_MAX + 1) + ".00")
