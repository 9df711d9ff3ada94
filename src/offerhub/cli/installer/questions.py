"""What an installation has to be told, as flags, as variables of the environment, or in answer to a question."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, Final

from cyclopts import Parameter
from rich.console import Console
from rich.prompt import Prompt

from offerhub.cli.environment import CommandError
from offerhub.cli.secrets import GENERATED
from offerhub.settings import catalogue as the
from offerhub.settings.variable import Variable


def _flag(variable: Variable[Any], words: str) -> Parameter:
    return Parameter(env_var=variable.name, help=words, show_env_var=True)


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Answers:
    """The flags of `offerhub init`. What has no flag is taken from its variable, or asked for."""

    environment: Annotated[str | None, _flag(the.NODE_ENV, "development, staging or production.")] = None
    port: Annotated[str | None, _flag(the.PORT, "Where the service listens.")] = None
    public_url: Annotated[str | None, _flag(the.PUBLIC_BASE_URL, "Where the world reaches the service.")] = None
    database_url: Annotated[
        str | None, _flag(the.DATABASE_URL, "PostgreSQL; `embedded` for an own server, outside production.")
    ] = None
    redis_url: Annotated[
        str | None, _flag(the.REDIS_URL, "Redis; `embedded` for an own server, outside production.")
    ] = None
    provider: Annotated[
        str | None, _flag(the.PAYMENT_PROVIDER, "crypto, or airtm: how users pay in and are paid.")
    ] = None
    airtm_api_key: Annotated[str | None, _flag(the.AIRTM_API_KEY, "For airtm.")] = None
    airtm_api_secret: Annotated[str | None, _flag(the.AIRTM_API_SECRET, "For airtm.")] = None
    airtm_webhook_secret: Annotated[str | None, _flag(the.AIRTM_WEBHOOK_SECRET, "For airtm.")] = None
    network: Annotated[str | None, _flag(the.STELLAR_NETWORK, "testnet or mainnet.")] = None
    trustless_api_key: Annotated[str | None, _flag(the.TRUSTLESS_API_KEY, "The key of Trustless Work.")] = None
    trustless_webhook_secret: Annotated[
        str | None, _flag(the.TRUSTLESS_WEBHOOK_SECRET, "Of Trustless Work's webhooks; made when it is not given.")
    ] = None


EMBEDDED: Final = "embedded"
"""The answer that stands for no URL."""


@dataclass(frozen=True, slots=True)
class Question:
    """One thing to be told. `name` is that of the flag; `default` and `asked` look at what is known already."""

    name: str
    variable: Variable[Any]
    words: str
    default: Callable[[Mapping[str, str]], str | None]
    asked: Callable[[Mapping[str, str]], bool] = lambda _: True

    @property
    def flag(self) -> str:
        """How it is given on the command line."""
        return f"--{self.name.replace('_', '-')}"


def _is_production(known: Mapping[str, str]) -> bool:
    return known["NODE_ENV"] == "production"


def _uses_airtm(known: Mapping[str, str]) -> bool:
    return known["PAYMENT_PROVIDER"] == "airtm"


def _server(known: Mapping[str, str]) -> str | None:
    return None if _is_production(known) else EMBEDDED


def _made(known: Mapping[str, str]) -> str:
    return GENERATED["TRUSTLESS_WEBHOOK_SECRET"][0]()


def _trustless_key(known: Mapping[str, str]) -> str | None:
    return None if _is_production(known) else ""


def _public_url(known: Mapping[str, str]) -> str | None:
    return None if _is_production(known) else f"http://localhost:{known['PORT']}"


def _network(known: Mapping[str, str]) -> str:
    return "mainnet" if _is_production(known) else "testnet"


QUESTIONS: Final[tuple[Question, ...]] = (
    Question("environment", the.NODE_ENV, "What kind of installation", lambda _: "development"),
    Question("port", the.PORT, "Port of the service", lambda _: str(the.PORT.default)),
    Question("public_url", the.PUBLIC_BASE_URL, "Where the world reaches it", _public_url),
    Question("database_url", the.DATABASE_URL, "PostgreSQL (postgresql://…)", _server),
    Question("redis_url", the.REDIS_URL, "Redis (redis://… or rediss://…)", _server),
    Question("provider", the.PAYMENT_PROVIDER, "How users pay in: crypto or airtm", lambda _: "crypto"),
    Question("airtm_api_key", the.AIRTM_API_KEY, "Airtm API key", lambda _: None, _uses_airtm),
    Question("airtm_api_secret", the.AIRTM_API_SECRET, "Airtm API secret", lambda _: None, _uses_airtm),
    Question("airtm_webhook_secret", the.AIRTM_WEBHOOK_SECRET, "Airtm webhook secret", lambda _: None, _uses_airtm),
    Question("network", the.STELLAR_NETWORK, "Stellar network: testnet or mainnet", _network),
    Question("trustless_api_key", the.TRUSTLESS_API_KEY, "Trustless Work API key", _trustless_key),
    Question("trustless_webhook_secret", the.TRUSTLESS_WEBHOOK_SECRET, "Its webhook secret (empty: make one)", _made),
)


def gather(given: Answers, *, interactive: bool, console: Console) -> dict[str, str]:
    """Every answer, by variable; what is not used has none. Raises CommandError, naming all that is missing."""
    flags = {field.name: getattr(given, field.name) for field in fields(given)}
    known: dict[str, str] = {}
    missing: list[str] = []
    for question in QUESTIONS:
        if not question.asked(known):
            continue
        text = flags[question.name]
        if text is None and interactive:
            text = _ask(question, known, console)
        elif text is None:
            text = question.default(known)
        if text is None:
            missing.append(f"{question.flag} (or {question.variable.name})")
        else:
            known[question.variable.name] = _checked(question, text)
    if missing:
        raise CommandError(f"these are needed: {', '.join(missing)}.")
    if _uses_airtm(known):
        known["AIRTM_ENV"] = "prod" if _is_production(known) else "sandbox"
    return {name: text for name, text in known.items() if text not in ("", EMBEDDED)}


def _checked(question: Question, text: str) -> str:
    if fault := _fault(question, text):
        raise CommandError(fault)
    return text


def _fault(question: Question, text: str) -> str:
    if not text:
        return ""
    if text == EMBEDDED:
        servers: tuple[Variable[Any], ...] = (the.DATABASE_URL, the.REDIS_URL)
        return "" if question.variable in servers else f"{question.flag} has no embedded server."
    try:
        question.variable.kind.parse(text)
    except ValueError as error:
        shown = "" if question.variable.is_secret else f" (it is {text[:80]!r})"
        return f"{question.flag} must be {error}{shown}."
    return ""


def _ask(question: Question, known: Mapping[str, str], console: Console) -> str:
    """Ask until the answer is one that the service would accept."""
    default = question.default(known)
    hidden = question.variable.is_secret and question.variable not in (the.DATABASE_URL, the.REDIS_URL)
    while True:
        text = Prompt.ask(
            question.words,
            console=console,
            password=hidden,
            default="" if default is None else default,
            show_default=bool(default) and not hidden,
        ).strip()
        if not text and default is None:
            console.print("[yellow]This one is needed.[/yellow]")
        elif fault := _fault(question, text):
            console.print(f"[yellow]{fault}[/yellow]", highlight=False)
        else:
            return text


def is_interactive(*, no_input: bool) -> bool:
    """Is there somebody to ask?"""
    return not no_input and sys.stdin.isatty()
