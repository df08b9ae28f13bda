"""The keys of both ends of a VM's SSH, as the inventory keeps them."""

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class GuestKey:
    """How the daemon gets into one VM. `host_key` is empty before the first contact."""

    private_key: str = field(repr=False)
    host_key: str = ""


@dataclass(frozen=True)
class SetupResult:
    """How a VM's setup script ended: `done`, `failed`, or `lost` (a reboot or a full disk ended it)."""

    status: str
    exit_code: int | None
    tail: str
    """The end of what it printed, stripped; still untrusted."""


@dataclass(frozen=True)
class SetupScript:
    """What a VM is to run once at first contact; `result` is None until it ended."""

    script: str = field(repr=False)
    result: SetupResult | None = None


class GuestKeys(Protocol):
    """Written with the VM's row, and gone when the VM is. Never shown, audited, or put into an escrow."""

    async def guest_key(self, item_hash: str) -> GuestKey | None:
        """The keys of a VM; None for one that the daemon has no key of its own for."""
        ...

    async def pin_host_key(self, item_hash: str, host_key: str) -> str:
        """Store the host key of the first contact, until a reinstall. The pinned one: the first that was stored.

        Raises NotFound for a VM without a key of ours.
        """
        ...

    async def new_disk(self, item_hash: str) -> None:
        """Forget the host key and how the script ended: the VM gets a disk with another key, where it has not run."""
        ...

    async def same_disk(self, item_hash: str, host_key: str, result: SetupResult | None) -> None:
        """The VM got no other disk after all: put back what was known, whatever was stored meanwhile."""
        ...

    async def setup_of(self, item_hash: str) -> SetupScript | None:
        """The script that this VM runs at first contact, if it has one."""
        ...

    async def open_setups(self) -> list[str]:
        """The leased VMs whose scripts have no result yet."""
        ...

    async def end_setup(self, item_hash: str, result: SetupResult) -> None:
        """Record how it ended; the first result on a disk stays."""
        ...
