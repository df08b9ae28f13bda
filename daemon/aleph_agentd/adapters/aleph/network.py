"""The network as one thing to open and close."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from ...ports import Hosts, KeyMissing, Market, Messages, Signer
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

    async def warm_up(self) -> None:
        """Import in threads what the first calls would wait for: seconds, so after READY."""
        await self._http.session()
        await self._sdk.loaded()
        with suppress(KeyMissing):
            _ = self.signer.address


@asynccontextmanager
async def open_network(settings: NetworkSettings) -> AsyncIterator[Network]:
    """The network, before any call to it and any import: those come with the first use or `warm_up`."""
    http, keys, sdk = Http(allow_local=settings.allow_local), KeyFile(settings.key_path), Sdk(settings)
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
        )
    finally:
        await market.close()
        await http.close()
