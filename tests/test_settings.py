"""The configuration: faults all at once, secrets never shown, an existing deployment's variables enough."""

import os
import pickle
import re
import stat
from pathlib import Path

import pytest

from offerhub.providers.stellar.keys import encode_key
from offerhub.settings import (
    Secret,
    Settings,
    SettingsError,
    derive_key,
    describe,
    load,
    read_env_file,
    render_reference,
    with_development_key,
)
from support.routes import all_routes

DEVELOPMENT = {"OFFERHUB_MASTER_KEY": "a-master-key"}

GUIDE = {
    # The list "Required Variables" of the deployment guide, with values of the kinds it describes.
    "NODE_ENV": "production",
    "PORT": "4000",
    "DATABASE_URL": "postgresql://user:dbpassword@db.example:5432/dbname?sslmode=require",
    "REDIS_URL": "redis://:redispassword@redis.example:6379",
    "OFFERHUB_MASTER_KEY": "K7gNU3sdo2rXk0Jm3sYwq9cT5vB8nH1LzQe6uFpDaWs=",
    "AIRTM_ENV": "prod",
    "AIRTM_API_KEY": "airtm-key",
    "AIRTM_API_SECRET": "airtm-secret",
    "AIRTM_WEBHOOK_SECRET": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
    "TRUSTLESS_API_KEY": "trustless.key",
    "TRUSTLESS_WEBHOOK_SECRET": "tw_whsec_something",
    "STELLAR_NETWORK": "mainnet",
    "PUBLIC_BASE_URL": "https://pay.example",
}

SECRETS = ("dbpassword", "redispassword", "K7gNU3sdo", "airtm-key", "airtm-secret", "whsec_C2FV", "trustless.key")

# Computed with hmac alone, by the definition of RFC 5869.
WALLET_VECTOR = "b755339b41c73869d4fb7298c59ba3cc1e2666eec6cdb01d913593e7ef08ac52"
TOKEN_VECTOR = "647f7071ee5ae8b7c9d04fd9b8aa6168c54fed72444081ed71f1a0ec00d91477"


def faults(environ: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(environ)
    return caught.value.faults


def without(environ: dict[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name not in names}


def test_the_deployment_guides_variables_boot_production() -> None:
    settings = load(GUIDE)
    assert settings.is_production
    assert settings.server.host == "0.0.0.0"  # noqa: S104
    assert settings.payments.rail == "airtm"
    assert settings.airtm is not None
    assert settings.airtm.environment == "production"
    assert settings.airtm.topup_callback_base_url == "https://pay.example/api/v1/topups"
    assert settings.stellar.usdc_issuer == "GA5ZSEJYB37JRC5AVCIA5MOP4RHTM335X2KGX3IHOJAPP5RE34K4KZVN"
    assert settings.stellar.passphrase == "Public Global Stellar Network ; September 2015"
    assert settings.stellar.friendbot_url is None
    assert settings.trustless_work.api_url == "https://api.trustlesswork.com"
    assert settings.storage.database_url.reveal() == GUIDE["DATABASE_URL"]
    assert settings.storage.direct_url == settings.storage.database_url
    assert len(settings.keys.wallet_key.reveal()) == 32
    assert len(settings.keys.token_secret.reveal()) >= 32


def test_development_needs_a_master_key_and_nothing_else() -> None:
    settings = load(DEVELOPMENT)
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 4000)
    assert settings.server.public_base_url == "http://localhost:4000"
    assert not settings.storage.database_url
    assert not settings.storage.redis_url
    assert settings.payments.rail == "crypto"
    assert settings.airtm is None
    assert settings.payments.platform_fee_basis_points == 0
    assert settings.payments.platform_user_id is None
    assert settings.stellar.network == "testnet"
    assert settings.stellar.friendbot_url == "https://friendbot.stellar.org"
    assert settings.trustless_work.api_url == "https://dev.api.trustlesswork.com"


def test_all_faults_are_named_at_once() -> None:
    found = faults(
        {
            "NODE_ENV": "production",
            "PORT": "70000",
            "OFFERHUB_MASTER_KEY": "short",
            "PAYMENT_PROVIDER": "cash",
            "PLATFORM_FEE_PERCENT": "1.234",
            "WALLET_ENCRYPTION_KEY": "beef",
            "STELLAR_HORIZON_URL": "http://horizon.example",
            "STELLAR_NETWORK": "futurenet",
            "AIRTM_ENV": "prd",
        }
    )
    named = {
        *("PORT", "OFFERHUB_MASTER_KEY", "PAYMENT_PROVIDER", "PLATFORM_FEE_PERCENT", "WALLET_ENCRYPTION_KEY"),
        *("STELLAR_HORIZON_URL", "STELLAR_NETWORK", "DATABASE_URL", "REDIS_URL"),
        *("TRUSTLESS_API_KEY", "TRUSTLESS_WEBHOOK_SECRET"),
    }
    assert {fault.split()[0] for fault in found} == named
    assert "PORT must be a whole number from 1 to 65535 (it is '70000')." in found


@pytest.mark.parametrize("name", ["DATABASE_URL", "REDIS_URL", "OFFERHUB_MASTER_KEY", "TRUSTLESS_API_KEY"])
def test_production_insists(name: str) -> None:
    assert [fault.split()[0] for fault in faults(without(GUIDE, name))] == [name]
    assert [fault.split()[0] for fault in faults(GUIDE | {name: "  "})] == [name]


def test_secrets_are_never_printed() -> None:
    settings = load(GUIDE)
    shown = f"{settings!r} {settings} {settings.keys!r} {settings.storage.redis_url}"
    assert [secret for secret in SECRETS if secret in shown] == []
    broken = GUIDE | {
        "DATABASE_URL": "mysql://user:dbpassword@db.example/x",
        "REDIS_URL": "redispassword",
        "WALLET_ENCRYPTION_KEY": "K7gNU3sdo",
        "OFFERHUB_JWT_SECRET": "airtm-secret",
        "AIRTM_WEBHOOK_SECRET": "whsec_C2FV",
    }
    text = "\n".join(faults(broken))
    assert len(faults(broken)) == 5
    assert [secret for secret in SECRETS if secret in text] == []
    with pytest.raises(TypeError):
        pickle.dumps(settings.keys.master_key)


def test_every_variable_that_holds_a_secret_is_marked() -> None:
    marked = {one.name for one in describe() if one.secret}
    secret = r"SECRET|_KEYS?(_PREVIOUS)?$|DATABASE_URL|^DIRECT_URL|^REDIS_URL|_DSN$|_HEADERS$"
    named = {one.name for one in describe() if re.search(secret, one.name)}
    assert marked == named


PINNED = {
    "WALLET_ENCRYPTION_KEY": derive_key(GUIDE["OFFERHUB_MASTER_KEY"], "wallet-encryption").hex(),
    "OFFERHUB_JWT_SECRET": "a token secret of 32 bytes or more",
}


def test_a_master_key_is_replaced_without_losing_what_was_encrypted() -> None:
    before = load(GUIDE).keys
    during = load(
        GUIDE
        | {
            **PINNED,
            "OFFERHUB_MASTER_KEY": GUIDE["OFFERHUB_MASTER_KEY"][::-1],
            "OFFERHUB_MASTER_KEY_PREVIOUS": GUIDE["OFFERHUB_MASTER_KEY"],
        }
    ).keys
    assert during.master_key.reveal() == GUIDE["OFFERHUB_MASTER_KEY"][::-1]
    assert during.previous_master_key == before.master_key
    assert (during.wallet_key, during.wallet_key_version) == (before.wallet_key, before.wallet_key_version)
    assert not before.previous_master_key


@pytest.mark.parametrize("missing", [("WALLET_ENCRYPTION_KEY",), ("OFFERHUB_JWT_SECRET",), tuple(PINNED)])
def test_a_master_key_is_not_replaced_while_keys_derive_from_it(missing: tuple[str, ...]) -> None:
    for environ in (GUIDE, DEVELOPMENT):
        overlapping = environ | PINNED | {"OFFERHUB_MASTER_KEY_PREVIOUS": "p" * 32}
        load(overlapping)
        found = faults(without(overlapping, *missing) | {"OFFERHUB_WALLET_KEY_VERSION": "2"})
        assert [fault.split()[0] for fault in found] == list(missing)


def test_the_previous_master_key_obeys_the_same_rules() -> None:
    short = GUIDE | PINNED | {"OFFERHUB_MASTER_KEY_PREVIOUS": "short"}
    assert [fault.split()[0] for fault in faults(short)] == ["OFFERHUB_MASTER_KEY_PREVIOUS"]
    same = GUIDE | PINNED | {"OFFERHUB_MASTER_KEY_PREVIOUS": GUIDE["OFFERHUB_MASTER_KEY"]}
    assert faults(same) == ["OFFERHUB_MASTER_KEY_PREVIOUS must differ from OFFERHUB_MASTER_KEY."]
    assert load(DEVELOPMENT | PINNED | {"OFFERHUB_MASTER_KEY_PREVIOUS": "short"}).keys.previous_master_key


def test_derived_keys_never_change() -> None:
    # Wallets are encrypted under these: other values would lose them.
    master = "K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols="
    assert derive_key(master, "wallet-encryption").hex() == WALLET_VECTOR
    assert derive_key(master, "token-signing").hex() == TOKEN_VECTOR
    settings = load({"OFFERHUB_MASTER_KEY": master})
    assert settings.keys.wallet_key == Secret(bytes.fromhex(WALLET_VECTOR))
    assert settings.keys.token_secret == Secret(bytes.fromhex(TOKEN_VECTOR))


def test_keys_of_their_own_win_over_derived_ones() -> None:
    keys = load(DEVELOPMENT | {"WALLET_ENCRYPTION_KEY": "0f" * 32, "JWT_SECRET": "s" * 32}).keys
    assert keys.wallet_key.reveal() == b"\x0f" * 32
    assert keys.token_secret.reveal() == b"s" * 32
    both = load(DEVELOPMENT | {"OFFERHUB_JWT_SECRET": "t" * 32, "JWT_SECRET": "s" * 32}).keys
    assert both.token_secret.reveal() == b"t" * 32


@pytest.mark.parametrize(
    ("environ", "rail"),
    [
        ({}, "crypto"),
        ({"AIRTM_API_KEY": "k", "AIRTM_API_SECRET": "s", "AIRTM_WEBHOOK_SECRET": "w" * 20}, "airtm"),
        ({"AIRTM_API_KEY": "k", "AIRTM_API_SECRET": "s", "PAYMENT_PROVIDER": "crypto"}, "crypto"),
        ({"AIRTM_API_KEY": "k", "PAYMENT_PROVIDER": "crypto"}, "crypto"),
    ],
)
def test_the_rail_follows_from_what_is_set(environ: dict[str, str], rail: str) -> None:
    assert load(DEVELOPMENT | environ).payments.rail == rail


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"AIRTM_API_KEY": "k"}, "AIRTM_API_SECRET"),
        ({"AIRTM_API_SECRET": "s"}, "AIRTM_API_KEY"),
        ({"AIRTM_API_KEY": "k", "AIRTM_API_SECRET": "s"}, "AIRTM_WEBHOOK_SECRET"),
        (
            {"AIRTM_API_KEY": "k", "AIRTM_API_SECRET": "s", "AIRTM_WEBHOOK_SECRET": "whsec_your-webhook-secret"},
            "AIRTM_WEBHOOK_SECRET",
        ),
        ({"PORT": "4_000"}, "PORT"),
        ({"SAGA_INLINE_WAIT_SECONDS": "25.1"}, "SAGA_INLINE_WAIT_SECONDS"),
        ({"SAGA_INLINE_WAIT_SECONDS": "nan"}, "SAGA_INLINE_WAIT_SECONDS"),
        ({"PLATFORM_FEE_PERCENT": "50.01"}, "PLATFORM_FEE_PERCENT"),
        ({"PLATFORM_FEE_PERCENT": "-1"}, "PLATFORM_FEE_PERCENT"),
        ({"TRUSTLESS_TIMEOUT_MS": "999"}, "TRUSTLESS_TIMEOUT_MS"),
        ({"JWT_EXPIRES_IN": "30"}, "JWT_EXPIRES_IN"),
        ({"CORS_ORIGIN": "shop.example"}, "CORS_ORIGIN"),
        ({"REDIS_URL": "redis://host:99999"}, "REDIS_URL"),
        ({"DISABLE_BLOCKCHAIN_MONITOR": "yes"}, "DISABLE_BLOCKCHAIN_MONITOR"),
        ({"PLATFORM_USER_ID": "bob"}, "PLATFORM_USER_ID"),
        ({"STELLAR_USDC_ISSUER": "G" + "A" * 55}, "STELLAR_USDC_ISSUER"),
        ({"TRUSTLESS_API_URL": "http://trustless.example"}, "TRUSTLESS_API_URL"),
        (
            {"STELLAR_NETWORK_PASSPHRASE": "Public Global Stellar Network ; September 2015"},
            "STELLAR_NETWORK_PASSPHRASE",
        ),
        ({"STELLAR_NETWORK": "mainnet", "STELLAR_NETWORK_PASSPHRASE": "Mine"}, "STELLAR_NETWORK_PASSPHRASE"),
        ({"STELLAR_NETWORK": "mainnet", "STELLAR_FRIENDBOT_URL": "http://localhost:1"}, "STELLAR_FRIENDBOT_URL"),
        (
            {
                "STELLAR_NETWORK": "mainnet",
                "STELLAR_USDC_ISSUER": "GBBD47IF6LWK7P7MDEVSCWR7DPUWV3NY3DTQEVFL4NAT4AQH3ZLLFLA5",
            },
            "STELLAR_USDC_ISSUER",
        ),
    ],
)
def test_one_wrong_value_is_one_fault(environ: dict[str, str], name: str) -> None:
    assert [fault.split()[0] for fault in faults(DEVELOPMENT | environ)] == [name]


def test_values_are_understood() -> None:
    settings = load(
        DEVELOPMENT
        | {
            "PLATFORM_FEE_PERCENT": "2.5",
            "CORS_ORIGIN": "https://shop.example, http://localhost:3000/",
            "REDIS_URL": "rediss://user:pw@cache.example:6380/3",
            "LOG_LEVEL": "WARN",
            "JWT_EXPIRES_IN": "15m",
            "STELLAR_HORIZON_URL": "http://127.0.0.1:9000/",
            "STELLAR_NETWORK_PASSPHRASE": "Sandbox ; 2026",
            "DISABLE_BLOCKCHAIN_MONITOR": "true",
            "RECONCILIATION_ENABLED": "false",
            "RATE_LIMIT_MAX": "0",
            "HOST": "::1",
            "PORT": "4100",
        }
    )
    assert settings.payments.platform_fee_basis_points == 250
    assert settings.server.allowed_origins == ("https://shop.example", "http://localhost:3000")
    assert settings.storage.redis_url.reveal() == "rediss://user:pw@cache.example:6380/3"
    assert settings.server.log_level == "warning"
    assert settings.keys.token_seconds == 900
    assert settings.stellar.horizon_url == "http://127.0.0.1:9000"
    assert settings.stellar.passphrase == "Sandbox ; 2026"
    assert not settings.stellar.monitor_enabled
    assert not settings.stellar.reconciliation_enabled
    assert (settings.server.rate_limit_max, settings.server.host) == (0, "::1")
    assert settings.client.api_url == "http://localhost:4100"


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgresql://u:p%40@h/d?schema=public", "postgresql://u:p%40@h/d"),
        ("postgres://u@h/d?pgbouncer=true&connection_limit=1&sslmode=require", "postgres://u@h/d?sslmode=require"),
        ("postgresql://u@h/d?schema=pay", "postgresql://u@h/d?search_path=pay"),
        ("postgresql:///d?host=/run/postgresql", "postgresql:///d?host=%2Frun%2Fpostgresql"),
    ],
)
def test_what_only_prisma_understands_is_dropped(given: str, used: str) -> None:
    assert load(DEVELOPMENT | {"DATABASE_URL": given}).storage.database_url.reveal() == used


@pytest.mark.parametrize(
    ("environ", "limits"),
    [
        ({}, (10, 5)),
        ({"TOPUP_LIMIT_PER_MINUTE": "3", "WITHDRAWAL_LIMIT_PER_MINUTE": "0"}, (3, None)),
        ({"TOPUP_LIMIT_PER_MINUTE": "3", "RATE_LIMIT_MAX": "0"}, (None, None)),
    ],
)
def test_limits_for_one_user_are_off_at_zero(environ: dict[str, str], limits: tuple[int | None, int | None]) -> None:
    found = load(DEVELOPMENT | environ).server.user_limits_per_minute
    assert (found.get("TOPUP_LIMIT_PER_MINUTE"), found.get("WITHDRAWAL_LIMIT_PER_MINUTE")) == limits
    assert len(found) == sum(limit is not None for limit in limits)


def test_a_route_with_a_limit_of_its_own_names_its_setting() -> None:
    configured = load(DEVELOPMENT).server.user_limits_per_minute
    limited = {route.name: route.limit for route in all_routes() if route.limit is not None}
    assert set(limited) == {"topups.create", "withdrawals.create"}
    assert {limit.variable: limit.per_minute for limit in limited.values()} == configured


def test_embedded_servers_fill_the_gaps() -> None:
    settings: Settings = load(DEVELOPMENT | {"REDIS_URL": "redis://mine:1"})
    filled = settings.with_services(database_url="postgresql://embedded/d")
    assert filled.storage.database_url.reveal() == "postgresql://embedded/d"
    assert filled.storage.direct_url.reveal() == "postgresql://embedded/d"
    assert filled.storage.redis_url.reveal() == "redis://mine:1"


def test_the_development_key_is_made_once_and_private(tmp_path: Path) -> None:
    environ = {"OFFERHUB_DATA_DIR": str(tmp_path / "data")}
    first = with_development_key(environ)
    assert with_development_key(environ) == first
    assert load(first).keys.master_key.reveal().startswith("ohk_master_")
    assert stat.S_IMODE((tmp_path / "data/master.key").stat().st_mode) == 0o600
    assert os.listdir(tmp_path / "data") == ["master.key"]  # noqa: PTH208
    other = with_development_key({"OFFERHUB_DATA_DIR": str(tmp_path / "other")})
    assert other["OFFERHUB_MASTER_KEY"] != first["OFFERHUB_MASTER_KEY"]


def test_no_key_is_made_in_production_or_beside_a_given_one(tmp_path: Path) -> None:
    lost = {"OFFERHUB_MASTER_KEY_FILE": str(tmp_path / "nowhere")}
    for environ in ({"NODE_ENV": "production"}, {"OFFERHUB_MASTER_KEY": "given"}, lost):
        environ |= {"OFFERHUB_DATA_DIR": str(tmp_path / "data")}
        assert with_development_key(environ) == environ
    assert not (tmp_path / "data").exists()


def test_an_env_file_is_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "# a comment\n\nPORT=4100\n export HOST = '192.0.2.1' # why not\nA=\"x # y\"\nB=a#b # c\nC=\nD=postgres://u:p@h/d?x=1\n"
    )
    assert read_env_file(tmp_path / ".env") == {
        "PORT": "4100",
        "HOST": "192.0.2.1",
        "A": "x # y",
        "B": "a#b",
        "C": "",
        "D": "postgres://u:p@h/d?x=1",
    }
    assert read_env_file(tmp_path / "absent") == {}


def test_an_unreadable_line_of_an_env_file_is_named_without_its_text(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=1\nsecret stuff\nA='open\n")
    with pytest.raises(SettingsError) as caught:
        read_env_file(tmp_path / ".env")
    assert caught.value.faults == [".env, line 2: must be NAME=value.", ".env, line 3: must be NAME=value."]


def test_the_reference_page_is_the_catalogue() -> None:
    page = Path(__file__).parents[1] / "docs/reference/configuration.md"
    assert page.read_text(encoding="utf-8") == render_reference(), "run `make docs`"


def in_files(folder: Path, environ: dict[str, str]) -> dict[str, str]:
    """The same configuration, with every secret in a file."""
    secrets = {one.name for one in describe() if one.secret}
    found = {}
    for name, value in environ.items():
        if name in secrets:
            (folder / name).write_text(f"{value}\n")
            found[f"{name}_FILE"] = str(folder / name)
        else:
            found[name] = value
    return found


def test_every_secret_may_be_in_a_file(tmp_path: Path) -> None:
    everything = GUIDE | {
        "DIRECT_URL": GUIDE["DATABASE_URL"].replace("db.", "direct."),
        "OFFERHUB_MASTER_KEY_PREVIOUS": "0123456789abcdef" * 3,
        "OFFERHUB_JWT_SECRET": "0123456789abcdefghij" * 2,
        "WALLET_ENCRYPTION_KEY": "0123456789abcdef" * 4,
        "WALLET_ENCRYPTION_KEYS_PREVIOUS": f"7:{'0a' * 32}",
        "AIRTM_WEBHOOK_SECRET_PREVIOUS": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oE",
        "TRUSTLESS_WEBHOOK_SECRET_PREVIOUS": "tw_whsec_before",
        "OFFERHUB_API_KEY": "ohk_live_something",
        "SENTRY_DSN": "https://public@errors.example/7",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector.example",
        "OTEL_EXPORTER_OTLP_HEADERS": "x-key=something",
    }
    assert {one.name for one in describe() if one.secret} <= set(everything), "a secret more: add it here"
    assert load(in_files(tmp_path, everything)) == load(everything)


def test_an_alias_may_be_in_a_file_too(tmp_path: Path) -> None:
    (tmp_path / "jwt").write_text("0123456789abcdefghij" * 2)
    keys = load(DEVELOPMENT | {"JWT_SECRET_FILE": str(tmp_path / "jwt")}).keys
    assert keys.token_secret.reveal() == b"0123456789abcdefghij" * 2


def test_a_file_of_a_secret_must_hold_one(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "short").write_text("too short a secret")
    for name, words in {
        "nowhere": "must name a file that can be read",
        "empty": "is empty",
        "binary": "it is not a text",
    }.items():
        found = faults(
            GUIDE | {"TRUSTLESS_WEBHOOK_SECRET": "", "TRUSTLESS_WEBHOOK_SECRET_FILE": str(tmp_path / name)}
        )
        assert words in found[0]
        assert str(tmp_path / name) in found[0]
    both = faults(GUIDE | {"TRUSTLESS_API_KEY_FILE": str(tmp_path / "short")})
    assert both == ["TRUSTLESS_API_KEY and TRUSTLESS_API_KEY_FILE must not both be set."]
    (fault,) = faults(DEVELOPMENT | {"OFFERHUB_JWT_SECRET_FILE": str(tmp_path / "short")})
    assert fault == "OFFERHUB_JWT_SECRET_FILE must be at least 32 bytes long."


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OFFERHUB_MASTER_KEY", "short"),
        ("OFFERHUB_MASTER_KEY", "abcd" * 10),
        ("OFFERHUB_MASTER_KEY", "K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols="),
        ("OFFERHUB_MASTER_KEY", "your-secure-master-key-of-32-characters"),
        ("WALLET_ENCRYPTION_KEY", "00" * 32),
        ("TRUSTLESS_WEBHOOK_SECRET", ""),
        ("TRUSTLESS_WEBHOOK_SECRET", "your-trustless-webhook-secret"),
        ("TRUSTLESS_API_KEY", "your-trustless-api-key"),
        ("AIRTM_WEBHOOK_SECRET", ""),
        ("AIRTM_API_SECRET", "your-airtm-api-secret"),
        ("DATABASE_URL", ""),
        ("REDIS_URL", ""),
        ("ALLOWED_ORIGINS", "*"),
        ("ALLOWED_ORIGINS", "https://shop.example, *"),
    ],
)
def test_production_refuses(name: str, value: str) -> None:
    """A key that is weak or known, a secret that is missing or a sample's, an embedded server, any origin."""
    found = faults(GUIDE | {name: value})
    assert [fault.split()[0] for fault in found] == [name]


OLD_KEY, NEW_KEY = "aa" * 32, "bb" * 32
KEYS = {"WALLET_ENCRYPTION_KEY": NEW_KEY, "OFFERHUB_WALLET_KEY_VERSION": "3"}


def test_previous_wallet_keys_stand_beside_the_current_one() -> None:
    keys = load(DEVELOPMENT | KEYS | {"WALLET_ENCRYPTION_KEYS_PREVIOUS": f"1:{OLD_KEY}, 2:{'cc' * 32}"}).keys
    assert keys.wallet_keys == {1: b"\xaa" * 32, 2: b"\xcc" * 32, 3: b"\xbb" * 32}
    assert load(DEVELOPMENT).keys.wallet_keys.keys() == {1}


def test_a_derived_key_may_be_the_current_one_or_a_previous_one() -> None:
    master = {"OFFERHUB_MASTER_KEY": GUIDE["OFFERHUB_MASTER_KEY"]}
    derived = derive_key(GUIDE["OFFERHUB_MASTER_KEY"], "wallet-encryption")
    current = load(
        master | {"OFFERHUB_WALLET_KEY_VERSION": "2", "WALLET_ENCRYPTION_KEYS_PREVIOUS": f"1:{OLD_KEY}"}
    ).keys
    assert current.wallet_keys == {1: b"\xaa" * 32, 2: derived}
    previous = load(master | KEYS | {"WALLET_ENCRYPTION_KEYS_PREVIOUS": f"1:{derived.hex()}"}).keys
    assert previous.wallet_keys == {1: derived, 3: b"\xbb" * 32}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (OLD_KEY, "not so: entry 1"),
        (f"1:{OLD_KEY},2:beef", "not so: entry 2"),
        (f"0:{OLD_KEY}", "versions from 1 to 32767"),
        (f"32768:{OLD_KEY}", "not so: entry 1"),
        (f"1:{OLD_KEY},", "not so: entry 2"),
        (f"1:{OLD_KEY},1:{'cc' * 32}", "twice: version 1"),
        (f"3:{OLD_KEY}", "must not contain version 3"),
        (f"1:{NEW_KEY}", "must not contain the current key"),
    ],
)
def test_faulty_previous_wallet_keys_are_named_and_not_shown(text: str, words: str) -> None:
    found = faults(DEVELOPMENT | KEYS | {"WALLET_ENCRYPTION_KEYS_PREVIOUS": text, "PORT": "0"})
    assert [fault.split()[0] for fault in found] == ["PORT", "WALLET_ENCRYPTION_KEYS_PREVIOUS"]
    assert words in found[1]
    assert not any(key in found[1] for key in (OLD_KEY, NEW_KEY, "cc" * 32, "beef"))


def test_previous_wallet_keys_are_never_printed() -> None:
    settings = load(DEVELOPMENT | KEYS | {"WALLET_ENCRYPTION_KEYS_PREVIOUS": f"1:{OLD_KEY}"})
    for shown in (repr(settings), str(settings.keys), repr(settings.keys.previous_wallet_keys)):
        assert OLD_KEY not in shown
        assert repr(b"\xaa") not in shown


def test_the_deployer_may_be_pinned() -> None:
    contract = encode_key("C", bytes(range(32)))
    deployer = load(DEVELOPMENT | {"TRUSTLESS_DEPLOYER": contract}).trustless_work.deployer
    assert deployer is not None
    assert (deployer.contract, deployer.code) == (contract, None)
    deployer = load(DEVELOPMENT | {"TRUSTLESS_DEPLOYER": f"{contract}:{'0f' * 32}"}).trustless_work.deployer
    assert deployer is not None
    assert deployer.code == "0f" * 32
    assert load(DEVELOPMENT).trustless_work.deployer is None
    for text in (contract[:-1], f"{contract}:", f"{contract}:beef", encode_key("G", bytes(32))):
        assert [fault.split()[0] for fault in faults(DEVELOPMENT | {"TRUSTLESS_DEPLOYER": text})] == [
            "TRUSTLESS_DEPLOYER"
        ]


def test_traces_are_off_until_a_collector_is_named() -> None:
    named = {"OTEL_SERVICE_NAME": "x", "OTEL_TRACES_SAMPLER": "always_on"}
    assert load(DEVELOPMENT | named).traces is None
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318/"}
    assert load(DEVELOPMENT | endpoint | {"OTEL_SDK_DISABLED": "true"}).traces is None
    traces = load(DEVELOPMENT | endpoint).traces
    assert traces is not None
    assert traces.endpoint == "http://collector:4318"
    assert traces.resource == {"deployment.environment.name": "development", "service.name": "offerhub"}


def test_traces_are_told_as_opentelemetry_tells_them() -> None:
    told = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
        "OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Basic%20abc, x-tenant=7",
        "OTEL_RESOURCE_ATTRIBUTES": "service.name=ours,team=pay%2Cments,",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.25",
    }
    traces = load(DEVELOPMENT | told).traces
    assert traces is not None
    assert traces.headers.reveal() == {"Authorization": "Basic abc", "x-tenant": "7"}
    assert (traces.resource["service.name"], traces.resource["team"]) == ("ours", "pay,ments")
    assert (traces.sampler, traces.ratio) == ("parentbased_traceidratio", 0.25)
    named = load(DEVELOPMENT | told | {"OTEL_SERVICE_NAME": "payments"}).traces
    assert named is not None
    assert named.resource["service.name"] == "payments"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "secret"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%0D%0Ab"),
        ("OTEL_RESOURCE_ATTRIBUTES", "team"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.1"),
    ],
)
def test_what_traces_cannot_be_told_is_refused(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=name):
        load(DEVELOPMENT | {name: text})
