"""I14: money is a whole number of units of a named asset, and comes back as it went."""

import pytest
import sentences as says
from history import MARKETPLACE, SELLER
from hypothesis import given
from hypothesis import strategies as st
from stand import Stand

from offerhub.kernel import money

REFUSED = {
    "an account in an asset that nobody knows": (
        f"""
        INSERT INTO ledger.accounts (marketplace_id, owner, kind, asset, floored) VALUES ('{MARKETPLACE}',
            '{SELLER}', 'available', 'EUR', true)
        """,
        "asset_is_known",
    ),
    "an order in another currency": (
        """
        INSERT INTO orders (id, marketplace_id, buyer_id, seller_id, amount, currency, title) SELECT 'ord_'
            || repeat('2', 32), marketplace_id, buyer_id, seller_id, amount, 'EUR', title FROM orders
        """,
        "currency_is_known",
    ),
    "an order of a fraction of a cent": (
        """
        INSERT INTO orders (id, marketplace_id, buyer_id, seller_id, amount, currency, title) SELECT 'ord_'
            || repeat('2', 32), marketplace_id, buyer_id, seller_id, 1, currency, title FROM orders
        """,
        "orders_amount_check",
    ),
    "a posting of nothing": (
        """
        INSERT INTO ledger.postings (transaction_id, position, account_id, amount) SELECT 1, 9, id, 0 FROM
            ledger.accounts WHERE kind = 'world:stellar'
        """,
        "postings_amount_check",
    ),
}
"""What is tried, and the guard that refuses it."""

FOUND = {
    "an account in another asset": (
        """
        ALTER TABLE ledger.accounts DROP CONSTRAINT asset_is_known;
        UPDATE ledger.accounts SET asset = 'EUR' WHERE kind = 'world:airtm'
        """,
        {
            says.ASSETS_ARE_KNOWN,
            says.ASSETS_SUM_TO_ZERO,
        },
    ),
    "an order of a fraction of a cent": (
        """
        ALTER TABLE topups DROP CONSTRAINT currency_is_known;
        UPDATE topups SET currency = 'EUR'
        """,
        {says.ASSETS_ARE_KNOWN},
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


@given(st.integers(min_value=0, max_value=10**12 - 1))
def test_wire_amounts_come_back_as_they_went(cents: int) -> None:
    text = f"{cents // 100}.{cents % 100:02d}"
    units = money.parse_amount(text)
    assert money.format_amount(units) == text
    assert money.is_whole_cents(units)


@given(st.integers(min_value=0, max_value=10**17))
def test_chain_amounts_come_back_as_they_went(units: int) -> None:
    assert money.parse_chain_amount(money.format_chain_amount(units)) == units


@given(st.integers(min_value=0, max_value=10**17))
def test_the_wire_never_shows_more_than_there_is(units: int) -> None:
    shown = money.parse_chain_amount(money.format_amount(units))
    assert shown <= units < shown + money.UNITS_PER_CENT


async def test_every_amount_in_the_database_is_a_whole_number(stand: Stand) -> None:
    columns = await stand.database.run(
        lambda tx: tx.rows(
            """
            SELECT table_name, column_name, data_type FROM information_schema.columns
            WHERE table_schema IN ('public', 'ledger')
                AND (column_name ~ 'amount|balance|fee$|units|share|_net$'
                    OR data_type IN ('real', 'numeric', 'money'))
            """
        )
    )
    assert {(c["table_name"], c["column_name"]) for c in columns if c["data_type"] != "bigint"} == set()
    assert len(columns) > 20
