"""I17: no secret is at rest in clear, nor in events, audit or jobs (canaries through whole runs: tests/hostile)."""

import pytest
import sentences as says
from history import ENDPOINT, MARKETPLACE, SAGA
from stand import Stand

from offerhub.runtime.vault import Vault

REFUSED = {
    "a wallet's key in clear": (
        "UPDATE wallets SET secret_blob = convert_to('S' || repeat('A', 55), 'UTF8')",
        "secret_is_sealed",
    ),
    "a webhook's secret in clear": (
        f"""
        INSERT INTO webhook_secrets (endpoint_id, number, key_version, sealed) VALUES ('{ENDPOINT}', 1, 1,
            'whsec_MfKQ9r8GKYqrTwjU')
        """,
        "secret_is_sealed",
    ),
    "a key instead of its hash": (
        f"""
        INSERT INTO api_keys (id, marketplace_id, name, secret_hash, last4, scopes) VALUES ('key_' ||
            repeat('2', 32), '{MARKETPLACE}', 'k', 'ohk_live_key', 'abcd', '{{}}')
        """,
        "api_keys_secret_hash_check",
    ),
}
"""What is tried, and the guard that refuses it."""

FOUND = {
    "a wallet's key in clear": (
        """
        ALTER TABLE wallets DROP CONSTRAINT secret_is_sealed;
        UPDATE wallets SET secret_blob = convert_to('S' || repeat('A', 55), 'UTF8')
        """,
        {says.NO_SECRET_IN_CLEAR},
    ),
    "a key in a saga": (
        f"""
        UPDATE sagas SET input = json_build_object('key', 'ohk_live_key_' || repeat('a', 32)) WHERE id =
            '{SAGA}'
        """,
        {says.NO_SECRET_IN_CLEAR},
    ),
    "a seed in a job": (
        """
        INSERT INTO outbox (queue, name, payload) VALUES ('sagas', 'drive', json_build_object('seed', 'S' ||
            repeat('A', 55)))
        """,
        {says.NO_SECRET_IN_CLEAR},
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


@pytest.mark.parametrize("secret", [b"S" + b"A" * 55, b"whsec_MfKQ9r8GKYqrTwjU"])
def test_what_is_sealed_tells_nothing_and_is_longer(secret: bytes) -> None:
    blob = Vault({1: b"k" * 32}, 1).seal(secret, bound_to="wallet:x").blob
    assert secret[:8] not in blob
    assert len(blob) == len(secret) + 28
