"""The daemon's hold of its key: claimed once for this process, opened when its passphrase comes."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack

from .adapters.aleph.network import Network
from .adapters.config_sources import state_dir
from .adapters.installation import Taken, only_one
from .adapters.store import SqlInventory
from .domain.errors import Unavailable
from .ports import KeyMissing

log = logging.getLogger(__name__)


class KeyHold:
    """Until the key is held, no create is signed."""

    def __init__(self, network: Network, inventory: SqlInventory, opened: Callable[[], None]) -> None:
        """`opened` is called when a locked key was opened: what waited for it goes on."""
        self._network, self._inventory, self._opened = network, inventory, opened
        self._claimed, self._unclaimed = asyncio.Event(), "aleph-agentd is stopping"
        self._turn, self._held = asyncio.Lock(), AsyncExitStack()

    async def claim(self, stack: AsyncExitStack) -> None:
        """Load the key, and hold its lock until `stack` is left. Raises Taken."""
        stack.push_async_callback(self._held.aclose)
        try:
            await self._network.warm_up()
            if self._network.signer.trouble:
                log.warning("no usable key: %s", self._network.signer.trouble)
            else:
                await self._hold()
            self._unclaimed = ""
        except Taken as taken:
            self._unclaimed = str(taken)
            raise
        finally:
            self._claimed.set()

    async def wait(self) -> None:
        """Return when the key was claimed, or there is none. Raises Unavailable."""
        await self._claimed.wait()
        if self._unclaimed:
            raise Unavailable(
                f"Nothing was created: {self._unclaimed}.", "Send the same call again in a few seconds."
            )

    async def unlock(self, passphrase: str) -> str:
        """Open the encrypted key; its address. Raises KeyMissing."""
        await self._claimed.wait()
        async with self._turn:
            if self._network.signer.trouble:
                await self._network.unlock(passphrase)
                await self._go_on()
        return self._network.signer.address

    async def ask(self) -> None:
        """Let systemd ask for the passphrase of a locked key, once."""
        passphrase = await self._network.ask_for_passphrase()
        if passphrase is not None:
            try:
                await self.unlock(passphrase)
            except KeyMissing as missing:
                log.warning("the key stays locked: %s", missing)

    async def _go_on(self) -> None:
        try:
            await self._hold()
        except Taken as taken:
            self._network.lock()
            raise KeyMissing(str(taken)) from taken
        log.info("the key of %s is open", self._network.signer.address)
        self._opened()

    async def _hold(self) -> None:
        address, directory = self._network.signer.address, state_dir()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._held.enter_context(only_one(directory, "key", address))
        await self._inventory.bind_key(address)
