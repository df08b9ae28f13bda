"""The network as one thing to open and close."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from ...ports import Hosts, KeyMissing, Market, Messages, Signer
from . import passphrases
from .ccn import Ccn
from .hosts import AlephHosts
from .http import Http
from .keys import KeyFile
from .market import AlephMarket
from .messages import AlephMessages
from .sdk import Sdk
from .settings import NetworkSettings
from .signer import AlephSigner


@dataclass(frozen=True)
class Network:
    """The ports of one network."""

    signer: Signer
    messages: Messages
    market: Market
    hosts: Hosts
    _sdk: Sdk
    _http: Http
    _keys: KeyFile

    async def warm_up(self) -> None:
        """Import in threads what the first calls would wait for: seconds, so after READY."""
        await self._http.session()
        await self._sdk.loaded()
        with suppress(KeyMissing):
            await asyncio.to_thread(self._keys.open)
        self._keys.is_warm = True

    async def unlock(self, passphrase: str) -> None:
        """Open the encrypted key. Raises KeyMissing."""
        await asyncio.to_thread(self._keys.unlock, passphrase)

    def claim_with(self, claim: Callable[[str], None]) -> None:
        """Before a key is used: `claim` its address, which may raise KeyMissing, and is called in any thread."""
        self._keys.claim = claim

    async def ask_for_passphrase(self) -> str | None:
        """What somebody answers to systemd, while the key is locked; None without an answer."""
        return await passphrases.ask() if self._keys.locked else None


@asynccontextmanager
async def open_network(settings: NetworkSettings) -> AsyncIterator[Network]:
    """The network, before any call to it and any import: those come with the first use or `warm_up`."""
    http, sdk = Http(allow_local=settings.allow_local), Sdk(settings)
    keys = KeyFile(settings.key_path, settings.key_address)
    ccn = Ccn(http, settings)
    market = AlephMarket(http, ccn, settings)
    try:
        yield Network(
            signer=AlephSigner(keys, sdk),
            messages=AlephMessages(ccn),
            market=market,
            hosts=AlephHosts(http, keys, sdk, settings),
            _sdk=sdk,
            _http=http,
            _keys=keys,
        )
    finally:
        await market.close()
        await http.close()
