"""The services over their adapters: what the composition root joins."""

import random
from pathlib import Path

from .adapters.aleph.network import Network
from .adapters.config import Settings
from .adapters.installation import installation_id
from .domain.clock import Clock
from .domain.names import check_ssh_pubkey
from .ports import Inventory, Timers
from .services.adopter import Adopter
from .services.birth import Birth
from .services.core import Services
from .services.extender import Extender
from .services.freezes import Freezes
from .services.jobs import Jobs
from .services.money_watch import watch_money
from .services.panic import Panic
from .services.provisioner import Provisioner
from .services.publisher import Publisher
from .services.quotes import Planner
from .services.reaper import Reaper
from .services.repairs import Repairs
from .services.sweeper import Sweeper
from .services.teardown import Teardown
from .services.treasury import Treasury

_KEY_BYTES = 4096


def join(
    settings: Settings, inventory: Inventory, network: Network, timers: Timers, clock: Clock
) -> Services:
    """The services over their adapters."""
    signer, messages, market, hosts = network.signer, network.messages, network.market, network.hosts
    jobs, installation = Jobs(), installation_id(settings.database_path.parent)
    freezes = Freezes(inventory, clock)
    treasury = Treasury(inventory, market, signer, clock, settings.limits, settings.human_address or "")
    teardown = Teardown(inventory, messages, hosts, market, signer, clock, jobs)
    adopter = Adopter(inventory, market, signer, clock)
    repairs = Repairs(inventory, messages, hosts, signer, clock, jobs, adopter=adopter, teardown=teardown)
    sweeper = Sweeper(
        inventory, messages, signer, clock, jobs, repairs, installation, settings.orphan_grace_s
    )
    dice = random.Random()  # noqa: S311 - spreads load
    planner = Planner(treasury, market, dice, lambda: sweeper.findings.others_live)
    birth = Birth(inventory, messages, hosts, clock, freezes)
    pubkey, trouble = read_pubkey(settings.ssh_pubkey_path)
    return Services(
        inventory=inventory,
        signer=signer,
        market=market,
        hosts=hosts,
        clock=clock,
        jobs=jobs,
        treasury=treasury,
        planner=planner,
        provisioner=Provisioner(
            inventory, signer, market, treasury, planner, birth, teardown, clock, jobs, freezes, installation
        ),
        extender=Extender(inventory, treasury, clock, freezes),
        teardown=teardown,
        reaper=Reaper(inventory, teardown, timers, clock),
        sweeper=sweeper,
        adopter=adopter,
        repairs=repairs,
        freezes=freezes,
        panic=Panic(
            inventory, messages, signer, clock, jobs, adopter=adopter, teardown=teardown, freezes=freezes
        ),
        publisher=Publisher(inventory, messages, signer, clock, jobs),
        **watch_money(inventory, market, treasury, teardown, clock, freezes),
        default_os_image=settings.default_os_image,
        ssh_pubkey=pubkey,
        ssh_pubkey_trouble=trouble,
        network=settings.api_hosts[0] if settings.allow_local else settings.network,
    )


def read_pubkey(path: Path) -> tuple[str, str]:
    """The owner's public key without its comment, and why there is none, in one line."""
    try:
        with path.open("rb") as file:
            text = file.read(_KEY_BYTES).decode()
        return check_ssh_pubkey(text), "" if text.strip() else f"{path} is empty"
    except OSError as error:
        return "", f"{path}: {error.strerror or error}"
    except ValueError as error:
        return "", f"{path}: {error}"
