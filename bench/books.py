"""Fill an empty database with books of many postings, to see how long the proof of them takes.

    bench/books.py DATABASE_URL [--postings 1000000]

Whole histories, written at once by SQL: users who pay in, orders that are reserved, funded and released, with their
escrows, events, audit entries, sagas and envelopes. Nine postings for each order and its deposit. Prints what the
proof says of them in the end.
"""

import argparse
import asyncio

import asyncpg

from offerhub.audit.chain import Sealer
from offerhub.events import store as log
from offerhub.operations.proof import prove
from offerhub.runtime.database import Database
from offerhub.runtime.migrations import migrate
from offerhub.runtime.vault import Vault

POSTINGS_PER_ORDER = 9
ORDERS_PER_USER = 5
MARKETPLACE = "mkt_" + "0" * 32
ID = "lpad(n::text, 32, '0')"
"""Of order n; buyer and seller are users n / 5 and n / 5 + 1, who take turns."""

USERS = f"""
INSERT INTO users (id, marketplace_id, external_user_id, type)
SELECT 'usr_' || {ID}, '{MARKETPLACE}', n::text, 'BOTH' FROM generate_series(0, $1 + 1) n;
INSERT INTO ledger.accounts (marketplace_id, owner, kind, floored)
SELECT '{MARKETPLACE}', 'usr_' || {ID}, k, true
FROM generate_series(0, $1 + 1) n, unnest('{{available,reserved}}'::text[]) k;
INSERT INTO ledger.accounts (marketplace_id, owner, kind, floored)
SELECT '{MARKETPLACE}', '{MARKETPLACE}', k, false FROM unnest('{{world:stellar,fees:platform}}'::text[]) k;
"""

ORDERS = f"""
CREATE UNLOGGED TABLE made AS
SELECT n, 'ord_' || {ID} AS id, 'esc_' || {ID} AS escrow, 'sga_' || {ID} AS saga,
    'usr_' || lpad((n / {ORDERS_PER_USER})::text, 32, '0') AS buyer,
    'usr_' || lpad((n / {ORDERS_PER_USER} + 1)::text, 32, '0') AS seller
FROM generate_series(0, $1 - 1) n;
INSERT INTO orders (id, marketplace_id, buyer_id, seller_id, amount, currency, status, title, final_status, closed_at)
SELECT id, '{MARKETPLACE}', buyer, seller, 100000000, 'USD', 'CLOSED', 'bench', 'RELEASED', now() FROM made;
INSERT INTO escrows (id, marketplace_id, order_id, contract_id, status, amount, platform_fee_bps, roles)
SELECT escrow, '{MARKETPLACE}', id, 'C' || n, 'RELEASED', 100000000, 100, '{{}}' FROM made;
INSERT INTO ledger.accounts (marketplace_id, owner, kind, floored, version)
SELECT '{MARKETPLACE}', id, 'escrow', true, 2 FROM made;
INSERT INTO deposits (operation_id, operation_index, marketplace_id, user_id, address, sender, amount,
    transaction_hash, ledger, business_key)
SELECT n::text, 0, '{MARKETPLACE}', buyer, 'G', 'G', 100000000, 'h', n, 'deposit:' || n FROM made;
INSERT INTO ledger.transactions (marketplace_id, business_key, kind, subject, actor)
SELECT '{MARKETPLACE}', k.prefix || m.n || k.suffix, k.kind, CASE k.place WHEN 0 THEN m.buyer ELSE m.id END, 'bench'
FROM made m, (VALUES (0, 'deposit:', '', 'deposit'), (1, 'order:', ':reserve', 'reserve'),
    (2, 'order:', ':fund', 'fund_escrow'), (3, 'order:', ':payout', 'released')
) k (place, prefix, suffix, kind)
ORDER BY m.n, k.place;
INSERT INTO ledger.postings (transaction_id, position, account_id, amount, account_version, balance_after)
SELECT t, position, account_id, amount,
    CASE WHEN floored THEN row_number() OVER w END, CASE WHEN floored THEN sum(amount) OVER w END
FROM (
    SELECT m.n * 4 + l.place + 1 AS t, l.position, a.id AS account_id, a.floored, l.amount
    FROM made m, LATERAL (VALUES
        (0, 0, '{MARKETPLACE}', 'world:stellar', -100000000), (0, 1, m.buyer, 'available', 100000000),
        (1, 0, m.buyer, 'available', -100000000), (1, 1, m.buyer, 'reserved', 100000000),
        (2, 0, m.buyer, 'reserved', -100000000), (2, 1, m.id, 'escrow', 100000000),
        (3, 0, m.id, 'escrow', -100000000), (3, 1, m.seller, 'available', 99000000),
        (3, 2, '{MARKETPLACE}', 'fees:platform', 1000000)
    ) l (place, position, owner, kind, amount)
    JOIN ledger.accounts a ON a.owner = l.owner AND a.kind = l.kind
) legs WINDOW w AS (PARTITION BY account_id ORDER BY t, position);
UPDATE ledger.accounts a SET balance = s.balance, version = s.version FROM (
    SELECT account_id, sum(amount) AS balance, count(*) AS version FROM ledger.postings GROUP BY account_id
) s WHERE s.account_id = a.id AND a.floored;
"""

HISTORY = f"""
INSERT INTO events (id, marketplace_id, aggregate_type, aggregate_id, sequence, type, payload, metadata)
SELECT 'evt_' || m.n || '_' || e.type, '{MARKETPLACE}', e.aggregate, CASE e.aggregate WHEN 'Order' THEN m.id
    ELSE m.escrow END, e.sequence, e.type, json_build_object('orderId', m.id, 'amount', '10.00'), '{{}}'
FROM made m, (VALUES ('Order', 1, 'order.created'), ('Order', 2, 'order.funds_reserved'),
    ('Order', 3, 'order.escrow_funded'), ('Order', 4, 'order.release_requested'), ('Order', 5, 'order.released'),
    ('Order', 6, 'order.closed'), ('Escrow', 1, 'escrow.created'), ('Escrow', 2, 'escrow.funded'),
    ('Escrow', 3, 'escrow.released')) e (aggregate, sequence, type)
ORDER BY m.n, e.sequence;
INSERT INTO event_arrivals SELECT position FROM events;
INSERT INTO audit_entries (id, marketplace_id, action, resource_type, resource_id, payload_after, actor_type,
    actor_id, result)
SELECT 'aud_' || position, marketplace_id, type, aggregate_type, aggregate_id, payload, 'SYSTEM', 'bench', 'SUCCESS'
FROM events ORDER BY position;
INSERT INTO sagas (id, marketplace_id, kind, subject_id, status, input)
SELECT saga, '{MARKETPLACE}', 'order.release', id, 'SUCCEEDED', json_build_object('orderId', id) FROM made;
INSERT INTO saga_steps (saga_id, position, name, status, attempts, outcome)
SELECT saga, p, 'step', 'SETTLED', 1, '{{"hash": "h", "ledger": 1}}' FROM made, generate_series(0, 2) p;
INSERT INTO envelopes (hash, saga_id, position, source_account, sequence, xdr, valid_until, status, ledger, result)
SELECT lpad(to_hex(n * 3 + p), 64, '0'), saga, p, 'G', n * 3 + p, repeat('x', 400), now(), 'SUCCEEDED', 1, '{{}}'
FROM made, generate_series(0, 2) p;
DROP TABLE made;
"""


async def fill(url: str, postings: int) -> None:
    """Write the histories."""
    await migrate(url)
    orders = postings // POSTINGS_PER_ORDER
    parts = (USERS.replace("$1", str(orders // ORDERS_PER_USER)), ORDERS.replace("$1", str(orders)), HISTORY)
    connection = await asyncpg.connect(url)
    # Guards look at one row after the other; these rows are many, and made to be right.
    await connection.execute("SET session_replication_role = replica; SET jit = off; SET work_mem = '256MB'")
    for part in parts:
        await connection.execute(part)
    await connection.execute("VACUUM ANALYZE")
    await connection.close()


async def look(url: str) -> None:
    """Seal and number what was written, as the service would, and print what the proof says."""
    database = await Database.connect(url, pool_size=2)
    while await database.run(Sealer(Vault({1: b"k" * 32}, 1)).seal):
        pass
    while await database.run(log.sequence):
        pass
    proof = await prove(database, connections=2)
    pace = proof.seconds_per_million
    print(f"holds: {proof.holds}; {proof.postings} postings in {proof.seconds:.1f} s, {pace} s per million postings")
    for finding in proof.findings:
        print(finding.check.sentence, finding.rows[:3])
    await database.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--postings", type=int, default=1_000_000)
    given = parser.parse_args()
    asyncio.run(fill(given.url, given.postings))
    asyncio.run(look(given.url))
