"""The owner's limits as settings: the `[policy]` table of config.toml, or the environment."""

from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from ..domain.limits import Limits
from .config_projects import Projects
from .config_sources import PREFIX
from .config_values import (
    Amount,
    Count,
    CrnHashes,
    Hours,
    Names,
    OptionalAmount,
    OptionalCount,
    OptionalWhole,
    Percent,
)

_DEFAULTS = Limits()


class Policy(BaseSettings):
    """The owner's limits: the `[policy]` table of config.toml, reread on SIGHUP."""

    # Defaults are in units already, and are not to be read as credits again: validate_default.
    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid", validate_default=False
    )

    max_concurrent_vms: Count = Field(
        _DEFAULTS.max_concurrent_vms, description="How many VMs may be live at once."
    )
    default_ttl_hours: Hours = Field(
        _DEFAULTS.default_ttl_hours, description="The lease of a create that names none."
    )
    max_ttl_hours: Hours = Field(
        _DEFAULTS.max_ttl_hours, description="The longest whole life of a VM, extensions included."
    )
    balance_guard_percent: Percent = Field(
        _DEFAULTS.balance_guard_percent,
        description="The part of the free balance that one request may cost.",
    )
    cost_threshold: Amount = Field(
        _DEFAULTS.cost_threshold_units, description="Above this estimate a create must be confirmed."
    )
    max_session_spend: OptionalAmount = Field(
        _DEFAULTS.max_session_spend_units, description="What one session may spend and reserve."
    )
    max_daily_spend: OptionalAmount = Field(
        _DEFAULTS.max_daily_spend_units, description="What may be spent in 24 hours, open leases included."
    )
    max_hourly_burn: OptionalAmount = Field(
        _DEFAULTS.max_hourly_burn_units, description="What all live VMs together may cost per hour."
    )
    min_balance: OptionalAmount = Field(
        _DEFAULTS.min_balance_units, description="What must be left of the balance at worst."
    )
    human_approval_threshold: OptionalAmount = Field(
        _DEFAULTS.human_approval_threshold_units, description="Above this worst case a human decides."
    )
    max_creates_per_hour: Count = Field(
        _DEFAULTS.max_creates_per_hour, description="How many creates may be tried per hour."
    )
    allowed_os_images: Names = Field(None, description="The only images that agents may use.")
    allowed_crns: CrnHashes = Field(None, description="The only CRNs that agents may use, by hash.")
    accept_terms: Names = Field(None, description="Terms of CRNs, by hash, that are accepted for all agents.")
    max_compute_units: OptionalCount = Field(None, description="The largest VM, in compute units.")
    max_extensions: OptionalWhole = Field(None, description="How often one lease may be extended.")
    teardown_below_runway_minutes: OptionalCount = Field(
        None, description="When the balance lasts less, the VM whose lease ends next goes first."
    )
    projects: Projects = Field(default_factory=dict, description="Sub-budgets by project directory.")

    approval_by_client: bool = Field(
        _DEFAULTS.approval_by_client,
        description="Let the answer of an MCP client to a question count as a human's approval.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over what is given: the file's content."""
        return env_settings, init_settings

    @model_validator(mode="after")
    def _ttl_fits(self) -> Self:
        if self.default_ttl_hours > self.max_ttl_hours:
            raise ValueError(
                f"default_ttl_hours ({self.default_ttl_hours:g}) is more than max_ttl_hours ({self.max_ttl_hours:g})"
            )
        return self

    @property
    def limits(self) -> Limits:
        """The same numbers as the policy reads them."""
        values = {name: getattr(self, name) for name in Policy.model_fields}
        values["projects"] = {path: budget.limits for path, budget in self.projects.items()}
        known = Limits.__dataclass_fields__
        return Limits(**{name if name in known else f"{name}_units": value for name, value in values.items()})
