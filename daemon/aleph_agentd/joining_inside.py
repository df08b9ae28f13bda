"""What acts in the VMs, and what opens them: a part of `joining`."""

from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from .adapters.config import Settings
from .adapters.saved_dir import SavedDir
from .adapters.ssh.guests import SshGuests
from .domain.clock import Clock
from .ports import Hosts, Inventory, Messages, Signer
from .services.auditor import Auditor
from .services.forwarding import Forwarding
from .services.idleness import Idleness
from .services.inside import Inside
from .services.jobs import Jobs
from .services.port_closer import PortCloser
from .services.saver import Saver, SaveSettings
from .services.setup import Setup
from .services.teardown import Teardown
from .services.treasury import Treasury

_MIB = 1024 * 1024


def saving(settings: Settings) -> SaveSettings:
    """What the owner lets be saved."""
    most, together = (settings.save_mib or 0) * _MIB, settings.save_total_mib * _MIB
    return SaveSettings(most, together, timedelta(days=settings.save_days))


def inside(
    inventory: Inventory,
    jobs: Jobs,
    auditor: Auditor,
    teardown: Teardown,
    clock: Clock,
    saved_dir: Path,
    saving: SaveSettings,
) -> dict[str, Any]:
    """What callers ask for in them, and what the daemon does there by itself."""
    guests = SshGuests()
    idleness = Idleness(inventory, guests, teardown, clock, jobs, auditor)
    saver = Saver(inventory, guests, SavedDir(saved_dir), clock, jobs, saving, auditor)
    idleness.before_end = partial(saver.save, early=True)
    return {
        "inside": Inside(guests, inventory),
        "setup": Setup(inventory, guests, jobs, auditor),
        "idleness": idleness,
        "saver": saver,
    }


def opened(
    inventory: Inventory,
    messages: Messages,
    hosts: Hosts,
    signer: Signer,
    clock: Clock,
    jobs: Jobs,
    treasury: Treasury,
) -> dict[str, Any]:
    """What lets the internet in, and keeps it out of what has ended."""
    forwarding = Forwarding(inventory, messages, hosts, signer, clock, jobs)
    return {
        "forwarding": forwarding,
        "port_closer": PortCloser(inventory, messages, clock, treasury, forwarding),
    }
