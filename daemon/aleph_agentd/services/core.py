"""The services that tools and the human's verbs call, joined by the composition root."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..domain.clock import Clock
from ..domain.setup_templates import Templates
from ..ports import Hosts, Inventory, Market, Signer
from .adopter import Adopter
from .adoption import Adoption
from .approvals import Approvals
from .auditor import Auditor
from .expenses import Expenses
from .extender import Extender
from .freezes import Freezes
from .idleness import Idleness
from .inside import Inside
from .jobs import Jobs
from .lookout import Lookout
from .panic import Panic
from .provisioner import Provisioner
from .publisher import Publisher
from .quotes import Planner
from .reaper import Reaper
from .repairs import Repairs
from .restoration import Restoration
from .retention import Retention
from .runway import Runway
from .saver import Saver
from .setup import Setup
from .sweeper import Sweeper
from .teardown import Teardown
from .treasury import Treasury


@dataclass(frozen=True, kw_only=True)
class Services:
    """One instance of each."""

    inventory: Inventory
    signer: Signer
    market: Market
    hosts: Hosts
    clock: Clock
    jobs: Jobs
    auditor: Auditor
    treasury: Treasury
    planner: Planner
    provisioner: Provisioner
    extender: Extender
    teardown: Teardown
    reaper: Reaper
    sweeper: Sweeper
    expenses: Expenses
    runway: Runway
    adopter: Adopter
    adoption: Adoption
    repairs: Repairs
    restoration: Restoration
    retention: Retention
    publisher: Publisher
    approvals: Approvals
    freezes: Freezes
    panic: Panic
    lookout: Lookout
    inside: Inside
    setup: Setup
    templates: Templates
    idleness: Idleness
    saver: Saver
    default_os_image: str
    ssh_pubkey: str
    """The owner's public SSH key; empty when there is none."""
    ssh_pubkey_trouble: str
    """Why there is none, in one line."""
    network: str
    """What to call the network."""
    notices: list[Callable[[], list[str]]] = field(default_factory=list)
    """More of what is wrong, for every answer: whoever watches something adds its words here."""
    figures: dict[str, Callable[[], dict[str, Any]]] = field(default_factory=dict)
    """More of what `status` shows, by name."""
