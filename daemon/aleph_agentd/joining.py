"""The services over their adapters: what the composition root joins."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .adapters.aleph.network import Network
from .adapters.config import Settings
from .adapters.installation import installation_id
from .adapters.start_counter import StartFile
from .domain.clock import Clock
from .domain.limits import Limits
from .domain.names import check_ssh_pubkey
from .domain.setup_templates import Templates
from .joining_inside import inside, saving
from .ports import Hosts, Inventory, Market, Messages, Signer, StartCounter, Timers
from .services.adopter import Adopter
from .services.adoption import Adoption
from .services.approvals import Approvals
from .services.approved import Executor
from .services.auditor import Auditor
from .services.birth import Birth
from .services.core import Services
from .services.delegation import Delegation
from .services.extender import Extender
from .services.freezes import Freezes
from .services.jobs import Jobs
from .services.lookout import Lookout
from .services.meters import Meters, metered
from .services.money_watch import watch_money
from .services.own_key import OwnKeyHosts, OwnKeySigner
from .services.panic import Panic
from .services.provisioner import Provisioner
from .services.publisher import Publisher
from .services.quotes import Planner
from .services.reaper import Reaper
from .services.repairs import Repairs
from .services.restoration import Restoration
from .services.retention import Retention
from .services.saver import SaveSettings
from .services.sweeper import Sweeper
from .services.teardown import Teardown
from .services.treasury import Treasury
from .services.witness import WitnessedHosts, WitnessedMessages, WitnessedSigner

_KEY_BYTES = 4096


@dataclass(frozen=True)
class Ports:
    """A network, as the services see it."""

    signer: Signer
    messages: Messages
    market: Market
    hosts: Hosts


@dataclass(frozen=True)
class Given:
    """What the owner's settings and this machine give to the services."""

    limits: Limits
    human_address: str
    """Who pays in delegated mode; empty: the key's own account."""
    installation: str
    counter: StartCounter
    orphan_grace_s: float
    default_os_image: str
    ssh_pubkey: str
    ssh_pubkey_trouble: str
    network: str
    """What to call the network."""
    dice: random.Random
    saved_dir: Path
    """Where what is saved of VMs lies."""
    saving: SaveSettings = field(default_factory=SaveSettings)
    setup_templates: Mapping[str, str] = field(default_factory=dict)


def given(settings: Settings) -> Given:
    """The same, read from the settings and from what lies beside the inventory."""
    pubkey, trouble = read_pubkey(settings.ssh_pubkey_path)
    return Given(
        limits=settings.limits,
        human_address=settings.human_address or "",
        installation=installation_id(settings.database_path.parent),
        counter=StartFile(settings.database_path),
        orphan_grace_s=settings.orphan_grace_s,
        default_os_image=settings.default_os_image,
        ssh_pubkey=pubkey,
        ssh_pubkey_trouble=trouble,
        network=settings.api_hosts[0] if settings.allow_local else settings.network,
        dice=random.Random(),  # noqa: S311 - spreads load
        saved_dir=settings.database_path.parent / "saved",
        saving=saving(settings),
        setup_templates=settings.setup_templates,
    )


def counted(network: Network | Ports, meters: Meters) -> Ports:
    """The same network; its calls and their failures are counted."""
    return Ports(
        signer=network.signer,
        messages=metered(network.messages, "messages", meters),
        market=metered(network.market, "market", meters),
        hosts=metered(network.hosts, "hosts", meters),
    )


def witnessed(network: Network | Ports, auditor: Auditor) -> Ports:
    """The same network; what is signed and what is sent leaves an entry in the audit log."""
    return Ports(
        signer=WitnessedSigner(network.signer, auditor),
        messages=WitnessedMessages(network.messages, auditor),
        market=network.market,
        hosts=WitnessedHosts(network.hosts, auditor),
    )


def for_own_vms(network: Ports, inventory: Inventory) -> Ports:
    """The same network; nothing is signed for a VM that was made with another key."""
    return replace(
        network,
        signer=OwnKeySigner(network.signer, inventory),
        hosts=OwnKeyHosts(network.hosts, network.signer, inventory),
    )


def join(
    given: Given, inventory: Inventory, network: Ports, timers: Timers, clock: Clock, auditor: Auditor
) -> Services:
    """The services over their adapters."""
    signer, messages, market, hosts = network.signer, network.messages, network.market, network.hosts
    jobs, freezes = Jobs(), Freezes(inventory, clock)
    treasury = Treasury(inventory, market, signer, clock, given.limits, given.human_address)
    teardown = Teardown(inventory, messages, hosts, market, signer, clock, jobs)
    adopter, repairs, restoration, sweeper = _keepers(
        given, inventory, network, clock, jobs, treasury, teardown
    )
    adoption = Adoption(inventory, treasury, sweeper, repairs, adopter, freezes, clock)
    makers = _makers(given, inventory, network, clock, jobs, treasury, teardown, freezes, adoption, sweeper)
    services = Services(
        inventory=inventory,
        signer=signer,
        market=market,
        hosts=hosts,
        clock=clock,
        jobs=jobs,
        auditor=auditor,
        treasury=treasury,
        teardown=teardown,
        reaper=Reaper(inventory, teardown, timers, clock),
        sweeper=sweeper,
        adopter=adopter,
        adoption=adoption,
        repairs=repairs,
        freezes=freezes,
        panic=Panic(
            inventory, messages, signer, clock, jobs, adopter=adopter, teardown=teardown, freezes=freezes
        ),
        restoration=restoration,
        lookout=Lookout(inventory, treasury, clock),
        retention=Retention(inventory, messages, clock, teardown, restoration),
        **makers,
        **watch_money(inventory, market, treasury, teardown, clock, freezes),
        **inside(inventory, jobs, auditor, teardown, clock, given.saved_dir, given.saving),
        **_passed_on(given),
    )
    _guard(services, messages)
    return services


def _passed_on(given: Given) -> dict[str, Any]:
    """What tools read as it was given."""
    return {
        "default_os_image": given.default_os_image,
        "ssh_pubkey": given.ssh_pubkey,
        "ssh_pubkey_trouble": given.ssh_pubkey_trouble,
        "network": given.network,
        "templates": Templates(given.setup_templates),
    }


def _makers(
    given: Given,
    inventory: Inventory,
    network: Ports,
    clock: Clock,
    jobs: Jobs,
    treasury: Treasury,
    teardown: Teardown,
    freezes: Freezes,
    adoption: Adoption,
    sweeper: Sweeper,
) -> dict[str, Any]:
    """What rents, extends and publishes that, and asks a human first."""
    planner = Planner(treasury, network.market, given.dice, lambda: sweeper.findings.others_live)
    provisioner = Provisioner(
        inventory,
        network.signer,
        network.market,
        treasury,
        planner,
        Birth(inventory, network.messages, network.hosts, clock, freezes),
        teardown,
        clock,
        jobs,
        freezes,
        given.installation,
    )
    extender = Extender(inventory, treasury, clock, freezes)
    publisher = Publisher(inventory, network.messages, network.signer, clock, jobs)
    executor = Executor(inventory, treasury, planner, provisioner, extender, adoption, publisher, clock)
    return {
        "planner": planner,
        "provisioner": provisioner,
        "extender": extender,
        "publisher": publisher,
        "approvals": Approvals(inventory, treasury, jobs, executor),
    }


def _keepers(
    given: Given,
    inventory: Inventory,
    network: Ports,
    clock: Clock,
    jobs: Jobs,
    treasury: Treasury,
    teardown: Teardown,
) -> tuple[Adopter, Repairs, Restoration, Sweeper]:
    """What keeps the inventory as the network is."""
    signer, messages, market, hosts = network.signer, network.messages, network.market, network.hosts
    adopter = Adopter(inventory, market, signer, clock)
    repairs = Repairs(inventory, messages, hosts, signer, clock, jobs, adopter=adopter, teardown=teardown)
    restoration = Restoration(inventory, messages, market, signer, clock, given.counter, repairs, treasury)
    sweeper = Sweeper(
        inventory,
        messages,
        signer,
        clock,
        jobs,
        repairs,
        restoration,
        given.installation,
        given.orphan_grace_s,
    )
    return adopter, repairs, restoration, sweeper


def _guard(services: Services, messages: Messages) -> None:
    """What stands in the way of creates and extensions, and is told with every answer."""
    restoration = services.restoration
    services.provisioner.guests = services.inside.guests
    services.provisioner.born = services.setup.begin
    services.provisioner.gates.append(restoration.check)
    services.extender.gates.append(restoration.check)
    services.adoption.gates.append(restoration.check)
    services.extender.ready = services.adoption.ready = restoration.looked
    services.reaper.spares = services.idleness.spares = restoration.spares
    services.sweeper.alarm = services.freezes.freeze
    restoration.voids.append(services.approvals.void_all)
    services.approvals.freeze = services.freezes.freeze
    services.figures["approvals"] = services.approvals.figures
    services.notices.append(restoration.alerts)
    delegation = Delegation(
        services.inventory,
        messages,
        services.signer,
        services.clock,
        services.treasury,
        services.teardown,
    )
    services.provisioner.gates.append(delegation.check)
    services.sweeper.before.append(delegation.look)
    services.notices.append(delegation.alerts)
    services.figures["delegation"] = delegation.figures


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
