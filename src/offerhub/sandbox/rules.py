"""What of the network's behaviour can be changed while it runs, and is remembered with its ledgers."""

from dataclasses import dataclass
from typing import Final, Literal, get_args

FeeMode = Literal["floor_total", "floor_each", "remainder_to_last"]
FEE_MODES: Final = get_args(FeeMode)
BASE_FEE: Final = 100
"""The network's minimum for one operation, in units of 10^-7 XLM."""


@dataclass(slots=True)
class Rules:
    """How the ledger charges.

    `fee_mode` is how a dispute resolution shares out its fees, as the lines of the contract differ (providers.md
    5.6): `floor_total` takes the fees of the total first and fails when the floored shares are then owed more than
    is left; `floor_each` charges what each part's fee floors to; `remainder_to_last` gives the last part the rest.
    `surge` multiplies the minimum fee for inclusion.
    """

    fee_mode: FeeMode = "floor_total"
    surge: int = 1

    @property
    def base_fee(self) -> int:
        """The minimum for one operation now."""
        return BASE_FEE * self.surge
