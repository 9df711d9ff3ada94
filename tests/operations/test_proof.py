"""The proof finds what is wrong: each check is shown a database in which exactly its sentence is false."""

from collections.abc import AsyncIterator

import pytest

from offerhub.access.model import DEFAULT_MARKETPLACE_ID as MARKETPLACE
from offerhub.audit.chain import Sealer
from offerhub.events import store as log
from offerhub.events.journal import AuditEntry, record
from offerhub.kernel.ids import new_id
from offerhub.ledger import ledger
from offerhub.ledger.chart import Kind
from offerhub.ledger.ledger import Entry, Hold, Leg
from offerhub.operations.checks import CHECKS
from offerhub.operations.proof import prove
from offerhub.runtime.actor import system
from offerhub.runtime.database import Database, Tx
from offerhub.runtime.vault import Vault

BUYER, SELLER, ORDER, ESCROW, SAGA = new_id("usr"), new_id("usr"), new_id("ord"), new_id("esc"), new_id("sga")
WITHDRAWAL, TOPUP, MILESTONE = new_id("wd"), new_id("topup"), new_id("mst")
ONE = 10_000_000


async def _history(tx: Tx) -> None:
    """A small truthful history: a deposit, a top-up, a reserved order, a withdrawal on its way, a saga that ended."""
    actor = system(MARKETPLACE, "test")
    for user in (BUYER, SELLER):
        await tx.execute(
            "INSERT INTO users (id, marketplace_id, external_user_id, type) VALUES ($1, $2, $1, 'BOTH')",
            user,
            MARKETPLACE,
        )
    await tx.execute(
        "INSERT INTO deposits (operation_id, operation_index, marketplace_id, user_id, address, sender, amount, "
        "transaction_hash, ledger, business_key) VALUES ('7', 0, $1, $2, 'G', 'G', $3, 'h', 1, 'deposit:7:G:0')",
        MARKETPLACE,
        BUYER,
        100 * ONE,
    )
    legs = [Leg(MARKETPLACE, Kind.WORLD_STELLAR, -100 * ONE), Leg(BUYER, Kind.AVAILABLE, 100 * ONE)]
    await ledger.post(tx, actor, Entry("deposit:7:G:0", "deposit", BUYER, legs))
    await tx.execute(
        "INSERT INTO orders (id, marketplace_id, buyer_id, seller_id, amount, currency, status, title) "
        "VALUES ($1, $2, $3, $4, $5, 'USD', 'FUNDS_RESERVED', 't')",
        ORDER,
        MARKETPLACE,
        BUYER,
        SELLER,
        30 * ONE,
    )
    await record(tx, actor, audit=[AuditEntry("FUNDS_RESERVED", "Order", ORDER)])
    await ledger.hold(tx, actor, f"order:{ORDER}:reserve", Hold(BUYER, "order", ORDER), 30 * ONE)
    await tx.execute(
        "INSERT INTO withdrawals (id, marketplace_id, user_id, amount, currency, status, destination_type, "
        "destination_ref) VALUES ($1, $2, $3, $4, 'USD', 'WITHDRAWAL_PENDING', 'crypto', 'G')",
        WITHDRAWAL,
        MARKETPLACE,
        BUYER,
        5 * ONE,
    )
    out = [Leg(BUYER, Kind.AVAILABLE, -5 * ONE), Leg(BUYER, Kind.WITHDRAWING, 5 * ONE)]
    await ledger.post(tx, actor, Entry(f"withdrawal:{WITHDRAWAL}:create", "withdrawal", WITHDRAWAL, out))
    await tx.execute(
        "INSERT INTO sagas (id, marketplace_id, kind, subject_id, status, input) "
        "VALUES ($1, $2, 'order.release', $3, 'SUCCEEDED', '{}')",
        SAGA,
        MARKETPLACE,
        ORDER,
    )
    await tx.execute(
        "INSERT INTO saga_steps (saga_id, position, name, status, outcome) VALUES ($1, 0, 'pay', 'SETTLED', "
        '\'{"hash": "x", "ledger": 3}\')',
        SAGA,
    )
    await tx.execute(
        "INSERT INTO envelopes (hash, saga_id, position, source_account, sequence, xdr, valid_until, status) "
        "VALUES (repeat('a', 64), $1, 0, 'G', 1, 'x', now(), 'SUCCEEDED')",
        SAGA,
    )
    await tx.execute(
        "INSERT INTO topups (id, marketplace_id, user_id, airtm_user_id, amount, net_amount, fee, currency, status, "
        "airtm_payin_id) VALUES ($1, $2, $3, 'a', $4, $5, $6, 'USD', 'TOPUP_SUCCEEDED', 'p')",
        TOPUP,
        MARKETPLACE,
        BUYER,
        20 * ONE,
        19 * ONE,
        ONE,
    )
    paid_in = [Leg(MARKETPLACE, Kind.WORLD_AIRTM, -19 * ONE), Leg(BUYER, Kind.AVAILABLE, 19 * ONE)]
    await ledger.post(tx, actor, Entry(f"topup:{TOPUP}:credit", "topup", TOPUP, paid_in))
    happened = (("order.created", "Order", ORDER), ("topup.succeeded", "TopUp", TOPUP))
    await tx.execute(
        "SELECT journal($1, '{}', $2, '[]', '[]')",
        MARKETPLACE,
        [
            {
                "id": new_id("evt"),
                "type": name,
                "aggregate_type": aggregate,
                "aggregate_id": subject,
                "payload": {},
                "metadata": {},
            }
            for name, aggregate, subject in happened
        ],
    )


@pytest.fixture
async def database(fresh_database_url: str) -> AsyncIterator[Database]:
    opened = await Database.connect(fresh_database_url, pool_size=3)
    await opened.run(_history)
    await opened.run(Sealer(Vault({1: b"k" * 32}, 1)).seal)
    await opened.run(log.sequence)
    yield opened
    await opened.close()


# What somebody with the database's password could do, with every guard out of the way, and the sentence it breaks.
TAMPERINGS = {
    "a posting changed": (
        "UPDATE ledger.postings SET amount = amount + 1 WHERE position = 1",
        "Every asset sums to zero over all postings.",
    ),
    "a posting moved to another transaction": (
        "UPDATE ledger.postings SET transaction_id = 2, position = 7 WHERE transaction_id = 1 AND position = 0",
        "Every transaction balances and has at least two legs.",
    ),
    "an account given to another marketplace": (
        "INSERT INTO marketplaces VALUES ('mkt_' || repeat('1', 32), 'other');"
        f"UPDATE ledger.accounts SET marketplace_id = 'mkt_' || repeat('1', 32) WHERE owner = '{MARKETPLACE}'",
        "No posting crosses from one marketplace into another.",
    ),
    "an account deleted": (
        "DELETE FROM ledger.accounts WHERE kind = 'withdrawing'",
        "Every posting has its account and its transaction, and both have their marketplace.",
    ),
    "a balance changed": (
        "UPDATE ledger.accounts SET balance = balance + 1 WHERE kind = 'available'",
        "Every stored balance is the sum of its postings, and its version their number.",
    ),
    "a running balance changed": (
        "UPDATE ledger.postings SET balance_after = balance_after + 1 WHERE account_version = 1",
        "Each posting begins where the one before it ended, without a gap in the versions.",
    ),
    "a running balance below zero": (
        "UPDATE ledger.postings SET balance_after = -1 WHERE account_version = 1",
        "No account with a floor is below zero, nor ever was.",
    ),
    "a hold changed": (
        "UPDATE ledger.holds SET amount = amount - 1",
        "A user's reserved balance is the sum of what each reservation still holds.",
    ),
    "an order moved without its money": (
        f"UPDATE orders SET status = 'CLOSED', final_status = 'CANCELED', closed_at = now() WHERE id = '{ORDER}'",
        "An order's reservation holds its amount exactly while its state says so.",
    ),
    "an escrow said to be funded": (
        "INSERT INTO escrows (id, marketplace_id, order_id, contract_id, status, amount, platform_fee_bps, roles) "
        f"SELECT '{ESCROW}', marketplace_id, id, 'C', 'FUNDED', amount, 0, '{{}}' FROM orders",
        "An order's escrow account holds its amount, or its unpaid milestones', exactly while its contract does.",
    ),
    "a milestone said to be paid": (
        "UPDATE orders SET escrow_type = 'multi-release';"
        "INSERT INTO escrows (id, marketplace_id, order_id, contract_id, status, amount, platform_fee_bps, roles) "
        f"SELECT '{ESCROW}', marketplace_id, id, 'C', 'RELEASED', amount, 0, '{{}}' FROM orders;"
        "INSERT INTO milestones (id, marketplace_id, order_id, position, milestone_ref, title, amount) "
        f"SELECT '{MILESTONE}', marketplace_id, id, 0, 'm', 'M', amount FROM orders;"
        "INSERT INTO escrow_milestones (escrow_id, position, marketplace_id, milestone_id, amount, status, "
        f"seller_share, paid_at) SELECT '{ESCROW}', 0, marketplace_id, id, amount, 'RELEASED', amount, now() "
        "FROM milestones",
        "Every milestone that was paid out has posted its amount exactly once, and every such posting its milestone.",
    ),
    "an order said to be multi-release": (
        "UPDATE orders SET escrow_type = 'multi-release';"
        "INSERT INTO escrows (id, marketplace_id, order_id, contract_id, status, amount, platform_fee_bps, roles) "
        f"SELECT '{ESCROW}', marketplace_id, id, 'C', 'CREATED', amount, 0, '{{}}' FROM orders",
        "A multi-release escrow's milestones are its order's, hold its amount, and have ended when it has.",
    ),
    "an escrow account that got another amount": (
        "INSERT INTO ledger.accounts (marketplace_id, owner, kind, floored, balance, version) "
        f"VALUES ('{MARKETPLACE}', '{ORDER}', 'escrow', true, 5, 1);"
        "INSERT INTO ledger.postings SELECT 1, 9, max(id), 5, 1, 5 FROM ledger.accounts",
        "What went into an escrow came out of it as payouts and fees, and nothing else did.",
    ),
    "an escrow without a place in the order's story": (
        "INSERT INTO escrows (id, marketplace_id, order_id, status, amount, platform_fee_bps, roles) "
        f"SELECT '{ESCROW}', marketplace_id, id, 'CREATING', amount, 0, '{{}}' FROM orders",
        "Order and escrow tell the same story.",
    ),
    "a withdrawal failed without giving back": (
        "UPDATE withdrawals SET status = 'WITHDRAWAL_FAILED'",
        "A withdrawal's money is on its way exactly while its state says so.",
    ),
    "a withdrawal completed without a posting": (
        "UPDATE withdrawals SET status = 'WITHDRAWAL_COMPLETED'",
        "A withdrawal that ended has posted its end exactly once, to the world or back to the user.",
    ),
    "a place in the log lost": (
        "DELETE FROM event_log WHERE place = 1",
        "Every event has one place in the log or waits for one; places have no gap and keep each aggregate's order.",
    ),
    "an event removed": (
        "UPDATE events SET sequence = 2",
        "Each aggregate's events are numbered from one without a gap.",
    ),
    "an order closed in silence": (
        "UPDATE orders SET status = 'CLOSED', final_status = 'RELEASED', closed_at = now()",
        "Every closed order, every ended withdrawal and every reversal of one has its event.",
    ),
    "a deposit forgotten": (
        "DELETE FROM deposits",
        "Every booked deposit has exactly one posting of its amount, and every such posting its deposit.",
    ),
    "a top-up's credit changed": (
        "UPDATE topups SET net_amount = net_amount - 1, fee = fee + 1",
        "Every top-up that succeeded has credited what arrived exactly once, and nothing else counts as one.",
    ),
    "a payout said to have come back": (
        "INSERT INTO airtm_refunds (deposit_id, payout_id, amount, status, marketplace_id, withdrawal_id, reason, "
        "settled_at) SELECT 'd', 'p', 1, 'REVERSED', marketplace_id, id, 'r', now() FROM withdrawals",
        "Every payout that came back has credited once what came back, of a withdrawal that was completed; no other.",
    ),
    "a deposit posted against Airtm": (
        "UPDATE ledger.transactions SET kind = 'deposit' WHERE kind = 'topup'",
        "Only top-ups, withdrawals and the operator's rebalancing move what is at Airtm.",
    ),
    "what was paid into the treasury changed": (
        "INSERT INTO treasury_deposits VALUES ('1', 0, (SELECT min(id) FROM marketplaces), 'G', 'G', 5, 'h', 1)",
        "Everything paid into the treasury is booked exactly once, and nothing else counts as such.",
    ),
    "an escrow said to be paid in by the treasury": (
        "INSERT INTO escrows (id, marketplace_id, order_id, contract_id, status, amount, platform_fee_bps, roles, "
        f"treasury) SELECT '{ESCROW}', marketplace_id, id, 'C', 'FUNDED', amount, 0, '{{}}', 'G' || repeat('A', 55) "
        "FROM orders;"
        "INSERT INTO ledger.transactions (marketplace_id, business_key, kind, subject, actor) "
        f"VALUES ('{MARKETPLACE}', 'tampered', 'fund_escrow', '{ORDER}', 'nobody')",
        "The treasury paid exactly the orders into escrow that say so, and was paid by no others.",
    ),
    "a top-up canceled in silence": (
        "UPDATE topups SET status = 'TOPUP_CANCELED', net_amount = NULL, fee = NULL",
        "Every top-up has the event of the state it is in.",
    ),
    "a sequence number used twice": (
        "DROP INDEX one_envelope_per_sequence;"
        f"INSERT INTO envelopes SELECT repeat('b', 64), '{SAGA}', 0, 'G', 1, 'x', now(), 'FAILED'",
        "No two envelopes share a source account and sequence number, unless the chain proved one absent.",
    ),
    "an audit entry edited": (
        "UPDATE audit_entries SET actor_id = 'somebody else'",
        "Every link of the audit chain follows from the one before it and from its entry.",
    ),
    "an envelope's success taken back": (
        "UPDATE envelopes SET status = 'FAILED'",
        "Every settled step on the chain has one envelope that succeeded.",
    ),
    "a saga ended in doubt": (
        "UPDATE saga_steps SET status = 'UNKNOWN'",
        "A saga that ended left nothing open: no step in doubt, no envelope, no lane.",
    ),
}


async def test_a_truthful_history_is_proven(database: Database) -> None:
    proof = await prove(database)
    assert proof.findings == []
    assert proof.postings == 8
    assert sum(proof.totals.values()) == 0


@pytest.mark.parametrize("case", TAMPERINGS, ids=str)
async def test_each_tampering_is_found_by_its_check(database: Database, case: str) -> None:
    sql, sentence = TAMPERINGS[case]
    await database.script(f"SET session_replication_role = replica; {sql}; SET session_replication_role = origin")
    found = {finding.check.sentence for finding in (await prove(database)).findings}
    assert sentence in found


def test_every_check_has_a_tampering() -> None:
    assert {sentence for _, sentence in TAMPERINGS.values()} == {check.sentence for check in CHECKS}
