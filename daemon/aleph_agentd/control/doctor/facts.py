"""Everything the checks decide on. Facts that could not be had are None or empty: unknown, not well."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aleph_agentd.control.doctor.web import Reply
from aleph_agentd.control.installed import Installation

PROJECT_FILE = ".mcp.json"
"""A client's configuration for all who work in one project."""

Answer = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class MachineFacts:
    """What this machine says of itself."""

    uid: int = 1000
    user: str = "you"
    lingering: bool | None = None
    suspends: bool = False
    state_folder: str = ""
    free_bytes: int | None = None
    ssh_key: str | None = None
    """The first bytes of the public SSH key file; None when there is none to read."""
    ssh_private: bool = False
    """Whether the private SSH key lies beside it."""
    sockets: Mapping[str, tuple[int, int] | None] = field(default_factory=dict)
    """Path to (mode of the socket, mode of its directory); None where nothing lies."""
    mounts: str = ""
    """Our own mount namespace, to compare the daemon's with."""


@dataclass(frozen=True, kw_only=True)
class ClientFacts:
    """An MCP client's configuration file that exists."""

    client: str
    path: str
    trouble: str = ""
    programs: tuple[tuple[str, bool], ...] = ()
    """What it starts for aleph-agent, and whether that can be started."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """One look at everything."""

    now: datetime
    machine: MachineFacts = field(default_factory=MachineFacts)
    installation: Installation = field(default_factory=Installation)
    """What systemd would start for this user."""
    unseen: tuple[str, ...] = ()
    """Settings of this shell that the installed daemon does not get."""
    examined: Answer = field(default_factory=dict)
    """What `aleph_agentd.examination` told: config, settings, key, inventory."""
    hello: Answer | None = None
    """The running daemon's greeting: it lives, whatever else it can tell."""
    status: Answer | None = None
    """The running daemon's status; None when it does not answer."""
    away: str = ""
    """Why the daemon does not answer."""
    hosts: tuple[Reply, ...] = ()
    crn_list: Reply | None = None
    balance: Reply | None = None
    pricing: Reply | None = None
    security: Reply | None = None
    clients: tuple[ClientFacts, ...] = ()

    @property
    def settings(self) -> Answer | None:
        """The settings, if they can be read."""
        found: Answer | None = self.examined.get("settings")
        return found

    @property
    def address(self) -> str:
        """The key's address, or nothing."""
        return str((self.examined.get("key") or {}).get("address") or "")
