"""A wallet whose set-up was refused is not lost: it is begun again until it is ready."""

from faults.processes.world import World, perform, process
from offerhub.kernel.ids import new_id
from offerhub.users.service import Users
from offerhub.wallets.service import require


async def test_a_refused_setup_is_begun_again(world: World) -> None:
    run = world.database.run
    async with process(world.settings) as alive:
        users = Users(alive.product.wallets)
        user_id = (await perform(world.database, users.create(world.actor, new_id("req"))))["id"]
        wallet = await run(lambda tx: require(tx, world.actor.marketplace_id, user_id))
        # As after a treasury that had too little XLM, a while ago.
        await world.database.script(
            f"""
            SET session_replication_role = replica;
            UPDATE sagas SET status = 'REFUSED', refusal = '{{"code": "STELLAR_NETWORK_ERROR"}}'
            WHERE subject_id = '{wallet.id}';
            UPDATE wallets SET updated_at = now() - interval '1 minute' WHERE id = '{wallet.id}';
            SET session_replication_role = origin
            """
        )
        assert await run(alive.product.wallets.begin_again) == 1
        assert await run(alive.product.wallets.begin_again) == 0, "a saga works on it now"
        await world.settle(alive)
    assert (await run(lambda tx: require(tx, world.actor.marketplace_id, user_id))).status == "READY"
