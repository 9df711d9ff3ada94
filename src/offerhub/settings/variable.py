"""What an environment variable is: a name, a kind with its bounds, a default and one sentence.

The list of them is in `catalogue`. A `Reader` reads many variables and collects every fault, so that a wrong
configuration is reported once and whole.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final, Generic, TypeVar
from urllib.parse import SplitResult, urlsplit

from offerhub.kernel.failures import OperatorError
from offerhub.kernel.money import AmountError, parse_amount
from offerhub.providers.airtm.signatures import key_of
from offerhub.providers.stellar.keys import InvalidAddress, decode_key
from offerhub.providers.trustless_work.intents import Deployer

T = TypeVar("T")

LOOPBACK_HOSTS: Final = ("localhost", "127.0.0.1", "::1")
KEY_VERSION_MAX: Final = 32_767
FILE_SUFFIX: Final = "_FILE"


class SettingsError(OperatorError):
    """The configuration is not usable; `faults` has one sentence for each thing that is wrong."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("The configuration is not usable:\n" + "\n".join(f"  - {fault}" for fault in faults))


class Secret(Generic[T]):
    """A value that is never printed. An unset secret is empty, and false."""

    __slots__ = ("_value",)

    def __init__(self, value: T) -> None:
        self._value = value

    def reveal(self) -> T:
        """The value itself, for the one place that needs it."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and bool(self._value == other._value)

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "Secret(…)" if self else "Secret()"

    def __reduce__(self) -> str:
        raise TypeError("a secret is not serialised")


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """A type of value: what people call it, bounds included, and how it is read.

    `parse` raises ValueError with the rule that the text breaks, in words that follow "must be".
    """

    text: str
    parse: Callable[[str], T]


@dataclass(frozen=True, slots=True)
class Variable(Generic[T]):
    """One environment variable."""

    name: str
    group: str
    kind: Kind[T]
    default: T
    purpose: str
    shown_default: str = ""
    """The default in words, where `default` alone does not tell it."""
    aliases: tuple[str, ...] = ()

    @property
    def is_secret(self) -> bool:
        """Is the value kept out of every message?"""
        return isinstance(self.default, Secret)


class Reader:
    """Reads variables from an environment and keeps count of the faults. An empty value is an unset one.

    A secret may also be in a file, whose path is in `<NAME>_FILE`: what container platforms mount.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._files: dict[str, str] = {}
        self.faults: list[str] = []

    def raw(self, variable: Variable[T]) -> str:
        """The text, or "" when unset. The variable's own name goes before its aliases."""
        for name in (variable.name, *variable.aliases):
            text = self._environ.get(name, "").strip()
            path = self._environ.get(f"{name}{FILE_SUFFIX}", "").strip() if variable.is_secret else ""
            if path and text:
                self._fault(f"{name} and {name}{FILE_SUFFIX} must not both be set.")
            elif path:
                text = self._contents(name, path)
            if text:
                return text
        return ""

    def _contents(self, name: str, path: str) -> str:
        if path not in self._files:
            self._files[path] = ""
            try:
                self._files[path] = Path(path).expanduser().read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "it is not a text"
                self._fault(f"{name}{FILE_SUFFIX} must name a file that can be read ({path}: {reason}).")
            else:
                if not self._files[path]:
                    self._fault(f"{name}{FILE_SUFFIX} must name a file that holds the secret ({path} is empty).")
        return self._files[path]

    def _fault(self, text: str) -> None:
        if text not in self.faults:
            self.faults.append(text)

    def get(self, variable: Variable[T], default: T | None = None) -> T:
        """The value; the given default, or else the variable's own, when it is unset or faulty."""
        fallback = variable.default if default is None else default
        text = self.raw(variable)
        if not text:
            return fallback
        try:
            return variable.kind.parse(text)
        except ValueError as error:
            shown = "" if variable.is_secret else f" (it is {text[:80]!r})"
            self.faults.append(f"{self._used_name(variable)} must be {error}{shown}.")
            return fallback

    def require(self, variable: Variable[T], reason: str) -> T:
        """The value; a fault with this reason when it is unset."""
        if not self.raw(variable):
            self.faults.append(f"{variable.name} must be set {reason}.")
        return self.get(variable)

    def _used_name(self, variable: Variable[T]) -> str:
        names = [spelt for name in (variable.name, *variable.aliases) for spelt in (name, f"{name}{FILE_SUFFIX}")]
        return next(name for name in names if self._environ.get(name, "").strip())


# -- kinds ------------------------------------------------------------------------------------------------------


def integer(low: int, high: int) -> Kind[int]:
    """A whole number within bounds."""

    def parse(text: str) -> int:
        if re.fullmatch(r"[0-9]{1,15}", text, re.ASCII) is None or not low <= int(text) <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return int(text)

    return Kind(f"integer, {low} to {high}", parse)


def seconds(low: float, high: float) -> Kind[float]:
    """A span of time in seconds, with or without decimals."""

    def parse(text: str) -> float:
        if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,3})?", text, re.ASCII) is None or not low <= float(text) <= high:
            raise ValueError(f"a number of seconds from {low:g} to {high:g}")
        return float(text)

    return Kind(f"seconds, {low:g} to {high:g}", parse)


def per_name(value: Kind[T], example: str) -> Kind[Mapping[str, T]]:
    """A value for each of some names, such as `sagas=64,webhooks=16`; which names there are is not known here."""

    def parse(text: str) -> Mapping[str, T]:
        found: dict[str, T] = {}
        for entry in text.split(","):
            name, equals, given = (part.strip() for part in entry.partition("="))
            if not equals or re.fullmatch(r"[a-z][a-z-]{0,40}", name) is None or name in found:
                raise ValueError(f"<name>=<value> between commas, each name once, such as {example}")
            try:
                found[name] = value.parse(given)
            except ValueError as error:
                raise ValueError(f"such that the value of {name} is {error}") from error
        return found

    return Kind(f"`name={value.text}`, between commas", parse)


def _rate(text: str) -> tuple[int, float]:
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,4}(?:\.[0-9]{1,3})?)", text, re.ASCII)
    found = (int(match[1]), float(match[2])) if match else (0, 0.0)
    if not (found[0] and 0.1 <= found[1] <= 3600):
        raise ValueError("<jobs>/<seconds>, such as 100/60, with 0.1 to 3600 seconds")
    return found


def choice(values: Mapping[str, str]) -> Kind[str]:
    """One of some words, each with the value it stands for."""

    def parse(text: str) -> str:
        if text.lower() not in values:
            raise ValueError(f"one of {', '.join(values)}")
        return values[text.lower()]

    return Kind(" or ".join(f"`{word}`" for word in values), parse)


def words(*values: str) -> Kind[str]:
    """One of some words that stand for themselves."""
    return choice({value: value for value in values})


def pattern(expression: str, rule: str) -> Kind[str]:
    """A text of a certain shape."""

    def parse(text: str) -> str:
        if re.fullmatch(expression, text, re.ASCII) is None:
            raise ValueError(rule)
        return text

    return Kind(rule, parse)


def url(*schemes: str) -> Kind[str]:
    """An URL with a host, kept without a slash at its end."""
    return Kind("URL", lambda text: _url(text, schemes, host_needed=True))


def secret_url(name: str, *schemes: str, host_needed: bool = True) -> Kind[Secret[str]]:
    """An URL that may have a password in it."""
    return Kind(f"{name} URL", lambda text: Secret(_url(text, schemes, host_needed)))


def secret(text: str = "text", bytes_min: int = 1) -> Kind[Secret[str]]:
    """A secret text of a least length."""

    def parse(value: str) -> Secret[str]:
        if len(value.encode()) < bytes_min:
            raise ValueError(f"at least {bytes_min} bytes long")
        return Secret(value)

    return Kind(text, parse)


def _https_url(text: str) -> str:
    address = _url(text, ("http", "https"), host_needed=True)
    parts = split_url(address)
    if parts is not None and parts.scheme != "https" and parts.hostname not in LOOPBACK_HOSTS:
        raise ValueError("an https:// URL, unless it points to this machine")
    return address


def _url(text: str, schemes: tuple[str, ...], host_needed: bool) -> str:
    parts = split_url(text)
    if parts is None or parts.scheme not in schemes or (host_needed and not parts.hostname):
        raise ValueError("an URL that begins with " + " or ".join(f"{scheme}://" for scheme in schemes))
    return text.rstrip("/")


def split_url(text: str) -> SplitResult | None:
    """The parts of an URL, or None when it is not one."""
    try:
        parts = urlsplit(text)
        _ = parts.port  # which is parsed only now, and may be out of range
    except ValueError:
        return None
    return parts


def _duration(text: str) -> int:
    units = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
    match = re.fullmatch(r"([0-9]{1,9})([smhd]?)", text, re.ASCII)
    value = int(match[1]) * units[match[2]] if match else 0
    if not 60 <= value <= 30 * 86400:
        raise ValueError("a span such as 90s, 15m, 24h or 7d, from a minute to 30 days")
    return value


def _percent(text: str) -> int:
    if re.fullmatch(r"[0-9]{1,2}(\.[0-9]{1,2})?", text, re.ASCII) is None or Decimal(text) > 50:
        raise ValueError("a percentage from 0.00 to 50.00 with at most two decimals")
    return int(Decimal(text) * 100)


def _amount(text: str) -> int:
    try:
        return parse_amount(text)
    except AmountError as error:
        raise ValueError("an amount with two decimals, such as 1000.00") from error


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise ValueError("true or false")
    return text.lower() in ("true", "1")


def _origins(text: str) -> tuple[str, ...]:
    found = tuple(part.strip().rstrip("/") for part in text.split(",") if part.strip())
    for origin in found:
        parts = split_url(origin)
        is_web = parts is not None and parts.scheme in ("http", "https") and bool(parts.netloc)
        if origin != "*" and (parts is None or not is_web or origin != f"{parts.scheme}://{parts.netloc}"):
            raise ValueError("origins such as https://shop.example between commas, or *")
    return found


def _hex_key(text: str) -> Secret[bytes]:
    if re.fullmatch(r"[0-9a-fA-F]{64}", text, re.ASCII) is None:
        raise ValueError("64 hexadecimal characters (openssl rand -hex 32)")
    return Secret(bytes.fromhex(text))


def _hex_keys(text: str) -> Secret[tuple[tuple[int, bytes], ...]]:
    """Keys by version. The rule that is broken names the entry by its place: its text is a secret."""
    found: dict[int, bytes] = {}
    for place, entry in enumerate(text.split(","), 1):
        match = re.fullmatch(r"([0-9]{1,5}):([0-9a-fA-F]{64})", entry.strip(), re.ASCII)
        if match is None or not 1 <= int(match[1]) <= KEY_VERSION_MAX:
            rule = f"<version>:<64 hexadecimal characters> between commas, versions from 1 to {KEY_VERSION_MAX}"
            raise ValueError(f"{rule} (not so: entry {place})")
        if int(match[1]) in found:
            raise ValueError(f"one key for each version (twice: version {int(match[1])})")
        found[int(match[1])] = bytes.fromhex(match[2])
    return Secret(tuple(sorted(found.items())))


def _deployer(text: str) -> Deployer:
    contract, _, code = text.partition(":")
    try:
        kind, _ = decode_key(contract)
    except InvalidAddress:
        kind = ""
    if kind != "C" or (":" in text and re.fullmatch(r"[0-9a-f]{64}", code, re.ASCII) is None):
        raise ValueError("a contract C…, or C…:<the SHA-256 of the code it deploys, in lower-case hexadecimal>")
    return Deployer(contract, code or None)


def _stellar_account(text: str) -> str:
    try:
        kind, _ = decode_key(text)
    except InvalidAddress:
        kind = ""
    if kind != "G":
        raise ValueError("a Stellar address G… of 56 characters")
    return text


def _webhook_secret(text: str) -> Secret[str]:
    placeholders = ("...", "your-webhook-secret", "placeholder", "TODO", "xxx")  # of sample files
    if len(text) < 20 or any(placeholder in text for placeholder in placeholders):
        raise ValueError("the secret that the provider shows, of at least 20 characters, and no placeholder")
    try:
        key_of(text)
    except ValueError as error:
        raise ValueError("the secret that the provider shows: whsec_ and base64") from error
    return Secret(text)


HTTPS_URL: Final = Kind("URL, https unless loopback", _https_url)
DURATION: Final = Kind("span, 1 minute to 30 days", _duration)
AMOUNT: Final = Kind("amount with two decimals", _amount)
BASIS_POINTS: Final = Kind("percentage, 0.00 to 50.00", _percent)
RATE: Final[Kind[tuple[int, float]]] = Kind("jobs/seconds", _rate)
BOOLEAN: Final = Kind("`true` or `false`", _boolean)
ORIGINS: Final = Kind("origins between commas, or `*`", _origins)
FOLDER: Final = Kind("folder", lambda text: Path(text).expanduser())
TEXT: Final = Kind("text", str)
HEX_KEY: Final = Kind("64 hexadecimal characters", _hex_key)
HEX_KEYS: Final = Kind("`version:64 hexadecimal characters`, between commas", _hex_keys)
DEPLOYER: Final[Kind[Deployer | None]] = Kind("contract `C…`, or `C…:code hash`", _deployer)
STELLAR_ACCOUNT: Final = Kind("address `G…`", _stellar_account)
WEBHOOK_SECRET: Final = Kind("`whsec_` and base64, at least 20 characters", _webhook_secret)
