"""Secrets: how they sign, how they are kept, how they are replaced."""

from datetime import UTC, datetime, timedelta

import pytest

from offerhub.runtime.database import Tx
from offerhub.runtime.vault import Vault
from offerhub.webhook_endpoints import jobs, rotation, signing
from support.receiver import Receiver
from webhook_endpoints.conftest import ACTOR, VAULT, Post

ONE, TWO, THREE = (f"ord_{digit * 32}" for digit in "123")

# providers.md 3.2; the first is the published example.
VECTORS = [
    (
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    ),
]


@pytest.mark.parametrize(("secret", "message", "moment", "body", "signature"), VECTORS)
def test_published_vectors(secret: str, message: str, moment: int, body: bytes, signature: str) -> None:
    made = signing.headers(message, datetime.fromtimestamp(moment, UTC), body, [signing.read(secret)])
    assert made["webhook-signature"] == signature
    assert (made["webhook-id"], made["webhook-timestamp"]) == (message, str(moment))
    assert signing.shown(signing.read(secret)) == secret


async def test_while_a_secret_is_replaced_both_sign(post: Post, receiver: Receiver) -> None:
    endpoint, old = await post.endpoint(receiver)

    async def rotate(overlap: int) -> str:
        async def turn(tx: Tx) -> str:
            return (await post.out.endpoints.rotate_secret(tx, ACTOR, endpoint.id, overlap)).secret

        return await post.database.run(turn)

    new = await rotate(3600)
    await post.happen(ONE, "order.created")
    await post.deliver()
    assert receiver.got[0].is_signed_by(old)
    assert receiver.got[0].is_signed_by(new)
    newest = await rotate(0)  # at once: the one before does not sign any more, nor do those before that
    await post.happen(TWO, "order.created")
    await post.deliver()
    assert [receiver.got[1].is_signed_by(one) for one in (old, new, newest)] == [False, False, True]
    await post.database.run(jobs.purging(30))
    assert await post.value("SELECT count(*) FROM webhook_secrets") == 1
    everything = str(await post.rows("SELECT * FROM webhook_secrets")) + str(
        await post.rows("SELECT * FROM audit_entries")
    )
    for secret in (old, new, newest):
        assert secret not in everything
        assert signing.read(secret).hex() not in everything


async def test_secrets_are_sealed_anew_under_a_new_key(post: Post, receiver: Receiver) -> None:
    """As `offerhub wallets rotate` does it: afterwards the old key is not needed."""
    _, secret = await post.endpoint(receiver)
    await post.endpoint(receiver)
    both = Vault({1: VAULT.keys[1], 2: b"n" * 32}, 2)
    box = signing.SecretBox(both)
    assert await rotation.secrets_by_version(post.database) == {1: 2}
    done = await rotation.rotate(post.database, box, ACTOR, dry=True)
    assert (done.secrets, done.unreadable) == (2, {})
    assert await rotation.secrets_by_version(post.database) == {1: 2}
    done = await rotation.rotate(post.database, box, ACTOR)
    assert (done.secrets, done.unreadable) == (2, {})
    assert await rotation.secrets_by_version(post.database) == {2: 2}
    await post.happen(ONE, "order.created")
    await post.deliver(post.another(vault=Vault({2: b"n" * 32}, 2)))
    assert any(got.is_signed_by(secret) for got in receiver.got)


async def test_a_secret_that_does_not_open_fails_the_attempt_and_nothing_else(post: Post, receiver: Receiver) -> None:
    endpoint, _ = await post.endpoint(receiver)
    await post.happen(ONE, "order.created")
    stranger = Vault({1: b"x" * 32}, 1)
    await post.deliver(post.another(vault=stranger))
    assert receiver.got == []
    assert "not signed" in await post.value("SELECT error FROM webhook_attempts")
    other = Vault({1: b"x" * 32, 2: b"y" * 32}, 2)
    done = await rotation.rotate(post.database, signing.SecretBox(other), ACTOR)
    assert (done.secrets, list(done.unreadable)) == (0, [f"{endpoint.id}:1"])
    post.ahead += timedelta(seconds=7)
    await post.deliver()
    assert len(receiver.got) == 1


async def test_an_address_of_ours_is_not_called_even_if_it_is_stored(post: Post, receiver: Receiver) -> None:
    await post.endpoint(receiver)
    await post.happen(ONE, "order.created")
    await post.deliver(post.another(public=True))
    assert receiver.got == []
    assert "not sent" in await post.value("SELECT error FROM webhook_attempts")
