"""Taking over the predecessor's inventory: once per file, which is left as it is."""

from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, insert, select

from ...domain.model import Vm
from ...domain.money import exact_s
from ...domain.policy import reserve_units
from ...ports import StoreTrouble
from . import events, ledger, vms
from .predecessor import LARGEST_FILE, Defaults, Imported, read
from .schema import meta


def load(path: Path) -> str | None:
    """The text of the file; None when there is none. Raises StoreTrouble."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreTrouble(f"the predecessor's inventory {path} cannot be read: {error.strerror}") from error
    if len(content) > LARGEST_FILE:
        raise StoreTrouble(f"the predecessor's inventory {path} is larger than {LARGEST_FILE} bytes")
    return content.decode("utf-8", "replace")


def take_over(connection: Connection, path: Path, text: str, defaults: Defaults) -> Imported | None:
    """Write the rows that are not known yet; None when this file was taken over before."""
    key = f"imported:{path}"
    if connection.execute(select(meta.c.key).where(meta.c.key == key)).first():
        return None
    found = read(text, defaults)
    known = vms.known(connection, [vm.item_hash for vm in found.vms])
    fresh = tuple(vm for vm in found.vms if vm.item_hash not in known)
    for vm in fresh:
        _add(connection, vm, defaults.now)
    for problem in found.problems:
        events.record(connection, "import_problem", "", f"{path}: {problem}", defaults.now)
    connection.execute(insert(meta).values(key=key, value=defaults.now.isoformat()))
    return Imported(fresh, found.problems)


def _add(connection: Connection, vm: Vm, now: datetime) -> None:
    vms.add(connection, vm)
    life = exact_s(max(vm.expires_at, now) - vm.created_at)
    ledger.reserve(connection, vm, vm.session, reserve_units(vm.hourly_units, life), "imported", now)
    events.record(connection, "imported", vm.item_hash, vm.name, now)
