"""What production refuses besides what is missing: weak keys, values of sample files, pages of any origin."""

from collections.abc import Iterator
from typing import Final

from offerhub.settings import catalogue as the
from offerhub.settings.variable import Reader

MASTER_KEY_CHARACTERS_MIN: Final = 32
DISTINCT_CHARACTERS_MIN: Final = 10
"""A random key of 32 hexadecimal characters hardly ever has fewer; a word that is repeated has."""
DISTINCT_BYTES_MIN: Final = 8
WALLET_KEY_CHARACTERS: Final = 64

PUBLISHED: Final = frozenset({"K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols="})
"""Keys that stand in documentation that everybody can read."""
SAMPLES: Final = ("your-", "your_", "changeme", "change-me", "placeholder", "<", "…", "...")
"""How values of sample files begin."""


def refused(reader: Reader) -> Iterator[str]:
    """The faults that count in production only, each with its remedy."""
    key, name = reader.raw(the.OFFERHUB_MASTER_KEY), the.OFFERHUB_MASTER_KEY.name
    if key and (rule := _rule_broken(key)):
        yield f"{name} must {rule} in production (offerhub secrets generate {name})."
    # A key that is being replaced may be the very reason for it, unless it is so short that it can be guessed.
    previous = reader.raw(the.OFFERHUB_MASTER_KEY_PREVIOUS)
    if previous and len(previous) < MASTER_KEY_CHARACTERS_MIN:
        yield (
            f"{the.OFFERHUB_MASTER_KEY_PREVIOUS.name} must be at least {MASTER_KEY_CHARACTERS_MIN} characters long "
            "in production: leave it out, and give everybody the new key."
        )
    wallet_key, name = reader.raw(the.WALLET_ENCRYPTION_KEY).lower(), the.WALLET_ENCRYPTION_KEY.name
    distinct = {wallet_key[place : place + 2] for place in range(0, len(wallet_key), 2)}
    # One of another length has been told of already: it is no key at all.
    if len(wallet_key) == WALLET_KEY_CHARACTERS and len(distinct) < DISTINCT_BYTES_MIN:
        yield f"{name} must be random in production (offerhub secrets generate {name})."
    for secret in the.ALL:
        text = reader.raw(secret) if secret.is_secret else ""
        if text.lower().startswith(SAMPLES):
            yield f"{secret.name} must not be the text of a sample file: set the real value."
    if "*" in reader.raw(the.ALLOWED_ORIGINS).replace(",", " ").split():
        yield (
            f"{the.ALLOWED_ORIGINS.name} must not be * in production: name the origins of your own pages, such as "
            "https://shop.example."
        )


def _rule_broken(key: str) -> str:
    """The rule that a master key breaks, in words that follow "must"; "" for a good one."""
    if len(key) < MASTER_KEY_CHARACTERS_MIN:
        return f"be at least {MASTER_KEY_CHARACTERS_MIN} characters long"
    if key in PUBLISHED:
        return "not be the example of the documentation"
    if len(set(key)) < DISTINCT_CHARACTERS_MIN:
        return "be random"
    return ""
