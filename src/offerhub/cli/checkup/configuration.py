"""What can be seen without asking anybody: variables, the form of URLs, keys, the permissions of files."""

import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, parse_qs

from offerhub.cli.checkup.report import Report
from offerhub.settings import Settings, SettingsError, load, read_env_file, with_development_key
from offerhub.settings import catalogue as the
from offerhub.settings.sources import DEVELOPMENT_KEY_FILE
from offerhub.settings.variable import FILE_SUFFIX, LOOPBACK_HOSTS, Reader, Variable, split_url

POOLER_PORTS: Final = (6432, 6543)
TLS_MODES: Final = ("require", "verify-ca", "verify-full")
OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def examine_configuration(report: Report, environ: Mapping[str, str], env_file: Path) -> Settings | None:
    """Look at variables and files; the settings, or None when the service would not start with them."""
    told = _variables(report, environ, env_file)
    _files(report, told, env_file)
    _url_forms(report, told)
    try:
        settings = load(with_development_key(told))
    except SettingsError as error:
        for fault in error.faults:
            report.failed("configuration", fault, f"Set it right: {_page(fault)}.")
        return None
    report.ok("configuration", f"{settings.environment}, rail {settings.payments.rail}")
    _tls(report, settings)
    _keys(report, settings, told)
    _webhook_secrets(report, settings)
    _callbacks(report, settings)
    return settings


def _variables(report: Report, environ: Mapping[str, str], env_file: Path) -> dict[str, str]:
    try:
        return {**read_env_file(env_file), **environ}
    except SettingsError as error:
        for fault in error.faults:
            report.failed("env file", fault, "Write each line as NAME=value, with quotes around a value with spaces.")
        return dict(environ)


def _page(fault: str) -> str:
    name = fault.split(maxsplit=1)[0]
    variable = next((one for one in the.ALL if name.removesuffix(FILE_SUFFIX) in (one.name, *one.aliases)), None)
    return "docs/reference/configuration.md" if variable is None else f"{variable.name} is: {variable.purpose[:-1]}"


def _files(report: Report, told: Mapping[str, str], env_file: Path) -> None:
    named = [Path(told[f"{name}{FILE_SUFFIX}"]) for name in _secret_names() if told.get(f"{name}{FILE_SUFFIX}")]
    development = Reader(told).get(the.OFFERHUB_DATA_DIR) / DEVELOPMENT_KEY_FILE
    kept = dict.fromkeys((env_file, development, *named))
    open_to_others = [path for path in kept if path.is_file() and path.stat().st_mode & OTHERS]
    for path in open_to_others:
        mode = stat.S_IMODE(path.stat().st_mode)
        report.failed("file permissions", f"{path} is open to others (mode {mode:04o})", f"chmod 600 {path}")
    if not open_to_others:
        report.ok("file permissions", "nobody else reads the secrets' files")


def _secret_names() -> Iterator[str]:
    for one in the.ALL:
        if one.is_secret:
            yield from (one.name, *one.aliases)


def _url_forms(report: Report, told: Mapping[str, str]) -> None:
    """What parses as an URL and still is not the one that was meant."""
    reader = Reader(told)
    urls: tuple[Variable[Any], ...] = (the.DATABASE_URL, the.DIRECT_URL, the.REDIS_URL)
    for variable in urls:
        text = reader.raw(variable)
        parts = split_url(text) if text else None
        if parts is None:
            if text:
                report.failed(
                    "URL form", f"{variable.name} cannot be taken apart: # or @ in its password?", _encode(variable)
                )
            continue
        if parts.fragment or parts.netloc.count("@") > 1:
            report.failed("URL form", f"{variable.name} has a password with # or @ in it", _encode(variable))
        elif variable is not the.REDIS_URL:
            _postgres_form(report, variable, parts, direct=bool(reader.raw(the.DIRECT_URL)))


def _encode(variable: Variable[Any]) -> str:
    return f"Write special characters of the password in {variable.name} as %23 (#), %40 (@), %2F (/), %3A (:)."


def _postgres_form(report: Report, variable: Variable[Any], parts: SplitResult, *, direct: bool) -> None:
    if len(parts.path) < 2 and "dbname" not in parse_qs(parts.query):
        report.warning(
            "URL form", f"{variable.name} names no database", "End it with /<database>, such as …:5432/offerhub."
        )
    if variable is the.DATABASE_URL and not direct and (parts.port in POOLER_PORTS or "pgbouncer" in parts.query):
        report.warning(
            "URL form",
            "DATABASE_URL leads to a pooler, through which migrations cannot take their lock",
            "Set DIRECT_URL to the database behind it.",
        )


def _tls(report: Report, settings: Settings) -> None:
    database = split_url(settings.storage.database_url.reveal())
    if database is not None and not _is_near(database):
        modes = parse_qs(database.query).get("sslmode", [""])
        if modes[-1] not in TLS_MODES:
            _unencrypted(report, settings, "DATABASE_URL", "Add ?sslmode=require (or verify-full with sslrootcert).")
        else:
            report.ok("TLS", f"DATABASE_URL asks for it (sslmode={modes[-1]})")
    redis = split_url(settings.storage.redis_url.reveal())
    if redis is not None and not _is_near(redis):
        if redis.scheme != "rediss":
            _unencrypted(report, settings, "REDIS_URL", "Write rediss:// where the server offers TLS.")
        else:
            report.ok("TLS", "REDIS_URL asks for it (rediss://)")


def _is_near(parts: SplitResult) -> bool:
    return parts.hostname is None or parts.hostname in LOOPBACK_HOSTS


def _unencrypted(report: Report, settings: Settings, name: str, remedy: str) -> None:
    found = f"{name} leads to another machine without TLS"
    if settings.is_production:
        report.warning("TLS", found, remedy)
    else:
        report.ok("TLS", f"{found}; production should not")


def _keys(report: Report, settings: Settings, told: Mapping[str, str]) -> None:
    reader = Reader(told)
    well = True
    derivable: tuple[Variable[Any], ...] = (the.WALLET_ENCRYPTION_KEY, the.OFFERHUB_JWT_SECRET)
    derived = [one.name for one in derivable if not reader.raw(one)]
    if derived and settings.is_production:
        well = False
        report.warning(
            "keys",
            f"{' and '.join(derived)} derived from the master key: who loses that one loses the wallets",
            "Set them apart, with the derived value first (docs/operating/secrets.md).",
        )
    previous: tuple[Variable[Any], ...] = (
        the.OFFERHUB_MASTER_KEY_PREVIOUS,
        the.WALLET_ENCRYPTION_KEYS_PREVIOUS,
        the.AIRTM_WEBHOOK_SECRET_PREVIOUS,
        the.TRUSTLESS_WEBHOOK_SECRET_PREVIOUS,
    )
    left = [one.name for one in previous if reader.raw(one)]
    if left:
        well = False
        report.warning(
            "keys",
            f"{' and '.join(left)}: a rotation that is not finished",
            "Finish it, then take the old one away (docs/operating/secrets.md).",
        )
    if well:
        report.ok("keys", "set, and no rotation is under way")


def _webhook_secrets(report: Report, settings: Settings) -> None:
    trustless, airtm = settings.trustless_work, settings.airtm
    if not trustless.webhook_secret:
        report.warning(
            "webhook secrets",
            "TRUSTLESS_WEBHOOK_SECRET is not set: Trustless Work's webhooks are refused",
            "offerhub secrets generate TRUSTLESS_WEBHOOK_SECRET, and register it with Trustless Work.",
        )
    elif airtm is not None and airtm.webhook_secret.reveal() == trustless.webhook_secret.reveal():
        report.failed(
            "webhook secrets",
            "AIRTM_WEBHOOK_SECRET and TRUSTLESS_WEBHOOK_SECRET are the same: one provider could sign for the other",
            "Set each to the secret of its own provider.",
        )
    else:
        report.ok("webhook secrets", "set")


def _callbacks(report: Report, settings: Settings) -> None:
    parts = split_url(settings.server.public_base_url)
    if not settings.is_production or parts is None:
        return
    if parts.scheme != "https" or parts.hostname in LOOPBACK_HOSTS:
        report.failed(
            "public address",
            f"PUBLIC_BASE_URL is {settings.server.public_base_url}: providers cannot call back there safely",
            "Set PUBLIC_BASE_URL to the https:// address of this service.",
        )
    else:
        report.ok("public address", settings.server.public_base_url)
