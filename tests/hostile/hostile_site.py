"""An installation as it runs anywhere: `offerhub serve` and `offerhub worker`, full of canaries."""

from dataclasses import dataclass
from typing import Final

from support.canaries import Canaries
from support.fleet import Fleet, Member
from support.product import Marketplace, Running

HEAD_SECONDS: Final = 1.0
BODY_SECONDS: Final = 1.0


@dataclass(frozen=True)
class Site:
    """The installation: its processes, the variables that they were started with, and every secret of it."""

    fleet: Fleet
    environ: dict[str, str]
    canaries: Canaries
    live: Running
    shop: Marketplace
    """A marketplace whose key may do everything in it."""

    @property
    def api(self) -> Member:
        """The process that listens."""
        return self.fleet.apis[0]

    def log(self) -> str:
        """Everything that the processes have printed so far."""
        return "".join(line for member in self.fleet.members for line in member.printed)
