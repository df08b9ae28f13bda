"""The daemon's periodic work: one line each."""

from .adapters.config import Settings
from .domain.activity import INTERVAL_S as IDLE_S
from .ports import Timers
from .services.approvals import INTERVAL_S as APPROVALS_S
from .services.core import Services
from .services.erasure import PROBE_S
from .services.escrow import INTERVAL_S as ESCROW_S
from .services.escrow import Escrow
from .services.expenses import REPRICE_S
from .services.health import Health
from .services.lookout import INTERVAL_S as LOOKOUT_S
from .services.port_closer import INTERVAL_S as PORTS_S
from .services.publisher import INTERVAL_S as PUBLISH_S
from .services.restoration import COUNT_S
from .services.retention import INTERVAL_S as RETENTION_S
from .services.runway import INTERVAL_S as RUNWAY_S
from .services.saver import INTERVAL_S as SAVE_S
from .services.setup import INTERVAL_S as SETUP_S
from .under_systemd import UnderSystemd

STATUS_S = 60


def set_up(
    timers: Timers,
    settings: Settings,
    services: Services,
    escrow: Escrow,
    health: Health,
    under_systemd: UnderSystemd,
) -> None:
    """Every job that runs again and again."""
    every = timers.every
    every("reap", under_systemd.reap_every_s, under_systemd.reap)
    every("silent hosts", PROBE_S, services.teardown.probe_hosts)
    every("sweep", settings.sweep_interval_s, services.sweeper.run)
    every("escrow", ESCROW_S, escrow.run)
    every("count", COUNT_S, services.restoration.count_on)
    every("retention", RETENTION_S, services.retention.run)
    every("publish", PUBLISH_S, services.publisher.run)
    every("expenses", settings.sweep_interval_s, services.expenses.run)
    every("reprice", REPRICE_S, services.expenses.reprice)
    every("runway", RUNWAY_S, services.runway.run)
    every("lookout", LOOKOUT_S, services.lookout.run)
    every("approvals", APPROVALS_S, services.approvals.expire)
    every("ports", PORTS_S, services.port_closer.run)
    every("setup", SETUP_S, services.setup.recover)
    every("idle", IDLE_S, services.idleness.run)
    every("save", SAVE_S, services.saver.run)
    every("status", STATUS_S, under_systemd.show)
    if settings.health_interval_s is not None:
        every("health", settings.health_interval_s, health.run)
