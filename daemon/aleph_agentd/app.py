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

from . import __version__, runtime_dir, timetable
from .adapters import systemd
from .adapters.aleph.network import Network, open_network
from .adapters.anchor_file import AnchorFile
from .adapters.config import Settings
from .adapters.config_sources import state_dir
from .adapters.desktop import Desktop
from .adapters.escrow_dir import EscrowDir
from .adapters.installation import Taken, only_one
from .adapters.machine_clock import SteadyClock
from .adapters.passphrase_file import FileOfPassphrase
from .adapters.store import SqlBackups, SqlInventory
from .adapters.timers import SchedulerTimers
from .domain.clock import span
from .domain.errors import Unavailable
from .domain.limits import Limits
from .gateway.ancestry import Clients
from .gateway.control_approvals import ApprovalVerbs
from .gateway.control_audit import AuditTrail, announced, audited
from .gateway.control_freeze import Buttons
from .gateway.control_keeping import Keeping
from .gateway.control_methods import Control
from .gateway.control_spend import Spend
from .gateway.mcp_open import McpOpen
from .gateway.mcp_server import LazyMcp
from .gateway.methods import build_methods
from .gateway.owner_guard import OwnerGuard
from .gateway.rpc import sockets
from .gateway.rpc.connection import Handler
from .gateway.rpc.server import RpcServer
from .gateway.sessions import Sessions
from .joining import Ports, given, join, witnessed
from .opening import network_settings, open_inventory
from .services.auditor import Auditor
from .services.escrow import Escrow
from .services.health import Health, HealthSettings
from .services.passphrase import Passphrase
from .services.rulebook import Rulebook
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
        inventory = await open_inventory(settings, stack)
        network = await stack.enter_async_context(open_network(network_settings(settings)))
        daemon = Daemon(settings, inventory, network)
        await stack.enter_async_context(daemon.listening())
        systemd.notify(READY=1, STATUS="starting")
        log.info("ready; %s", settings.describe())
        try:
            await daemon.live(stack)
        finally:
            systemd.notify(STOPPING=1, STATUS="finishing what runs")


class Daemon:
    """The services of one process, joined; and what happens to them from READY to the end."""

    def __init__(self, settings: Settings, inventory: SqlInventory, network: Network) -> None:
        self._clock, self._stop = SteadyClock(settings.database_path.parent / "clock.json"), asyncio.Event()
        self._claimed, self._unclaimed = asyncio.Event(), "aleph-agentd is stopping"
        self._timers = SchedulerTimers(self._clock.lead)
        anchors = AnchorFile(settings.database_path.with_name(f"{settings.database_path.name}.anchors"))
        self._auditor = Auditor(inventory, anchors, self._clock)
        self._settings, self._inventory, self._network = settings, inventory, network
        ports = witnessed(network, self._auditor)
        self.services = join(given(settings), inventory, ports, self._timers, self._clock, self._auditor)
        self.services.approvals.tell = Desktop("aleph-agentd").tell
        self._timekeeper = Timekeeper(
            self._clock,
            inventory,
            ports.messages,
            self.services.reaper,
            self._timers,
            self.services.jobs,
        )
        self._health = self._watch(ports)
        self.services.provisioner.gates.append(self._timekeeper.check)
        self.services.provisioner.ready = self._wait_for_the_key
        self.services.notices.extend((self._timekeeper.alerts, self._auditor.alerts))
        files = EscrowDir(settings.escrow_dir) if settings.escrow_dir else None
        self._escrow = Escrow(inventory, ports.signer, self.services.jobs, settings.api_hosts, files)
        self._rulebook = Rulebook(inventory, self._clock, self.services.treasury, self._read_policy)
        self.services.notices.append(self._rulebook.alerts)
        self.services.figures["policy"] = self._rulebook.figures
        self.services.notices.extend([self._escrow.alerts, self.services.freezes.alerts])
        toolbox = Toolbox(self.services)
        self._mcp = LazyMcp(toolbox, __version__, self.services.approvals)
        sessions = Sessions(settings.for_sessions())
        owner = OwnerGuard(Passphrase(FileOfPassphrase(settings.database_path.parent)), Clients())
        opener = McpOpen(self._mcp, announced(sessions.opened, self._auditor), __version__, owner.clients)
        self._control = Control(self.services, self._clock.now(), lambda: opener.sessions, owner)
        self._agent_methods = build_methods(toolbox, sessions.plain, __version__, {"mcp.open": opener})
        keeping = Keeping(self._escrow, SqlBackups(inventory, settings.database_path.parent))
        buttons = Buttons(self.services.freezes, self.services.panic, owner)
        approvals = ApprovalVerbs(self.services, owner)
        more: dict[str, Handler] = {"mcp.open": opener}
        for part in (
            self._control,
            keeping,
            buttons,
            approvals,
            AuditTrail(self._auditor),
            Spend(self.services),
        ):
            more |= audited(part.methods(), self._auditor, sessions.plain)
        self._control_methods = build_methods(toolbox, sessions.plain, __version__, more)
        self._sessions = sessions

    def _watch(self, network: Ports) -> Health:
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
        await self._auditor.start()
        self._auditor.note("daemon", f"aleph-agentd {__version__} started; {self._settings.describe()}")
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
            self._auditor.note("daemon", "stopped")
            await self._auditor.stop()
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
        timetable.set_up(
            self._timers, self._settings, self.services, self._escrow, self._health, self._tell_systemd
        )
        # Before the reaper only this: what is frozen, and whether its rows may be relied on.
        await self.services.freezes.load()
        await self.services.restoration.begin_life()
        await self.services.reaper.recover()
        await self.services.approvals.load()
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
        await self._claim_key(stack)
        self.services.panic.resume()
        await self.services.provisioner.recover()
        await self.services.approvals.recover()
        self._escrow.changed()
        await self._mcp.get()
        await self.services.sweeper.run()
        await self.services.publisher.run()
        self.services.jobs.start("retention", self.services.retention.run)
        await self._tell_systemd()

    async def _claim_key(self, stack: AsyncExitStack) -> None:
        """Load the key, and hold its lock: until then no create is signed. Raises Taken."""
        try:
            await self._network.warm_up()
            if self.services.signer.trouble:
                log.warning("no usable key: %s", self.services.signer.trouble)
            else:
                directory = state_dir()
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                stack.enter_context(only_one(directory, "key", self.services.signer.address))
            self._unclaimed = ""
        except Taken as taken:
            self._unclaimed = str(taken)
            raise
        finally:
            self._claimed.set()

    async def _wait_for_the_key(self) -> None:
        await self._claimed.wait()
        if self._unclaimed:
            raise Unavailable(
                f"Nothing was created: {self._unclaimed}.", "Send the same call again in a few seconds."
            )

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
        self._auditor.changed()

    def _reload(self) -> None:
        """SIGHUP: the policy anew; one that does not parse leaves the old one in force."""
        self.services.jobs.start("reload", self._rulebook.reload)

    def _read_policy(self) -> Limits | str:
        try:
            settings = Settings.load()
        except Exception as problem:  # noqa: BLE001 - whatever is wrong with a file must not end the daemon
            self._auditor.note(
                "daemon", "told to reload its policy, which does not parse: it stays as it was"
            )
            return f"{problem}" or type(problem).__name__
        self._sessions.daemon = settings.for_sessions()
        self._auditor.note("daemon", f"policy reloaded; {settings.describe()}")
        return settings.limits

    async def _tell_systemd(self) -> None:
        overview = await self.services.treasury.overview("")
        ending, left = overview.next_end, ""
        if ending is not None:
            left = f", next end in {span((ending.expires_at - self._clock.now()).total_seconds())}"
        runway = f", {words}" if (words := self.services.runway.words()) else ""
        systemd.notify(STATUS=f"{overview.exposure.live_vms} VMs{left}{runway}")
