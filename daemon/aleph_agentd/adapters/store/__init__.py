"""The inventory in a database; the only importer of SQLAlchemy."""

from .engine import sqlite_url
from .errors import StoreBroken, StoreFull, StoreNewer, StoreTrouble
from .inventory import SqlInventory

__all__ = ["SqlInventory", "StoreBroken", "StoreFull", "StoreNewer", "StoreTrouble", "sqlite_url"]
