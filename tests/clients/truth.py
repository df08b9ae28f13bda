"""What devnet knows about one conversation, to hold the client's words against."""

import json
import urllib.request
from dataclasses import dataclass, field
from typing import Any

from aleph_devnet.network import IMAGES
from support.daemon import DaemonProcess

UNITS_PER_CREDIT = 10_000
FIRST_BYTES = 4


@dataclass
class Truth:
    """The network from just before a conversation on. `look` is called while its VMs are there."""

    daemon: DaemonProcess
    known: set[str] = field(default_factory=set)
    looks: list[dict[str, Any]] = field(default_factory=list)
    """The network's state, each time that somebody looked."""
    places: dict[str, str] = field(default_factory=dict)
    """The SSH command of each VM, from what its CRN says."""
    files: dict[str, bytes] = field(default_factory=dict)
    """How each file in a VM's home begins, where guests have one on a disk."""

    def __post_init__(self) -> None:
        self.known = {message["item_hash"] for message in self.daemon.instances()}

    def look(self) -> None:
        """Remember what is there now."""
        self.looks.append(self.daemon.net.state())
        for crn in self.daemon.net.crns:
            for item_hash, vm in _read(f"{crn['url']}/v2/about/executions/list").items():
                ports = vm["networking"].get("mapped_ports") or {}
                if item_hash not in self.known and "22" in ports:
                    address, port = vm["networking"]["host_ipv4"], ports["22"]["host"]
                    self.places[item_hash] = f"ssh -p {port} root@{address}"
        for message in self.made:
            home = self.daemon.net.folder / "guests" / message["item_hash"]
            for path in home.rglob("*"):
                if path.is_file():
                    self.files[path.name] = path.read_bytes()[:FIRST_BYTES]

    @property
    def made(self) -> list[dict[str, Any]]:
        """The INSTANCE messages of the conversation."""
        return [message for message in self.daemon.instances() if message["item_hash"] not in self.known]

    @property
    def vm(self) -> dict[str, Any]:
        """The only VM that it made."""
        [message] = self.made
        return message

    @property
    def hash(self) -> str:
        """That VM's."""
        return str(self.vm["item_hash"])

    @property
    def host_name(self) -> str:
        """What that VM is called from within."""
        return self.hash[:16]

    @property
    def crns(self) -> list[dict[str, Any]]:
        """The CRN list."""
        return list(_read(self.daemon.net.crn_list_url)["crns"])

    @property
    def crn(self) -> dict[str, Any]:
        """The CRN of the only VM."""
        wanted = self.vm["content"]["requirements"]["node"]["node_hash"]
        return next(crn for crn in self.crns if crn["hash"] == wanted)

    @property
    def balance(self) -> float:
        """In credits."""
        return float(self.daemon.net.state()["balances"][self.daemon.address]) / UNITS_PER_CREDIT

    @property
    def price(self) -> float:
        """Credits per compute unit and hour, from the network's price list."""
        messages = self.daemon.net.state()["messages"]
        [prices] = [m["content"] for m in messages if m["content"].get("key") == "pricing"]
        units = prices["content"]["instance"]["price"]["compute_unit"]["credit"]
        return float(units) / UNITS_PER_CREDIT

    @property
    def charged(self) -> float:
        """Credits that the network took for the only VM."""
        charges = [one for one in self.daemon.net.state()["charges"] if one["item_hash"] == self.hash]
        return float(sum(one["units"] for one in charges)) / UNITS_PER_CREDIT

    @property
    def images(self) -> dict[str, str]:
        """The network's OS images, by name."""
        return IMAGES

    def running_at(self, look: int) -> set[str]:
        """The VMs that some CRN ran when somebody looked."""
        return {item_hash for crn in self.looks[look]["crns"].values() for item_hash in crn["vms"]}

    def expect_nothing_made(self) -> None:
        """Asked while no VM may have been made yet."""
        assert self.made == []

    def nothing_is_left(self) -> bool:
        """No VM, no bill, no disk."""
        guests = self.daemon.net.folder / "guests"
        homes = {path.name for path in guests.iterdir()} if guests.is_dir() else set()
        return self.daemon.leaves_nothing() and not homes & {one["item_hash"] for one in self.made}


def _read(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return dict(json.load(answer))
