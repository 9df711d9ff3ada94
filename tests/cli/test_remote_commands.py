"""The commands that ask a running service, as an operator types them."""

import json
import socket
import stat
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from support.command import offerhub, started
from support.outside import World, eventually
from support.product import MASTER_KEY, Marketplace, running, unique


class Operator:
    """Somebody at a shell, with the key of a marketplace."""

    def __init__(self, folder: Path, shop: Marketplace) -> None:
        self.folder = folder
        self.variables = {"OFFERHUB_API_URL": shop.live.url, "OFFERHUB_API_KEY": shop.credential, "HOME": str(folder)}

    async def types(self, *words: str, **variables: str) -> tuple[int, str]:
        return await offerhub(self.folder, *words, **{**self.variables, **variables})

    async def hears(self, *words: str) -> Any:
        code, printed = await self.types(*words, "--json")
        assert code == 0, printed
        return json.loads(printed)


@pytest.fixture
def operator(tmp_path: Path, shop: Marketplace) -> Operator:
    return Operator(tmp_path, shop)


async def test_a_key_is_created_listed_used_and_revoked(operator: Operator, shop: Marketplace) -> None:
    made = await operator.hears("keys", "create", "--scopes", "read,write", "--name", "from the shell")
    assert made["scopes"] == ["read", "write"]
    assert (await shop.using(made["key"]).send("GET", "/auth/me")).status == 200

    listed = {one["id"]: one for one in await operator.hears("keys", "list")}
    assert listed[made["id"]]["name"] == "from the shell"
    code, printed = await operator.types("keys", "list")
    assert (code, made["id"] in printed, made["key"] in printed) == (0, True, False)

    issued = await operator.hears("keys", "token", made["id"], "--ttl", "60")
    assert (await shop.using(issued["token"]).send("GET", "/auth/me")).status == 200

    code, printed = await operator.types("keys", "revoke", made["id"])
    assert (code, printed.strip()) == (0, f"revoked {made['id']}")

    async def status() -> int:
        return (await shop.using(made["key"]).send("GET", "/auth/me")).status

    await eventually(status, lambda found: found == 401)
    assert "revoked" in (await operator.types("keys", "list"))[1]


async def test_lists_go_on_past_the_first_page(operator: Operator) -> None:
    for number in range(3):
        await operator.hears("keys", "create", "--name", f"paged {number}")
    first = await operator.hears("keys", "list", "--limit", "2")
    assert len(first) == 2
    assert len(await operator.hears("keys", "list", "--limit", "3")) == 3


async def test_what_the_service_refuses_is_told_in_its_words(operator: Operator) -> None:
    code, printed = await operator.types("keys", "revoke", "key_" + "A" * 32)
    assert (code, "(API_KEY_NOT_FOUND)" in printed) == (1, True)
    code, printed = await operator.types("keys", "list", OFFERHUB_API_KEY="ohk_live_nonsense")
    assert (code, "INVALID_API_KEY" in printed or "UNAUTHORIZED" in printed) == (1, True)


async def test_without_a_service_or_a_key_the_command_says_what_to_give(operator: Operator) -> None:
    code, printed = await operator.types("keys", "list", OFFERHUB_API_URL="http://127.0.0.1:9")
    assert (code, "no service answers at http://127.0.0.1:9" in printed) == (2, True)
    code, printed = await operator.types("keys", "list", OFFERHUB_API_KEY="")
    assert (code, "OFFERHUB_API_KEY" in printed) == (2, True)
    code, printed = await operator.types("keys", "list", "--url", "payments.example.com")
    assert (code, "is not a URL" in printed) == (2, True)


async def test_the_configuration_is_kept_for_its_owner_alone(operator: Operator, shop: Marketplace) -> None:
    kept = operator.folder / ".offerhub" / "config.json"
    nothing = {"OFFERHUB_API_URL": "", "OFFERHUB_API_KEY": ""}
    assert (await operator.types("config", "set", **nothing))[0] == 2
    code, _ = await operator.types("config", "set", "--url", shop.live.url, **nothing)
    assert code == 0
    code, _ = await operator.types("config", "set", "--key", shop.credential, **nothing)
    assert code == 0
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    code, printed = await operator.types("config", "show", "--json", **nothing)
    told = json.loads(printed)
    assert (told["apiUrl"], shop.credential in printed) == (shop.live.url, False)
    assert (await operator.types("keys", "list", **nothing))[0] == 0

    kept.write_text("not JSON")
    code, printed = await operator.types("keys", "list", **nothing)
    assert (code, str(kept) in printed) == (2, True)


async def test_users_are_listed_and_shown(tmp_path: Path, shop: Marketplace) -> None:
    shop = await Marketplace.found(shop.live, shop.world, shop.http)  # others count the users of theirs
    operator = Operator(tmp_path, shop)
    made = await shop.done("POST", "/users", {"externalUserId": unique("shown"), "type": "BUYER"}, status=201)
    await shop.done("POST", f"/users/{made['id']}/balance/credit", {"amount": "12.50"})
    listed = await operator.hears("users", "list", "--type", "BUYER", "--limit", "500")
    assert [one["externalUserId"] for one in listed if one["id"] == made["id"]] == [made["externalUserId"]]
    code, printed = await operator.types("users", "show", made["id"])
    assert (code, made["externalUserId"] in printed, "12.50 USD" in printed) == (0, True, True), printed
    code, printed = await operator.types("users", "show", "usr_" + "A" * 32)
    assert (code, "(USER_NOT_FOUND)" in printed) == (1, True)


async def test_maintenance_is_switched_and_shown(tmp_path: Path, shop: Marketplace) -> None:
    operator = Operator(tmp_path, shop.using(MASTER_KEY))
    try:
        told = await operator.hears("maintenance", "enable", "--message", "moving house")
        assert (told["enabled"], told["message"]) == (True, "moving house")
        code, printed = await operator.types("maintenance", "status")
        assert (code, "changes are refused" in printed, "moving house" in printed) == (0, True, True)
    finally:
        code, printed = await operator.types("maintenance", "disable")
    assert (code, printed.strip()) == (0, "changes are accepted")
    assert (await operator.hears("maintenance", "status"))["enabled"] is False


async def made_user(shop: Marketplace) -> str:
    made = await shop.done("POST", "/users", {"externalUserId": unique("tail")}, status=201)
    return str(made["id"])


async def test_events_are_printed_from_any_place_on(operator: Operator, shop: Marketplace) -> None:
    earlier = len(await operator.hears("users", "list", "--limit", "500"))
    users = [
        (await shop.done("POST", "/users", {"externalUserId": unique("tail")}, status=201))["id"] for _ in range(3)
    ]
    words = ("events", "tail", "--type", "user.created", "--json", "--limit")
    code, printed = await operator.types(*words, str(earlier + 3), "--from", "beginning")
    told = [json.loads(line) for line in printed.splitlines()][earlier:]
    assert (code, [event["aggregateId"] for event in told]) == (0, users)
    code, printed = await operator.types(*words, "2", "--from", told[0]["eventId"])
    assert (code, [json.loads(line) for line in printed.splitlines()]) == (0, told[1:])
    code, printed = await operator.types(
        "events", "tail", "--from", told[1]["occurredAt"], "--limit", "1", "--user", users[2]
    )
    assert (code, users[2] in printed, "user.created" in printed) == (0, True, True)
    code, printed = await operator.types("events", "tail", "--from", "nonsense")
    assert (code, "VALIDATION_ERROR" in printed) == (1, True)


async def test_a_tail_goes_on_where_a_service_that_stopped_left_off(
    tmp_path: Path, office_environ: dict[str, str], world: World, http: aiohttp.ClientSession
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    async with running(office_environ, port=port) as first:
        shop = await Marketplace.found(first, world, http)
        made = [await made_user(shop)]
        variables = {"OFFERHUB_API_URL": first.url, "OFFERHUB_API_KEY": shop.credential}
        words = ("events", "tail", "--from", "beginning", "--type", "user.created", "--json", "--limit", "3")
        tail = await started(tmp_path, *words, **variables)
        assert tail.stdout is not None
        assert made[0] in (await tail.stdout.readline()).decode()
    async with running(office_environ, port=port) as second:
        made += [await made_user(shop.on(second)) for _ in range(2)]
        printed, _ = await tail.communicate()
    lines = [json.loads(line) for line in printed.decode().splitlines() if line.startswith("{")]
    assert (tail.returncode, [event["aggregateId"] for event in lines]) == (0, made[1:])
