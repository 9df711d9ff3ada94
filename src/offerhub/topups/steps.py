"""What the saga of a new top-up does: look at the payer, then ask Airtm for a payin with the top-up's id as its code.

Airtm takes a code once. A call whose fate is unknown is read back by its code, and made again only under the same
one: there is never a second payin. While Airtm cannot tell, the top-up stays TOPUP_CREATED, for as long as it takes.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from offerhub.errors import Refusal
from offerhub.kernel.money import Units
from offerhub.providers.airtm import model as said
from offerhub.providers.airtm.client import Airtm
from offerhub.runtime.database import Tx
from offerhub.sagas.engine import Engine
from offerhub.sagas.model import Facts, Outcome, Refused, Saga, Settled, Step, Unavailable, Unknown
from offerhub.topups import settlement, store
from offerhub.topups.service import CREATE
from offerhub.users.steps import FindAccount


@dataclass(frozen=True, slots=True)
class CreatePayin:
    """Ask for the payin, or find the one that an earlier call has made."""

    airtm: Airtm
    engine: Engine
    name: str = "create_payin"
    is_look: bool = False

    async def attempt(self, saga: Saga, position: int) -> Outcome:
        """Settled with the payin; refused only when there certainly is none."""
        values = saga.input
        answer = await self.airtm.create_payin(
            code=saga.subject_id,
            amount=Units(values["amount"]),
            description=values["description"],
            confirmation_uri=values["returnUri"],
            cancel_uri=values["returnUri"],
        )
        match answer:
            case said.Done(payin):
                return Settled(asdict(payin))
            case said.Unavailable(refusal):
                return Unavailable(refusal, patient=await self._may_exist(saga, position))
            case said.Rejected(refusal) if not await self._may_exist(saga, position):
                return Refused(refusal)
        try:
            found = await self.airtm.payin_by_code(saga.subject_id)
        except Refusal as error:
            return Unknown(f"{_reason(answer)}; reading back: {error}")
        if found is not None:
            return Settled(asdict(found))
        return Refused(answer.refusal) if isinstance(answer, said.Rejected) else Unknown(_reason(answer))

    async def _may_exist(self, saga: Saga, position: int) -> bool:
        """A call that had no effect is the last word only if no call before it can have had one."""
        return await self.engine.tried_before(saga.id, position)

    async def settle(self, tx: Tx, saga: Saga, facts: Facts) -> None:
        """Nothing to write before the plan's end."""


def _reason(answer: said.Exists | said.Rejected | said.Unknown) -> str:
    match answer:
        case said.Exists():
            return "Airtm has a payin with this code, or had"
        case said.Rejected(refusal):
            return str(refusal)
        case said.Unknown(reason):
            return reason


class CreateTopUp:
    """Plan `topup.create`: input `{email, airtmUserId, amount, description, returnUri}`, amount in units."""

    kind = CREATE

    def __init__(self, airtm: Airtm, engine: Engine) -> None:
        self._airtm = airtm
        self._engine = engine

    def steps(self, saga: Saga) -> Sequence[Step]:
        """A look at the payer, then the payin."""
        return (FindAccount(self._airtm), CreatePayin(self._airtm, self._engine))

    async def succeed(self, tx: Tx, saga: Saga, facts: Sequence[Facts]) -> None:
        """There is a payin: the top-up goes where it stands."""
        topup = await store.lock(tx, saga.subject_id)
        await settlement.apply(tx, saga.actor, topup, said.Payin(**facts[-1]))

    async def refuse(self, tx: Tx, saga: Saga, refusal: Refusal) -> None:
        """There certainly is no payin."""
        topup = await store.lock(tx, saga.subject_id)
        await settlement.refuse(tx, saga.actor, topup, refusal)
