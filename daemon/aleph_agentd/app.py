"""The composition root: the only place that joins services and adapters, and the daemon's life."""

import asyncio
import gc
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta

from . import __version__, timetable
from .adapters import confinement, hardening, systemd
from .adapters.aleph.network import Network, open_network
from .adapters.anchor_file import AnchorFile
from .adapters.config import Settings
from .adapters.escrow_dir import EscrowDir
from .adapters.machine_clock import SteadyClock
from .adapters.passphrase_file import FileOfPassphrase
from .adapters.store import SqlBackups, SqlInventory
from .adapters.timers import SchedulerTimers
from .adapters.webhook import Webhook
from .domain.limits import Limits
from .doors import doors
from .gateway.ancestry import Clients
from .gateway.bounded import BoundedToolbox
from .gateway.control_approvals import ApprovalVerbs
from .gateway.control_audit import AuditTrail, announced, audited
from .gateway.control_freeze import Buttons
from .gateway.control_keeping import Keeping
from .gateway.control_key import KeyVerbs
from .gateway.control_methods import Control
from .gateway.control_metrics import Metrics
from .gateway.control_notify import NotifyVerbs
from .gateway.control_report import Report
from .gateway.control_spend import Spend
from .gateway.mcp_open import McpOpen
from .gateway.mcp_server import LazyMcp
from .gateway.mcp_updates import Updates
from .gateway.metering import TimedToolbox, timed
from .gateway.methods import build_methods
from .gateway.metrics_http import MetricsPage
from .gateway.owner_guard import OwnerGuard
from .gateway.rpc.connection import Handler
from .gateway.rpc.server import RpcServer
from .gateway.sessions import Sessions
from .gateway.store_refusals import explained
from .joining import Ports, counted, for_own_vms, given, join, witnessed
from .key_hold import KeyHold
from .opening import network_settings, open_inventory
from .services.auditor import Auditor
from .services.escrow import Escrow
from .services.health import Health, HealthSettings
from .services.measuring import About, Measuring
from .services.meters import Meters
from .services.notifications import Notifications
from .services.passphrase import Passphrase
from .services.rulebook import Rulebook
from .services.timekeeper import Timekeeper
from .tools.toolbox import Toolbox
from .under_systemd import UnderSystemd

log = logging.getLogger(__name__)

DRAIN_S = 60.0
"""A create in flight needs at most its patience; what is left goes on after the next start."""


def serve(settings: Settings) -> None:
    """Run the daemon until SIGTERM or SIGINT. Raises Taken, StoreTrouble or Refusal when it cannot start."""
    hardening.harden()
    hardening.forget_secrets()
    asyncio.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        inventory = await open_inventory(settings, stack)
        network = await stack.enter_async_context(
            open_network(network_settings(settings, await inventory.key_address()))
        )
        daemon = Daemon(settings, inventory, network)
        daemon.heed_signals()
        # Before the first call: whether something is frozen must be known by then.
        await daemon.services.freezes.load()
        await stack.enter_async_context(daemon.listening())
        systemd.ready("starting")
        log.info("ready; %s", settings.describe())
        await daemon.live(stack)


class Daemon:
    """The services of one process, joined; and what happens to them from READY to the end."""

    def __init__(self, settings: Settings, inventory: SqlInventory, network: Network) -> None:
        self._clock, self._stop = SteadyClock(settings.database_path.parent / "clock.json"), asyncio.Event()
        self._timers = SchedulerTimers(self._clock.lead)
        anchors = AnchorFile(settings.database_path.with_name(f"{settings.database_path.name}.anchors"))
        self._auditor = Auditor(inventory, anchors, self._clock)
        self._settings, self._inventory, self._network = settings, inventory, network
        meters = Meters()
        ports = for_own_vms(witnessed(counted(network, meters), self._auditor), inventory)
        self.services = join(given(settings), inventory, ports, self._timers, self._clock, self._auditor)
        reaper, jobs = self.services.reaper, self.services.jobs
        self._timekeeper = Timekeeper(self._clock, inventory, ports.messages, reaper, self._timers, jobs)
        self._systemd = UnderSystemd(self.services, self._clock)
        self._health = self._watch(ports)
        self.services.provisioner.gates.append(self._timekeeper.check)
        self._key = KeyHold(network, inventory, self._changed)
        self.services.provisioner.ready = self._key.wait
        self.services.notices.extend((self._timekeeper.alerts, self._auditor.alerts))
        self._notifications = self._notify()
        files = EscrowDir(settings.escrow_dir) if settings.escrow_dir else None
        self._escrow = Escrow(inventory, ports.signer, jobs, settings.api_hosts, files)
        self._rulebook = Rulebook(inventory, self._clock, self.services.treasury, self._read_policy)
        self.services.notices.append(self._rulebook.alerts)
        self.services.figures.update(policy=self._rulebook.figures, sandbox=confinement.figures)
        self.services.notices.extend([self._escrow.alerts, self.services.freezes.alerts])
        toolbox = TimedToolbox(BoundedToolbox(Toolbox(self.services)), meters)
        self._mcp = LazyMcp(toolbox, __version__, self.services.approvals)
        self._updates = Updates(inventory.last_event_id, self._mcp)
        sessions = Sessions(settings.for_sessions())
        owner = OwnerGuard(Passphrase(FileOfPassphrase(settings.database_path.parent)), Clients())
        opener = McpOpen(self._mcp, announced(sessions.opened, self._auditor), __version__, owner.clients)
        self._control = Control(self.services, self._clock.now(), lambda: opener.sessions, owner)
        agents = build_methods(toolbox, sessions.plain, __version__, {"mcp.open": opener})
        self._agent_methods = timed(agents, meters)
        keeping = Keeping(self._escrow, SqlBackups(inventory, settings.database_path.parent))
        more: dict[str, Handler] = {"mcp.open": opener}
        for part in (
            self._control,
            keeping,
            Buttons(self.services.freezes, self.services.panic, owner),
            ApprovalVerbs(self.services, owner),
            AuditTrail(self._auditor),
            Spend(self.services),
            Report(self.services),
            self._measured(meters, lambda: opener.sessions),
            KeyVerbs(self._key),
            NotifyVerbs(self._notifications),
        ):
            more |= audited(explained(part.methods()), self._auditor, sessions.plain)
        self._control_methods = timed(build_methods(toolbox, sessions.plain, __version__, more), meters)
        self._sessions = sessions

    def _measured(self, meters: Meters, sessions: Callable[[], int]) -> Metrics:
        about = About(__version__, self._clock.now(), sessions)
        metrics = Metrics(Measuring(self.services, meters, about))
        self._metrics_page = MetricsPage(self._settings.metrics_port, metrics.text)
        self.services.notices.append(self._metrics_page.alerts)
        return metrics

    def _notify(self) -> Notifications:
        url, secret = self._settings.webhook_url, self._settings.webhook_secret_path
        webhook = Webhook(url, secret, self._clock) if url else None
        notifications = Notifications(self._inventory, webhook, self._clock)
        self.services.notices.append(notifications.alerts)
        self.services.figures["notifications"] = notifications.figures
        return notifications

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
        async with doors(server, self._agent_methods, self._control_methods), self._metrics_page.served():
            try:
                yield
            finally:
                await self._drain(server)
                self._auditor.note("daemon", "stopped")
                await self._auditor.stop()

    def heed_signals(self) -> None:
        """Before READY: a SIGHUP that nobody heeds ends a process."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)

    async def live(self, stack: AsyncExitStack) -> None:
        """From READY on: reap first, then load what is slow, then recover, sweep and wait for the end."""
        loop = asyncio.get_running_loop()
        self._inventory.on_change = self._changed
        self._timers.start()
        timetable.set_up(
            self._timers, self._settings, self.services, self._escrow, self._health, self._systemd
        )
        telling = loop.create_task(self._notifications.run(), name="notifications")
        stack.callback(telling.cancel)
        # Before the reaper only this: whether its rows may be relied on.
        await self.services.restoration.begin_life()
        await self.services.reaper.recover()
        await self.services.approvals.load()
        await self._systemd.show()
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
        await self._key.claim(stack)
        asking = asyncio.get_running_loop().create_task(self._key.ask(), name="passphrase")
        stack.callback(asking.cancel)
        self.services.panic.resume()
        await self.services.provisioner.recover()
        await self.services.setup.recover()
        await self.services.approvals.recover()
        self._escrow.changed()
        await self._mcp.get()
        # What is loaded by now stays: looking through it for garbage again and again stops the loop for 0.1 s.
        gc.freeze()
        await self.services.sweeper.run()
        await self.services.publisher.run()
        self.services.jobs.start("retention", self.services.retention.run)

    async def _drain(self, server: RpcServer) -> None:
        self.services.provisioner.draining = True
        self.services.setup.stop()
        self.services.idleness.stop()
        self._timers.stop()
        self._updates.stop()
        async with self._systemd.stopping():
            await asyncio.gather(server.close(DRAIN_S), self.services.jobs.drain(DRAIN_S))

    def _changed(self) -> None:
        self.services.reaper.changed()
        self._control.changed()
        self._escrow.changed()
        self._auditor.changed()
        self._systemd.changed()
        self._updates.changed()

    def _reload(self) -> None:
        """SIGHUP: the policy anew; one that does not parse leaves the old one in force."""
        self.services.jobs.start("reload", lambda: self._systemd.reload(self._rulebook.reload))

    def _read_policy(self) -> Limits | str:
        try:
            # The secrets of the environment were forgotten, and none of them can be changed by a reload.
            settings = Settings.load().model_copy(update={"database_url": self._settings.database_url})
        except Exception as problem:  # noqa: BLE001 - whatever is wrong with a file must not end the daemon
            self._auditor.note(
                "daemon", "told to reload its policy, which does not parse: it stays as it was"
            )
            return f"{problem}" or type(problem).__name__
        self._sessions.daemon = settings.for_sessions()
        self.services.templates.scripts = settings.setup_templates
        self._auditor.note("daemon", f"policy reloaded; {settings.describe()}")
        return settings.limits
