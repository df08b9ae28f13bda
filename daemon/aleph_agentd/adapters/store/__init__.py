"""The inventory in a database; the only importer of SQLAlchemy."""

from ...ports import StoreFull, StoreTrouble
from .backups import SqlBackups
from .engine import server_url, sqlite_url
from .errors import StoreBroken, StoreNewer
from .inventory import SqlInventory
from .predecessor import Defaults, Imported

__all__ = [
    "SqlInventory",
    "SqlBackups",
    "Defaults",
    "Imported",
    "StoreBroken",
    "StoreFull",
    "StoreNewer",
    "StoreTrouble",
    "server_url",
    "sqlite_url",
]
