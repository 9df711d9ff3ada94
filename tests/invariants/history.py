"""A small truthful history, written with every guard in force, that the tests of invariants try to falsify.

A deposit, a top-up, a reserved order, a withdrawal on its way, a saga that ended with its envelope.
"""

from collections.abc import Sequence
from typing import Final

from offerhub.access.model import DEFAULT_MARKETPLACE_ID as MARKETPLACE
from offerhub.events.journal import AuditEntry, Event, record
from offerhub.kernel.ids import new_id
from offerhub.ledger import ledger
from offerhub.ledger.chart import Kind
from offerhub.ledger.ledger import Entry, Hold, Leg
from offerhub.runtime.actor import system
from offerhub.runtime.database import Tx

OTHER: Final = "mkt_" + "1" * 32
"""Another marketplace, without anything in it."""
BUYER, SELLER, ORDER, ESCROW, SAGA, WAITING = (
    new_id(prefix) for prefix in ("usr", "usr", "ord", "esc", "sga", "sga")
)
WITHDRAWAL, TOPUP, MILESTONE, WALLET = new_id("wd"), new_id("topup"), new_id("mst"), new_id("wal")
ENDPOINT, DELIVERY = new_id("whe"), new_id("whd")
ONE: Final = 10_000_000

ROWS: Final = f"""
INSERT INTO marketplaces (id, name) VALUES ('{OTHER}', 'other');
INSERT INTO users (id, marketplace_id, external_user_id, type)
SELECT u, '{MARKETPLACE}', u, 'BOTH' FROM unnest('{{{BUYER},{SELLER}}}'::text[]) u;
INSERT INTO wallets (id, marketplace_id, user_id, purpose, public_key, secret_blob, key_version)
VALUES ('{WALLET}', '{MARKETPLACE}', '{BUYER}', 'user', 'G' || repeat('A', 55), decode(repeat('00', 84), 'hex'), 1);
INSERT INTO deposits (operation_id, operation_index, marketplace_id, user_id, address, sender, amount,
    transaction_hash, ledger, business_key)
VALUES ('7', 0, '{MARKETPLACE}', '{BUYER}', 'G', 'G', {100 * ONE}, 'h', 1, 'deposit:7:G:0');
INSERT INTO orders (id, marketplace_id, buyer_id, seller_id, amount, currency, title)
VALUES ('{ORDER}', '{MARKETPLACE}', '{BUYER}', '{SELLER}', {30 * ONE}, 'USD', 't');
UPDATE orders SET status = 'FUNDS_RESERVED';
INSERT INTO withdrawals (id, marketplace_id, user_id, amount, currency, destination_type, destination_ref, committed,
    status)
VALUES ('{WITHDRAWAL}', '{MARKETPLACE}', '{BUYER}', {5 * ONE}, 'USD', 'crypto', 'G', true, 'WITHDRAWAL_PENDING');
INSERT INTO topups (id, marketplace_id, user_id, airtm_user_id, amount, currency)
VALUES ('{TOPUP}', '{MARKETPLACE}', '{BUYER}', 'a', {20 * ONE}, 'USD');
UPDATE topups SET status = 'TOPUP_SUCCEEDED', airtm_payin_id = 'p', net_amount = {19 * ONE}, fee = {ONE};
INSERT INTO sagas (id, marketplace_id, kind, subject_id, input)
VALUES ('{SAGA}', '{MARKETPLACE}', 'order.release', '{ORDER}', '{{}}'),
    ('{WAITING}', '{MARKETPLACE}', 'withdrawal.pay', '{WITHDRAWAL}', '{{}}');
INSERT INTO saga_steps (saga_id, position, name) VALUES ('{SAGA}', 0, 'pay'), ('{WAITING}', 0, 'pay');
UPDATE saga_steps SET status = 'ATTEMPTED';
UPDATE saga_steps SET status = 'UNKNOWN' WHERE saga_id = '{WAITING}';
INSERT INTO envelopes (hash, saga_id, position, source_account, sequence, xdr, valid_until)
VALUES (repeat('a', 64), '{SAGA}', 0, 'G', 1, 'x', now());
UPDATE envelopes SET status = 'SUBMITTED';
UPDATE envelopes SET status = 'SUCCEEDED', ledger = 3, result = '{{}}';
UPDATE saga_steps SET status = 'SETTLED', outcome = '{{"hash": "x", "ledger": 3}}' WHERE saga_id = '{SAGA}';
UPDATE sagas SET status = 'SUCCEEDED' WHERE id = '{SAGA}';
INSERT INTO webhook_endpoints (id, marketplace_id, kind, url, event_types)
VALUES ('{ENDPOINT}', '{MARKETPLACE}', 'PUSH', 'https://shop.example', '{{*}}')
"""

DELIVERED: Final = f"""
INSERT INTO webhook_deliveries (id, marketplace_id, endpoint_id, event_id, event_type, aggregate_type, aggregate_id,
    sequence)
SELECT '{DELIVERY}', marketplace_id, '{ENDPOINT}', id, type, aggregate_type, aggregate_id, sequence FROM events
WHERE type = 'order.created'
"""

EVENTS: Final[Sequence[tuple[str, str, str]]] = (
    ("order.created", "Order", ORDER),
    ("order.funds_reserved", "Order", ORDER),
    ("topup.created", "TopUp", TOPUP),
    ("topup.succeeded", "TopUp", TOPUP),
    ("withdrawal.created", "Withdrawal", WITHDRAWAL),
)


async def write(tx: Tx) -> None:
    """Write all of it."""
    actor = system(MARKETPLACE, "test")
    for statement in ROWS.split(";\n"):
        await tx.execute(statement)
    legs = [Leg(MARKETPLACE, Kind.WORLD_STELLAR, -100 * ONE), Leg(BUYER, Kind.AVAILABLE, 100 * ONE)]
    await ledger.post(tx, actor, Entry("deposit:7:G:0", "deposit", BUYER, legs))
    await ledger.hold(tx, actor, f"order:{ORDER}:reserve", Hold(BUYER, "order", ORDER), 30 * ONE)
    out = [Leg(BUYER, Kind.AVAILABLE, -5 * ONE), Leg(BUYER, Kind.WITHDRAWING, 5 * ONE)]
    await ledger.post(tx, actor, Entry(f"withdrawal:{WITHDRAWAL}:create", "withdrawal", WITHDRAWAL, out))
    paid_in = [Leg(MARKETPLACE, Kind.WORLD_AIRTM, -19 * ONE), Leg(BUYER, Kind.AVAILABLE, 19 * ONE)]
    await ledger.post(tx, actor, Entry(f"topup:{TOPUP}:credit", "topup", TOPUP, paid_in))
    events = [Event(name, aggregate, subject, {}) for name, aggregate, subject in EVENTS]  # type: ignore[arg-type]
    await record(tx, actor, events=events, audit=[AuditEntry("FUNDS_RESERVED", "Order", ORDER)])
    await tx.execute(DELIVERED)
