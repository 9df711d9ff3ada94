"""The states of a wallet."""

from offerhub.kernel.states import Told, machine

WALLET = machine(
    "wallet",
    "wallets.status",
    "PENDING",
    {"PENDING": {"READY"}, "READY": set()},
    {
        "PENDING": Told(
            "The address is final, and the account is being set up on the chain. Do not show it for "
            "deposits yet: the chain refuses USDC that is sent to it.",
            "the service, normally within seconds; it tries again for as long as it takes",
            ("wallet.created",),
        ),
        "READY": Told(
            "The account exists and trusts USDC: deposits, escrows and withdrawals work.",
            events=("user.stellar_linked",),
        ),
    },
)
