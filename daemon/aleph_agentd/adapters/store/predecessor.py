"""The inventory file of the predecessor: a JSON list of VMs, possibly cut off. What cannot be read is said."""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from ipaddress import ip_address
from typing import Any

from ...domain.model import Vm, VmState
from ...domain.money import SECONDS_PER_HOUR, UNITS_PER_CREDIT

LARGEST_FILE = 8 * 2**20
_MOST_GAPS = 100
_LONGEST_TEXT = 512
_USUAL_CU_HOUR = Decimal("1.425")
"""Credits per compute unit and hour where the file does not say."""
_DEAREST_HOUR = 100_000
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Imported:
    """What came from a predecessor's file: VMs, and one sentence for each thing that could not be read."""

    vms: tuple[Vm, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Defaults:
    """What stands in for fields that the file leaves out."""

    now: datetime
    max_ttl: timedelta
    payer: str = ""
    """The human in delegated mode; else each VM's signer pays."""
    signer: str = ""


def read(text: str, defaults: Defaults) -> Imported:
    """Every VM that can be read from a file of the predecessor."""
    objects, problems = _objects(text)
    vms: dict[str, Vm] = {}
    for number, found in enumerate(objects, 1):
        item = _Item(found, f"entry {number}", problems)
        if (vm := item.as_vm(defaults)) is not None:
            vms.setdefault(vm.item_hash, vm)
    return Imported(tuple(vms.values()), tuple(problems))


def _objects(text: str) -> tuple[list[dict[str, Any]], list[str]]:
    """All complete objects of a JSON list; behind a broken one, reading goes on at the next brace."""
    decoder, objects, problems = json.JSONDecoder(), list[dict[str, Any]](), list[str]()
    at = text.find("{")
    while at >= 0 and len(problems) < _MOST_GAPS:
        try:
            found, end = decoder.raw_decode(text, at)
            objects.append(found)
        except (ValueError, RecursionError) as error:
            problems.append(f"cannot be read from character {at}: {str(error)[:100]}")
            end = at + 1
        at = text.find("{", end)
    if not objects and text.strip() not in ("", "[]"):
        problems.append("holds no VM that can be read")
    return objects, problems


class _Item:
    """One entry; a field that does not fit is replaced, and named in `problems`."""

    def __init__(self, fields: dict[str, Any], name: str, problems: list[str]) -> None:
        self._fields, self._name, self._problems = fields, name, problems

    def as_vm(self, defaults: Defaults) -> Vm | None:
        """The VM as it runs under its lease; None when it cannot even be identified."""
        item_hash = self._text("item_hash").lower()
        if not _HASH.fullmatch(item_hash):
            self._problems.append(f"{self._name} has no item_hash: {str(self._fields)[:100]}")
            return None
        self._name = item_hash[:12]
        units = self._whole("compute_units", 1, 1024)
        signer = self._text("signing_address") or defaults.signer
        begun = min(self._instant("created_at", defaults.now), defaults.now)
        return Vm(
            item_hash=item_hash,
            lease_id=f"import-{item_hash[:16]}",
            create_id=f"import-{item_hash[:16]}",
            name=self._text("name") or f"imported-{item_hash[:8]}",
            purpose=self._text("purpose"),
            state=VmState.RUNNING,
            cause="imported from the predecessor's inventory",
            payer=defaults.payer or signer,
            signer=signer,
            crn_hash=self._text("crn_hash"),
            crn_url=self._text("crn_url"),
            compute_units=units,
            vcpus=units,
            memory_mib=2048 * units,
            disk_mib=20480 * units,
            os_image="",
            rate=self._rate(units),
            created_at=begun,
            expires_at=self._instant("ttl_expires_at", defaults.now + defaults.max_ttl),
            broadcast_at=begun,
            processed_at=begun,
            notified_at=begun,
            running_at=begun,
            host_ipv4=self._address("host_ipv4") or self._address("ipv4_host"),
            ssh_port=self._whole("ssh_port", 0, 65535) or self._whole("ssh_port_mapped", 0, 65535),
            ipv6=self._address("ipv6"),
        )

    def _text(self, key: str) -> str:
        value = self._fields.get(key)
        if value is None:
            return ""
        if (
            isinstance(value, str)
            and len(value) <= _LONGEST_TEXT
            and (value.isprintable() or key == "purpose")
        ):
            return value
        self._bad(key, value)
        return ""

    def _whole(self, key: str, default: int, most: int) -> int:
        value = self._fields.get(key)
        if value is None:
            return default
        if type(value) is int and 0 < value <= most:
            return value
        self._bad(key, value)
        return default

    def _instant(self, key: str, default: datetime) -> datetime:
        value = self._fields.get(key)
        if value is None:
            return default
        try:
            at = datetime.fromisoformat(value)
            return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        except (TypeError, ValueError, OverflowError):
            self._bad(key, value)
            return default

    def _address(self, key: str) -> str:
        value = self._text(key)
        try:
            return str(ip_address(value)) if value else ""
        except ValueError:
            self._bad(key, value)
            return ""

    def _rate(self, compute_units: int) -> Decimal:
        """Units per second."""
        value = self._fields.get("hourly_cost", self._fields.get("estimated_hourly_cost"))
        try:
            hourly = Decimal(str(value))
        except InvalidOperation:
            hourly = Decimal("NaN")
        if not hourly.is_finite() or not 0 < hourly < _DEAREST_HOUR:
            self._bad("hourly_cost", value)
            hourly = _USUAL_CU_HOUR * compute_units
        return hourly * UNITS_PER_CREDIT / SECONDS_PER_HOUR

    def _bad(self, key: str, value: object) -> None:
        self._problems.append(f"{self._name}: {key} is {str(value)[:60]!r}; a default stands in for it")
