"""The daemon's hold of its key: claimed once for this process, opened when its passphrase comes."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack

from .adapters.aleph.network import Network
from .adapters.config_sources import state_dir
from .adapters.installation import Taken, only_one
from .adapters.store import SqlInventory
from .domain.errors import Unavailable
from .ports import KeyMissing

log = logging.getLogger(__name__)


class KeyHold:
    """Until the key is held, nothing is signed with it: also one whose file was put right long after the start."""

    def __init__(self, network: Network, inventory: SqlInventory, opened: Callable[[], None]) -> None:
        """`opened` is called when a key was opened after the start: what waited for it goes on."""
        self._network, self._inventory, self._opened = network, inventory, opened
        self._claimed = asyncio.Event()
        self._taken: Taken | None = None
        self._ending, self._is_bound = "aleph-agentd is stopping", False
        self._turn, self._held = asyncio.Lock(), ExitStack()
        loop = asyncio.get_running_loop()
        network.claim_with(lambda address: self._hold(address, loop))

    async def claim(self, stack: AsyncExitStack) -> None:
        """Load the key, and hold its lock until `stack` is left. Raises Taken."""
        stack.callback(self._held.close)
        try:
            await self._network.warm_up()
            if self._taken is not None:
                self._ending = str(self._taken)
                raise self._taken
            if self._network.signer.trouble:
                log.warning("no usable key: %s", self._network.signer.trouble)
            await self._bind()
            self._ending = ""
        finally:
            self._claimed.set()

    async def wait(self) -> None:
        """Return when the key was claimed, or there is none. Raises Unavailable."""
        await self._claimed.wait()
        if self._ending:
            raise Unavailable(
                f"Nothing was created: {self._ending}.", "Send the same call again in a few seconds."
            )
        await self._bind()

    async def unlock(self, passphrase: str) -> str:
        """Open the encrypted key; its address. Raises KeyMissing."""
        await self._claimed.wait()
        async with self._turn:
            if self._network.signer.trouble:
                await self._network.unlock(passphrase)
                await self._bind()
        return self._network.signer.address

    async def address_if_open(self) -> str:
        """Its address; empty while it cannot be used."""
        await self._claimed.wait()
        return "" if self._network.signer.trouble else self._network.signer.address

    async def ask(self) -> None:
        """Let systemd ask for the passphrase of a locked key, once."""
        passphrase = await self._network.ask_for_passphrase()
        if passphrase is not None:
            try:
                await self.unlock(passphrase)
            except KeyMissing as missing:
                log.warning("the key stays locked: %s", missing)

    def _hold(self, address: str, loop: asyncio.AbstractEventLoop) -> None:
        """Take the lock of this key, or raise KeyMissing; in any thread."""
        directory = state_dir()
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._held.enter_context(only_one(directory, "key", address))
        except Taken as taken:
            self._taken = taken
            raise KeyMissing(str(taken)) from None
        except OSError as error:
            raise KeyMissing(f"The lock of the key cannot be taken: {error.strerror}.") from None
        self._taken = None
        if self._claimed.is_set():
            log.info("the key of %s is open", address)
            loop.call_soon_threadsafe(self._opened)

    async def _bind(self) -> None:
        """From now on this inventory is that key's. Before anything is made with it."""
        if not self._is_bound and not self._network.signer.trouble:
            await self._inventory.bind_key(self._network.signer.address)
            self._is_bound = True
