"""The order of the pages in the site, as their readers meet them. A page that is not here fails the build."""

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]

HOME: Final = "README"
PAGES: Final = ("*.md", "docs/*.md", "docs/**/*.md", "src/**/*.md")
"""What is a page of the site: all that is written in Markdown for readers."""


TITLES: Final = {
    "README": "The tour",
    "docs/README": "Decisions",
    "docs/guides/deposits": "Deposits",
    "docs/guides/escrow": "Escrow",
    "docs/guides/milestone-payouts": "Milestone payouts",
    "docs/guides/withdrawals": "Withdrawals",
    "docs/guides/policies": "Timers",
    "docs/guides/webhooks": "Webhooks",
    "docs/guides/events": "Event streams",
    "docs/guides/sandbox": "The sandbox",
    "docs/operating/deploy/README": "Deploying",
    "docs/operating/backup": "Backups",
    "docs/operating/secrets": "Secrets",
    "docs/reference/api/README": "HTTP API",
}
"""Short names for the navigation, where a page's own title is a sentence."""


def _under(folder: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{folder}/{name}" for name in names)


def decisions() -> tuple[str, ...]:
    """The decisions, by their numbers."""
    return _under("docs/decisions", *sorted(page.stem for page in (ROOT / "docs" / "decisions").glob("[0-9]*.md")))


def parts() -> tuple[str, ...]:
    """The parts of the program, which describe their states and postings themselves."""
    return tuple(
        sorted(str(page.relative_to(ROOT).with_suffix("")) for page in ROOT.glob("src/offerhub/*/README.md"))
    )


def tree() -> dict[str, dict[str, tuple[str, ...]]]:
    """By page: the lists of pages under it, each under its caption ("" where it has none)."""
    return {
        HOME: {
            "Begin": ("README", *_under("docs", "concepts", "architecture", "operating/guarantees"), "SECURITY"),
            "Guides": _under(
                "docs/guides",
                "first-integration",
                "deposits",
                "escrow",
                "milestone-payouts",
                "disputes",
                "withdrawals",
                "policies",
                "webhooks",
                "events",
                "sandbox",
            ),
            "Operating": _under(
                "docs/operating",
                "deploy/README",
                "first-start",
                "running",
                "upgrades",
                "backup",
                "secrets",
                "metrics",
                "tracing",
                "runbooks",
                "troubleshooting",
                "reconciliation",
                "performance",
                "hostile-edge",
                "faults",
                "simulation",
            ),
            "Reference": _under(
                "docs/reference",
                "api/README",
                "cli",
                "configuration",
                "errors",
                "events",
                "states",
                "jobs",
                "authentication",
                "conventions",
                "idempotency",
                "pagination",
                "rate-limits",
            ),
            "Why it is so": ("docs/README",),
        },
        "docs/operating/deploy/README": {
            "": _under(
                "docs/operating/deploy",
                "docker",
                "kubernetes",
                "systemd",
                "railway",
                "render",
                "fly",
                "aws",
                "gcp",
                "azure",
            )
        },
        "docs/reference/api/README": {
            "": _under(
                "docs/reference/api",
                "access",
                "users",
                "wallet",
                "balance",
                "topups",
                "orders",
                "disputes",
                "withdrawals",
                "policies",
                "events",
                "webhooks",
                "audit",
                "treasury",
                "idempotency",
                "operations",
                "metrics",
                "documentation",
            )
        },
        "docs/architecture": {"": parts()},
        "docs/README": {"": (*decisions(), "docs/decisions/dependencies")},
    }


def named() -> list[str]:
    """Every page that the navigation names, as often as it does."""
    return [page for lists in tree().values() for pages in lists.values() for page in pages]


def written() -> list[str]:
    """Every page that there is."""
    return sorted({str(page.relative_to(ROOT).with_suffix("")) for pattern in PAGES for page in ROOT.glob(pattern)})
