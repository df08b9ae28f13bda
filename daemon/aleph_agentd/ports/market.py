"""Prices, balances and CRNs."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from ..domain.gpu import Tiers
from ..domain.model import Crn, Expense, SignedMessage


@dataclass(frozen=True)
class Price:
    """The live price of one compute unit."""

    cu_rate: Decimal
    """Units per second."""
    gpus: Tiers = field(default_factory=dict)
    """What VMs with a GPU come in and cost."""


@dataclass(frozen=True)
class CrnList:
    """The CRNs of the network, and how old the list is."""

    crns: tuple[Crn, ...]
    age_s: float


class Market(Protocol):
    """Prices, balances and CRNs. Answers may be as old as: balance 5 s, price 10 min, CRN list 60 s."""

    async def balance(self, payer: str) -> int:
        """The payer's credits, in units."""
        ...

    async def expenses(self, payer: str, since: datetime) -> list[Expense]:
        """Every expense of the payer that was booked since then; a partial answer raises. The newest may be missing."""
        ...

    async def rates(self, payer: str) -> dict[str, Decimal]:
        """What each un-forgotten VM of the payer costs, in units per second; a partial answer raises."""
        ...

    async def burn(self, payer: str) -> Decimal:
        """What all un-forgotten VMs of the payer cost, whoever made them, in units per second; up to 5 s old."""
        ...

    async def price(self) -> Price:
        """The live price."""
        ...

    async def estimate(self, message: SignedMessage) -> Decimal:
        """What a CCN says this very INSTANCE will cost, in units per second."""
        ...

    async def crns(self) -> CrnList:
        """The CRNs; hostile text in it is already cut and stripped (rules.md 18)."""
        ...

    def images(self) -> dict[str, str]:
        """OS image names to rootfs hashes."""
        ...
