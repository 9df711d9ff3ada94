"""What the checks of the proof say to hold, by a short name."""

from typing import Final

ASSETS_SUM_TO_ZERO: Final = "Every asset sums to zero over all postings."
TRANSACTIONS_BALANCE: Final = "Every transaction balances and has at least two legs."
NO_POSTING_CROSSES: Final = "No posting crosses from one marketplace into another."
NO_ORPHANS: Final = "Every posting has its account and its transaction, and both have their marketplace."
BALANCES_ARE_SUMS: Final = "Every stored balance is the sum of its postings, and its version their number."
POSTINGS_FOLLOW: Final = "Each posting begins where the one before it ended, without a gap in the versions."
FLOORS_HOLD: Final = "No account with a floor is below zero, nor ever was."
RESERVED_IS_HELD: Final = "A user's reserved balance is the sum of what each reservation still holds."
ORDERS_HOLD: Final = "An order's reservation holds its amount exactly while its state says so."
WITHDRAWALS_HOLD: Final = "A withdrawal's money is on its way exactly while its state says so."
WITHDRAWALS_END_ONCE: Final = (
    "A withdrawal that ended has posted its end exactly once, to the world or back to the user."
)
EVENTS_ARE_NUMBERED: Final = "Each aggregate's events are numbered from one without a gap."
PLACES_HAVE_NO_GAP: Final = (
    "Every event has one place in the log or waits for one; places have no gap and keep each aggregate's order."
)
ENDS_HAVE_EVENTS: Final = "Every closed order, every ended withdrawal and every reversal of one has its event."
LINKS_FOLLOW: Final = "Every link of the audit chain follows from the one before it and from its entry."
DEPOSITS_ARE_POSTED: Final = (
    "Every booked deposit has exactly one posting of its amount, and every such posting its deposit."
)
TOPUPS_ARE_POSTED: Final = (
    "Every top-up that succeeded has credited what arrived exactly once, and nothing else counts as one."
)
REVERSALS_ARE_POSTED: Final = (
    "Every payout that came back has credited once what came back, of a withdrawal that was completed; no other."
)
AIRTM_IS_MOVED_BY_ITS_OWN: Final = "Only top-ups, withdrawals and the operator's rebalancing move what is at Airtm."
TREASURY_DEPOSITS_ARE_POSTED: Final = (
    "Everything paid into the treasury is booked exactly once, and nothing else counts as such."
)
TOPUPS_HAVE_EVENTS: Final = "Every top-up has the event of the state it is in."
SEQUENCES_ARE_USED_ONCE: Final = (
    "No two envelopes share a source account and sequence number, unless the chain proved one absent."
)
STEPS_HAVE_ENVELOPES: Final = "Every settled step on the chain has one envelope that succeeded."
ESCROWS_HOLD: Final = (
    "An order's escrow account holds its amount, or its unpaid milestones', exactly while its contract does."
)
ESCROWS_PAY_OUT: Final = "What went into an escrow came out of it as payouts and fees, and nothing else did."
MILESTONES_ARE_POSTED: Final = (
    "Every milestone that was paid out has posted its amount exactly once, and every such posting its milestone."
)
MILESTONES_ARE_THE_ORDERS: Final = (
    "A multi-release escrow's milestones are its order's, hold its amount, and have ended when it has."
)
SAME_STORY: Final = "Order and escrow tell the same story."
TREASURY_PAID_ITS_OWN: Final = (
    "The treasury paid exactly the orders into escrow that say so, and was paid by no others."
)
CARRIED_ON: Final = (
    "Whatever is on its way outside is carried by a saga that is running, and every such saga has its time."
)
EVENTS_FOLLOW_THE_TABLE: Final = (
    "Each event tells a state that the table of moves reaches from the one told before; nothing follows an end."
)
STATES_ARE_TOLD: Final = "Everything is in a state that its last event allows, and no end was reached untold."
NO_END_IN_DOUBT: Final = "A saga that ended left nothing open: no step in doubt, no envelope, no lane."
ENDS_HAVE_EVIDENCE: Final = "Every step and every envelope that has ended names its evidence."
MOMENTS_RISE: Final = "In each marketplace the moments of the log rise from place to place."
ONE_MARKETPLACE: Final = "What belongs together is of one marketplace: accounts, sagas, milestones, deliveries."
ASSETS_ARE_KNOWN: Final = (
    "Every account is in an asset that is known, and every agreed amount is in whole cents of it."
)
LIMITS_HOLD: Final = (
    "Nothing has outgrown its limit: an order's milestones, a marketplace's endpoints, a delivery's attempts."
)
NO_SECRET_IN_CLEAR: Final = (
    "No secret stands in clear: wallets' keys are sealed, and what the program writes holds none."
)
