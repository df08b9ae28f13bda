"""Facts out of answers that may say anything (rules.md 18). What makes no sense raises ValueError."""

import ipaddress
import json
import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import urlsplit

from ...ports import NetworkTrouble

_SHA256 = re.compile(r"[0-9a-f]{64}")
_ITEM_HASH = re.compile(r"[0-9a-f]{64}|Qm[1-9A-HJ-NP-Za-km-z]{44}|bafy[a-z2-7]{20,80}")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_PUBLIC_NAME = re.compile(rf"(?:{_LABEL}\.)+[a-z](?:[a-z0-9-]{{0,61}}[a-z0-9])?")
_LOCAL_NAMES = ("localhost", "local", "internal", "lan", "home", "arpa")
_MAX_URL = 200
_MAX_DIGITS = 60


@contextmanager
def making_sense(endpoint: str) -> Iterator[None]:
    """Turn what an unexpected shape raises into NetworkTrouble."""
    try:
        yield
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise NetworkTrouble(endpoint, f"an answer that makes no sense ({clean(error, 120)})") from error


def clean(text: object, limit: int = 80) -> str:
    """One printable line of at most `limit` characters: no control, bidi or other invisible ones."""
    head = str(text)[: limit * 4]
    visible = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in head)
    return " ".join(visible.split())[:limit]


def parse_json(body: bytes) -> Any:
    """JSON with exact decimals, and without NaN."""
    return json.loads(body, parse_float=Decimal, parse_constant=_no_constant)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


def mapping(value: Any) -> dict[str, Any]:
    """A JSON object."""
    if not isinstance(value, dict):
        raise ValueError(f"not an object: {clean(value, 40)}")
    return value


def listing(value: Any) -> list[Any]:
    """A JSON array."""
    if not isinstance(value, list):
        raise ValueError(f"not a list: {clean(value, 40)}")
    return value


def text(value: Any) -> str:
    """A JSON string, as it is."""
    if not isinstance(value, str):
        raise ValueError(f"not a text: {clean(value, 40)}")
    return value


def sha256(value: Any) -> str:
    """A SHA-256 in lower-case hex."""
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise ValueError(f"not a hash: {clean(value, 40)}")
    return value


def is_item_hash(value: str) -> bool:
    """Whether it has the form of a SHA-256 or an IPFS hash."""
    return bool(_ITEM_HASH.fullmatch(value))


def number(value: Any, at_least: int = 0, at_most: int = 10**18) -> Decimal:
    """A number, or a text of one, within bounds: huge exponents are refused before we compute with them."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ValueError(f"not a number: {clean(value, 40)}")
    if isinstance(value, str) and len(value) > _MAX_DIGITS:
        raise ValueError("not a number: too long")
    try:
        exact = Decimal(str(value))
    except InvalidOperation:
        raise ValueError(f"not a number: {clean(value, 40)}") from None
    if not exact.is_finite() or not at_least <= exact <= at_most or (exact and exact.adjusted() < -40):
        raise ValueError(f"out of bounds: {clean(value, 40)}")
    return exact


def whole(value: Any, at_least: int = 0, at_most: int = 10**18) -> int:
    """An integer within bounds."""
    if isinstance(value, bool) or not isinstance(value, int) or not at_least <= value <= at_most:
        raise ValueError(f"not an integer in bounds: {clean(value, 40)}")
    return value


def instant(value: Any) -> datetime:
    """An aware instant from ISO 8601."""
    at = datetime.fromisoformat(text(value))
    if at.tzinfo is None:
        raise ValueError(f"an instant without a zone: {clean(value, 40)}")
    return at


def address(value: Any, version: int, allow_local: bool) -> str:
    """An IP address of that version; empty unless it is sound and public (or local ones are allowed)."""
    try:
        found = ipaddress.ip_address(value) if isinstance(value, str) else None
    except ValueError:
        found = None
    # A scope may be any text: `2a01::1%;curl x|sh` is an address to Python.
    if found is None or getattr(found, "scope_id", None):
        return ""
    if found.version != version or not (allow_local or found.is_global):
        return ""
    return str(found)


def node_url(value: Any, allow_local: bool) -> str:
    """The base URL of a node: https to a public host; http and any host where local ones are allowed."""
    raw = text(value)
    if len(raw) > _MAX_URL or not raw.isascii() or not raw.isprintable():
        raise ValueError(f"not a URL: {clean(raw, 40)}")
    url = urlsplit(raw.strip())
    host = url.hostname or ""
    if url.scheme not in (("https", "http") if allow_local else ("https",)):
        raise ValueError(f"not https: {clean(raw, 60)}")
    if "@" in url.netloc or url.path.strip("/") or url.query or url.fragment:
        raise ValueError(f"more than a host: {clean(raw, 60)}")
    if not _is_host(host, allow_local):
        raise ValueError(f"not a public host: {clean(raw, 60)}")
    port = f":{url.port}" if url.port else ""
    return f"{url.scheme}://{f'[{host}]' if ':' in host else host}{port}"


def _is_host(host: str, allow_local: bool) -> bool:
    if address(host, 4, allow_local) or address(host, 6, allow_local):
        return True
    if allow_local and host == "localhost":
        return True
    return bool(_PUBLIC_NAME.fullmatch(host)) and (allow_local or host.rsplit(".", 1)[-1] not in _LOCAL_NAMES)
