"""The daemon's settings: one frozen object, from the environment, `config.toml` and defaults, in that order."""

from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, model_validator

from ..domain.limits import Limits
from ..domain.money import show
from ..domain.session_limits import DaemonSettings
from .config_policy import Policy
from .config_sources import (
    SECRETS,
    ConfigError,
    config_path,
    first_problem,
    key_path,
    read,
    refuse_unknown_variables,
    state_dir,
    without_keys,
)
from .config_templates import SetupTemplates
from .config_values import (
    AbsolutePath,
    Address,
    Count,
    Images,
    Mib,
    Minutes,
    OptionalMib,
    OptionalPort,
    OptionalSeconds,
    Seconds,
    Url,
    Urls,
    WebhookUrl,
    is_loopback,
)

__all__ = ["ConfigError", "Settings"]

BUILT_IN_IMAGES = ("ubuntu22", "ubuntu24", "debian12")

_MAINNET = {
    "api_hosts": "https://api2.aleph.im",
    "crn_list_url": "https://crns-list.aleph.sh/crns.json",
    "aggregate_address": "0xFba561a84A537fCaa567bb7A2257e7142701ae2A",
}
_DEVNET_HOST = "http://127.0.0.1:4024"
_DEVNET_AGGREGATES = "0xfFAf2FeB770292F72B7D7f2133008A21d793a05D"


class Settings(Policy):
    """Everything that the owner can set."""

    human_address: Address | None = Field(None, description="Who pays, in delegated mode.")
    private_key_path: AbsolutePath = Field(
        default_factory=key_path,
        description="The key that signs; never created, never written.",
    )
    ssh_pubkey_path: AbsolutePath = Field(
        default_factory=lambda: Path.home() / ".ssh/id_ed25519.pub",
        description="The SSH key that VMs let in when a create names none.",
    )
    inventory_path: AbsolutePath = Field(
        default_factory=lambda: state_dir() / "inventory.db",
        description="The database; a .json file is imported once, and the database lies beside it.",
    )
    database_url: str | None = Field(
        None, description="A PostgreSQL database instead of the file: postgresql+psycopg://…"
    )
    database_password_path: AbsolutePath | None = Field(
        None, description="The file with its password; without it systemd's credential, or the URL's own."
    )
    escrow_dir: AbsolutePath | None = Field(
        None, description="Where the kill switch of every live VM is kept up to date, for reap-escrow."
    )
    save_mib: OptionalMib = Field(10, description="MiB saved of one VM before its end; off: nothing is.")
    save_total_mib: Mib = Field(200, description="MiB that all saved files together may take.")
    save_days: Count = Field(30, description="After how many days saved files are removed.")
    webhook_url: WebhookUrl | None = Field(
        None, description="Who is told of ends, alarms and what needs the owner, by a signed POST."
    )
    webhook_secret_path: AbsolutePath | None = Field(
        None, description="The file with the secret that signs them; without it systemd's credential."
    )
    default_os_image: str = Field("ubuntu22", description="The image of a create that names none.")
    os_images: Images = Field(default_factory=dict, description="More images, as name=hash,…")
    setup_templates: SetupTemplates = Field(
        default_factory=dict, description="Start-up scripts that a create may ask for by name: @name."
    )
    sweep_interval_s: Seconds = Field(300, description="Seconds between two comparisons with the network.")
    orphan_grace_s: Seconds = Field(900, description="How old an unknown instance must be to be reported.")
    health_interval_s: OptionalSeconds = Field(
        60, description="Seconds between two looks at the running VMs; off: never."
    )
    unreachable_minutes: Minutes = Field(
        30, description="After how long without an answer of its SSH a VM is called unreachable."
    )
    teardown_unreachable: bool = Field(
        False, description="End unreachable VMs while others answer; never many at once."
    )
    metrics_port: OptionalPort = Field(
        None, description="Where on this machine Prometheus may read the figures; off: nowhere."
    )
    network: Literal["mainnet", "devnet"] = Field(
        "mainnet", description="Which network; devnet is the local one."
    )
    api_host: Url | None = Field(None, description="The CCN, instead of the network's own.")
    api_hosts: Urls = Field((), description="Several CCNs, the first one first.")
    crn_list_url: Url = Field("", description="The CRN list, instead of the network's own.")
    aggregate_address: Address = Field("", description="The owner of the pricing aggregate.")

    @classmethod
    def load(cls) -> Self:
        """The settings of this process. Raises ConfigError."""
        refuse_unknown_variables(cls.model_fields.keys() - {"projects", "setup_templates"})
        path = config_path()
        content = read(
            path,
            general=cls.model_fields.keys() - Policy.model_fields,
            policy=Policy.model_fields.keys() - {"projects"},
            switches={name for name, field in cls.model_fields.items() if field.annotation is bool},
        )
        try:
            return cls(**content)
        except ValidationError as error:
            raise ConfigError(first_problem(error, path)) from None

    @model_validator(mode="before")
    @classmethod
    def _fill_in_the_network(cls, values: dict[str, Any]) -> dict[str, Any]:
        network = dict(_MAINNET)
        if values.get("network") == "devnet":
            host = str(values.get("api_host") or _DEVNET_HOST).rstrip("/")
            network |= {
                "api_hosts": host,
                "crn_list_url": f"{host}/crns.json",
                "aggregate_address": _DEVNET_AGGREGATES,
            }
        if values.get("api_host"):
            network["api_hosts"] = values["api_host"]
        return network | {name: value for name, value in values.items() if value not in (None, "")}

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.api_host and self.api_hosts[0] != self.api_host:
            raise ValueError("api_host and api_hosts are both set: keep one of them")
        for url in () if self.allow_local else (*self.api_hosts, self.crn_list_url):
            if urlsplit(url).scheme != "https":
                raise ValueError(
                    f"{url} is not https: only network = devnet or an API host on this machine may be"
                )
        images = (*BUILT_IN_IMAGES, *self.os_images)
        if self.default_os_image not in images:
            raise ValueError(
                f"default_os_image is {without_keys(self.default_os_image)[:40]!r}; there are {', '.join(images)}"
            )
        return self

    @property
    def allow_local(self) -> bool:
        """Whether http and addresses of this machine are acceptable."""
        return self.network == "devnet" or is_loopback(self.api_hosts[0])

    @property
    def state_dir(self) -> Path:
        """Where what must outlive the daemon lies, beside the inventory of the default settings."""
        return state_dir()

    @property
    def database_path(self) -> Path:
        """The SQLite file, when `database_url` names no other database."""
        path = self.inventory_path
        return path.with_suffix(".db") if path.suffix == ".json" else path

    @property
    def predecessor_path(self) -> Path:
        """The predecessor's inventory, which may not exist."""
        legacy = Path.home() / ".aleph-agent-inventory.json"
        return self.inventory_path if self.inventory_path.suffix == ".json" else legacy

    def for_sessions(self) -> DaemonSettings:
        """What the environment of a shim is compared with."""
        inventories = {str(self.inventory_path), str(self.database_path)}
        return DaemonSettings(
            limits=self.limits,
            same={
                "HUMAN_ADDRESS": frozenset({self.human_address or ""}),
                "PRIVATE_KEY_PATH": frozenset({str(self.private_key_path)}),
                "INVENTORY_PATH": frozenset(inventories),
                "DATABASE_URL": frozenset({self.database_url or ""}),
                "NETWORK": frozenset({self.network}),
                "API_HOST": frozenset(self.api_hosts[:1]),
                "API_HOSTS": frozenset({",".join(self.api_hosts)}),
                "CRN_LIST_URL": frozenset({self.crn_list_url}),
                "AGGREGATE_ADDRESS": frozenset({self.aggregate_address}),
            },
            config_file=str(config_path()),
            home=str(Path.home()),
        )

    def describe(self) -> str:
        """One line for the log; secrets are left out."""
        shown = {name: _shown(name, getattr(self, name)) for name in Settings.model_fields}
        return " ".join(f"{name}={value}" for name, value in sorted(shown.items()))


_AMOUNTS = frozenset(n for n in Policy.model_fields if f"{n}_units" in Limits.__dataclass_fields__)


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "off"
    if name in SECRETS:
        return "(set)"
    if name in _AMOUNTS:
        return show(value).replace(" ", "")
    if isinstance(value, frozenset | tuple | dict):
        return ",".join(sorted(value)) if isinstance(value, frozenset) else ",".join(value)
    return str(value)
