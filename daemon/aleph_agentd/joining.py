"""The services over their adapters: what the composition root joins."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

from .adapters.aleph.network import Network
from .adapters.config import Settings
from .adapters.desktop import Desktop
from .adapters.installation import installation_id
from .adapters.ssh.guests import SshGuests
from .adapters.start_counter import StartFile
from .domain.clock import Clock
from .domain.names import check_ssh_pubkey
from .ports import Inventory, Messages, Timers
from .services.adopter import Adopter
from .services.approvals import Approvals
from .services.approved import Executor
from .services.auditor import Auditor
from .services.birth import Birth
from .services.core import Services
from .services.delegation import Delegation
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
from .services.restoration import Restoration
from .services.retention import Retention
from .services.sweeper import Sweeper
from .services.teardown import Teardown
from .services.treasury import Treasury
from .services.witness import WitnessedHosts, WitnessedMessages, WitnessedSigner

_KEY_BYTES = 4096


def witnessed(network: Network, auditor: Auditor) -> Network:
    """The same network; what is signed and what is sent leaves an entry in the audit log."""
    return replace(
        network,
        signer=WitnessedSigner(network.signer, auditor),
        messages=WitnessedMessages(network.messages, auditor),
        hosts=WitnessedHosts(network.hosts, auditor),
    )


def join(
    settings: Settings, inventory: Inventory, network: Network, timers: Timers, clock: Clock, auditor: Auditor
) -> Services:
    """The services over their adapters."""
    signer, messages, market, hosts = network.signer, network.messages, network.market, network.hosts
    jobs, freezes, here = Jobs(), Freezes(inventory, clock), installation_id(settings.database_path.parent)
    treasury = Treasury(inventory, market, signer, clock, settings.limits, settings.human_address or "")
    teardown = Teardown(inventory, messages, hosts, market, signer, clock, jobs)
    adopter, repairs, restoration, sweeper = _keepers(
        settings, inventory, network, clock, jobs, treasury, teardown
    )
    planner = Planner(treasury, market, _dice(), lambda: sweeper.findings.others_live)
    birth = Birth(inventory, messages, hosts, clock, freezes)
    provisioner = Provisioner(
        inventory, signer, market, treasury, planner, birth, teardown, clock, jobs, freezes, here
    )
    extender = Extender(inventory, treasury, clock, freezes)
    services = Services(
        inventory=inventory,
        signer=signer,
        market=market,
        hosts=hosts,
        clock=clock,
        jobs=jobs,
        auditor=auditor,
        treasury=treasury,
        planner=planner,
        provisioner=provisioner,
        extender=extender,
        teardown=teardown,
        reaper=Reaper(inventory, teardown, timers, clock),
        sweeper=sweeper,
        adopter=adopter,
        repairs=repairs,
        freezes=freezes,
        panic=Panic(
            inventory, messages, signer, clock, jobs, adopter=adopter, teardown=teardown, freezes=freezes
        ),
        restoration=restoration,
        retention=Retention(inventory, messages, clock, teardown, restoration),
        publisher=Publisher(inventory, messages, signer, clock, jobs),
        approvals=_approvals(inventory, treasury, planner, provisioner, extender, jobs),
        **watch_money(inventory, market, treasury, teardown, clock, freezes),
        **_facts(settings),
    )
    guard(services, messages)
    services.provisioner.guests = SshGuests()
    return services


def _facts(settings: Settings) -> dict[str, Any]:
    """What services tell and use of the settings."""
    pubkey, trouble = read_pubkey(settings.ssh_pubkey_path)
    return {
        "default_os_image": settings.default_os_image,
        "ssh_pubkey": pubkey,
        "ssh_pubkey_trouble": trouble,
        "network": settings.api_hosts[0] if settings.allow_local else settings.network,
    }


def _approvals(
    inventory: Inventory,
    treasury: Treasury,
    planner: Planner,
    provisioner: Provisioner,
    extender: Extender,
    jobs: Jobs,
) -> Approvals:
    executor = Executor(inventory, treasury, planner, provisioner, extender, treasury.clock)
    return Approvals(inventory, treasury, jobs, executor)


def _dice() -> random.Random:
    return random.Random()  # noqa: S311 - spreads load


def _keepers(
    settings: Settings,
    inventory: Inventory,
    network: Network,
    clock: Clock,
    jobs: Jobs,
    treasury: Treasury,
    teardown: Teardown,
) -> tuple[Adopter, Repairs, Restoration, Sweeper]:
    """What keeps the inventory as the network is."""
    signer, messages, market, hosts = network.signer, network.messages, network.market, network.hosts
    adopter = Adopter(inventory, market, signer, clock)
    repairs = Repairs(inventory, messages, hosts, signer, clock, jobs, adopter=adopter, teardown=teardown)
    counter = StartFile(settings.database_path)
    restoration = Restoration(inventory, messages, market, signer, clock, counter, repairs, treasury)
    sweeper = Sweeper(
        inventory,
        messages,
        signer,
        clock,
        jobs,
        repairs,
        restoration,
        installation_id(settings.database_path.parent),
        settings.orphan_grace_s,
    )
    return adopter, repairs, restoration, sweeper


def guard(services: Services, messages: Messages) -> None:
    """What stands in the way of creates and extensions, and is told with every answer."""
    restoration = services.restoration
    services.provisioner.gates.append(restoration.check)
    services.extender.gates.append(restoration.check)
    services.extender.ready = restoration.looked
    services.reaper.spares = restoration.spares
    services.sweeper.alarm = services.freezes.freeze
    restoration.voids.append(services.approvals.void_all)
    services.approvals.freeze = services.freezes.freeze
    services.approvals.tell = Desktop("aleph-agentd").tell
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
