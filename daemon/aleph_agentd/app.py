"""The composition root: the only place that joins services and adapters, and the daemon's life."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from socket import socket

from . import __version__, runtime_dir
from .adapters import systemd
from .adapters.aleph.network import Network, open_network
from .adapters.aleph.settings import NetworkSettings
from .adapters.config import Settings
from .adapters.config_sources import state_dir
from .adapters.escrow_dir import EscrowDir
from .adapters.installation import only_one
from .adapters.machine_clock import SteadyClock
from .adapters.store import Defaults, SqlBackups, SqlInventory, sqlite_url
from .adapters.timers import SchedulerTimers
from .domain.clock import SystemClock, span
from .domain.limits import Limits
from .gateway.control_freeze import Buttons
from .gateway.control_keeping import Keeping
from .gateway.control_methods import Control
from .gateway.control_spend import Spend
from .gateway.mcp_open import McpOpen
from .gateway.mcp_server import LazyMcp
from .gateway.methods import build_methods
from .gateway.rpc import sockets
from .gateway.rpc.connection import Handler
from .gateway.rpc.server import RpcServer
from .gateway.sessions import Sessions
from .joining import join
from .services.erasure import PROBE_S
from .services.escrow import INTERVAL_S as ESCROW_S
from .services.escrow import Escrow
from .services.expenses import REPRICE_S
from .services.health import Health, HealthSettings
from .services.publisher import INTERVAL_S as PUBLISH_INTERVAL_S
from .services.reaper import INTERVAL_S
from .services.rulebook import Rulebook
from .services.runway import INTERVAL_S as RUNWAY_S
from .services.timekeeper import Timekeeper
from .tools.toolbox import Toolbox

log = logging.getLogger(__name__)

DRAIN_S = 60.0
"""A create in flight needs at most its patience; what is left goes on after the next start."""


def serve(settings: Settings) -> None:
    """Run the daemon until SIGTERM or SIGINT. Raises Taken, StoreTrouble or Refusal when it cannot start."""
    # Relative paths, `.env` files and core dumps of wherever it was started are none of its business.
    os.umask(0o077)
    os.chdir("/")
    asyncio.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        inventory = await _open_inventory(settings, stack)
        network = await stack.enter_async_context(open_network(network_settings(settings)))
        daemon = Daemon(settings, inventory, network)
        await stack.enter_async_context(daemon.listening())
        systemd.notify(READY=1, STATUS="starting")
        log.info("ready; %s", settings.describe())
        try:
            await daemon.live(stack)
        finally:
            systemd.notify(STOPPING=1, STATUS="finishing what runs")


async def _open_inventory(settings: Settings, stack: AsyncExitStack) -> SqlInventory:
    directory = settings.database_path.parent
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    stack.enter_context(only_one(directory, "inventory", str(settings.database_path)))
    inventory = await SqlInventory.open(settings.database_url or sqlite_url(settings.database_path))
    stack.push_async_callback(inventory.close)
    defaults = Defaults(
        SystemClock().now(), timedelta(hours=settings.max_ttl_hours), settings.human_address or ""
    )
    taken = await inventory.import_predecessor(settings.predecessor_path, defaults)
    if taken:
        log.info("took over %d VMs from %s", len(taken.vms), settings.predecessor_path)
        for problem in taken.problems:
            log.warning("%s: %s", settings.predecessor_path, problem)
    return inventory


def network_settings(settings: Settings) -> NetworkSettings:
    """The network adapter's part of the settings."""
    return NetworkSettings(
        key_path=settings.private_key_path,
        api_hosts=settings.api_hosts,
        crn_list_url=settings.crn_list_url,
        aggregate_address=settings.aggregate_address,
        os_images=settings.os_images,
        allow_local=settings.allow_local,
    )


class Daemon:
    """The services of one process, joined; and what happens to them from READY to the end."""

    def __init__(self, settings: Settings, inventory: SqlInventory, network: Network) -> None:
        self._settings, self._inventory, self._network = settings, inventory, network
        self._clock, self._stop = SteadyClock(settings.database_path.parent / "clock.json"), asyncio.Event()
        self._timers = SchedulerTimers(self._clock.lead)
        self.services = join(settings, inventory, network, self._timers, self._clock)
        self._timekeeper = Timekeeper(
            self._clock,
            inventory,
            network.messages,
            self.services.reaper,
            self._timers,
            self.services.jobs,
        )
        self._health = self._watch(network)
        self.services.provisioner.gates.append(self._timekeeper.check)
        self.services.notices.append(self._timekeeper.alerts)
        files = EscrowDir(settings.escrow_dir) if settings.escrow_dir else None
        self._escrow = Escrow(inventory, network.signer, self.services.jobs, settings.api_hosts, files)
        self._rulebook = Rulebook(inventory, self._clock, self.services.treasury, self._read_policy)
        self.services.notices.append(self._rulebook.alerts)
        self.services.figures["policy"] = self._rulebook.figures
        self.services.notices.extend([self._escrow.alerts, self.services.freezes.alerts])
        toolbox = Toolbox(self.services)
        self._mcp = LazyMcp(toolbox, __version__)
        sessions = Sessions(settings.for_sessions())
        opener = McpOpen(self._mcp, sessions.opened, __version__)
        self._control = Control(self.services, self._clock.now(), lambda: opener.sessions)
        self._agent_methods = build_methods(toolbox, sessions.plain, __version__, {"mcp.open": opener})
        keeping = Keeping(self._escrow, SqlBackups(inventory, settings.database_path.parent))
        buttons = Buttons(self.services.freezes, self.services.panic)
        more: dict[str, Handler] = {"mcp.open": opener}
        for part in (self._control, keeping, buttons, Spend(self.services)):
            more |= part.methods()
        self._control_methods = build_methods(toolbox, sessions.plain, __version__, more)
        self._sessions = sessions

    def _watch(self, network: Network) -> Health:
        settings, services = self._settings, self.services
        patience = timedelta(minutes=settings.unreachable_minutes)
        health = Health(
            self._inventory,
            network.messages,
            network.hosts,
            network.signer,
            self._clock,
            services.teardown,
            HealthSettings(patience, settings.teardown_unreachable),
        )
        services.notices.append(health.alerts)
        services.figures["health"] = health.figures
        return health

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Both sockets, inherited from systemd or our own; drained at the end."""
        server = RpcServer(allowed_uids={os.getuid()})
        inherited = systemd.listen_fds()
        directory = runtime_dir.daemon_dir(os.environ)
        own: list[tuple[Path, int]] = []

        def door(name: str) -> socket:
            if name in inherited:
                return inherited[name]
            listener = sockets.bind(directory / name)
            own.append((directory / name, (directory / name).lstat().st_ino))
            return listener

        await server.listen(door(runtime_dir.AGENT_SOCKET), self._agent_methods, human=False)
        await server.listen(door(runtime_dir.CONTROL_SOCKET), self._control_methods, human=True)
        try:
            yield
        finally:
            await self._drain(server)
            for path, inode in own:
                sockets.unlink_own(path, inode)

    async def live(self, stack: AsyncExitStack) -> None:
        """From READY on: reap first, then load what is slow, then recover, sweep and wait for the end."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        self._inventory.on_change = self._changed
        self._timers.start()
        self._timers.every("reap", INTERVAL_S, self.services.reaper.run)
        self._timers.every("silent hosts", PROBE_S, self.services.teardown.probe_hosts)
        self._timers.every("sweep", self._settings.sweep_interval_s, self.services.sweeper.run)
        self._timers.every("escrow", ESCROW_S, self._escrow.run)
        self._timers.every("publish", PUBLISH_INTERVAL_S, self.services.publisher.run)
        if self._settings.health_interval_s is not None:
            self._timers.every("health", self._settings.health_interval_s, self._health.run)
        self._timers.every("expenses", self._settings.sweep_interval_s, self.services.expenses.run)
        self._timers.every("reprice", REPRICE_S, self.services.expenses.reprice)
        self._timers.every("runway", RUNWAY_S, self.services.runway.run)
        self._timers.every("status", 60, self._tell_systemd)
        await self.services.freezes.load()
        await self.services.reaper.recover()
        keeping = loop.create_task(self._timekeeper.run(), name="clock")
        stack.callback(keeping.cancel)
        stack.push_async_callback(self._clock.save, stopping=True)
        warm = loop.create_task(self._warm_up(stack), name="warm up")
        stopped = loop.create_task(self._stop.wait(), name="stop")
        await asyncio.wait({warm, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if warm.done():
            warm.result()
            await stopped
        warm.cancel()
        with suppress(asyncio.CancelledError):
            await warm

    async def _warm_up(self, stack: AsyncExitStack) -> None:
        """What the first calls would wait for; then what the last life of the daemon left open."""
        await self._network.warm_up()
        if not self.services.signer.trouble:
            address = self.services.signer.address
            directory = state_dir()
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            stack.enter_context(only_one(directory, "key", address))
        else:
            log.warning("no usable key: %s", self.services.signer.trouble)
        self.services.panic.resume()
        await self.services.provisioner.recover()
        self._escrow.changed()
        await self._mcp.get()
        await self.services.sweeper.run()
        await self.services.publisher.run()
        await self._tell_systemd()

    async def _drain(self, server: RpcServer) -> None:
        self.services.provisioner.draining = True
        self._timers.stop()
        extending = asyncio.get_running_loop().create_task(self._extend_timeout(), name="extend timeout")
        await asyncio.gather(server.close(DRAIN_S), self.services.jobs.drain(DRAIN_S))
        extending.cancel()

    async def _extend_timeout(self) -> None:
        while True:
            systemd.notify(EXTEND_TIMEOUT_USEC=10_000_000)
            await asyncio.sleep(1)

    def _changed(self) -> None:
        self.services.reaper.changed()
        self._control.changed()
        self._escrow.changed()

    def _reload(self) -> None:
        """SIGHUP: the policy anew; one that does not parse leaves the old one in force."""
        self.services.jobs.start("reload", self._rulebook.reload)

    def _read_policy(self) -> Limits | str:
        try:
            settings = Settings.load()
        except Exception as problem:  # noqa: BLE001 - whatever is wrong with a file must not end the daemon
            return f"{problem}" or type(problem).__name__
        self._sessions.daemon = settings.for_sessions()
        return settings.limits

    async def _tell_systemd(self) -> None:
        overview = await self.services.treasury.overview("")
        ends = [vm.expires_at for vm in overview.live]
        left = f", next end in {span((min(ends) - self._clock.now()).total_seconds())}" if ends else ""
        runway = f", {words}" if (words := self.services.runway.words()) else ""
        systemd.notify(STATUS=f"{len(overview.live)} VMs{left}{runway}")
