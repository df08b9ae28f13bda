"""The `[projects."/path"]` tables of config.toml: sub-budgets by the client's project directory."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict

from ..domain.caller import SessionLimits
from ..domain.projects import directory
from .config_values import (
    CrnHashes,
    Names,
    OptionalAmount,
    OptionalCount,
    OptionalHours,
    OptionalPercent,
    OptionalWhole,
    absolute_path,
)


class Budget(BaseModel):
    """What one project may do at most; what is left out, or is looser, is the owner's for all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_concurrent_vms: OptionalWhole = None
    max_daily_spend: OptionalAmount = None
    max_hourly_burn: OptionalAmount = None
    max_creates_per_hour: OptionalWhole = None
    max_session_spend: OptionalAmount = None
    max_compute_units: OptionalCount = None
    max_ttl_hours: OptionalHours = None
    default_ttl_hours: OptionalHours = None
    max_extensions: OptionalWhole = None
    cost_threshold: OptionalAmount = None
    human_approval_threshold: OptionalAmount = None
    balance_guard_percent: OptionalPercent = None
    min_balance: OptionalAmount = None
    allowed_os_images: Names = None
    allowed_crns: CrnHashes = None

    @property
    def limits(self) -> SessionLimits:
        """The same numbers as the policy reads them."""
        known = SessionLimits.__dataclass_fields__
        values = {name: getattr(self, name) for name in Budget.model_fields}
        return SessionLimits(**{n if n in known else f"{n}_units": value for n, value in values.items()})


def _directory(value: object) -> str:
    return directory(str(absolute_path(value)))


Projects = dict[Annotated[str, BeforeValidator(_directory)], Budget]
