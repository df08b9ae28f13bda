"""How single settings are written: amounts, hours, lists, paths, addresses of all kinds."""

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from ..domain.limits import LONGEST_LEASE_HOURS
from ..domain.money import parse_amount
from .addresses import checksummed

_OFF = frozenset({"off", "none"})
_HASH = re.compile(r"[0-9a-f]{64}")
_IMAGE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")
_MOST_ITEMS = 1000


def is_loopback(url: str) -> bool:
    """Whether a URL names this very machine."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _off_or_amount(value: Any) -> Any:
    return None if _is_off(value) else parse_amount(value)


def _off_or_same(value: Any) -> Any:
    return None if _is_off(value) else value


def _is_off(value: Any) -> bool:
    return value is None or str(value).strip().lower() in _OFF


def _items(value: Any) -> tuple[str, ...]:
    """`a, b` or a list of strings."""
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        raise ValueError("write names with commas between them")
    if len(items) > _MOST_ITEMS:
        raise ValueError(f"at most {_MOST_ITEMS} names")
    return tuple(item.strip() for item in items if item.strip())


def _names(value: Any) -> frozenset[str] | None:
    """An empty list would forbid everything or allow everything: it is refused as unclear."""
    if _is_off(value):
        return None
    if not (items := _items(value)):
        raise ValueError("write at least one name, or `off`")
    return frozenset(items)


def _crns(value: Any) -> frozenset[str] | None:
    names = _names(value)
    if names and not all(_HASH.fullmatch(name) for name in names):
        raise ValueError("a CRN is named by its hash: 64 hexadecimal digits in lower case")
    return names


def _images(value: Any) -> dict[str, str]:
    pairs = (
        value.items() if isinstance(value, dict) else [tuple(i.partition("=")[::2]) for i in _items(value)]
    )
    images = {str(name).strip(): str(rootfs).strip() for name, rootfs in pairs}
    if not all(_IMAGE_NAME.fullmatch(name) and _HASH.fullmatch(rootfs) for name, rootfs in images.items()):
        raise ValueError("write name=hash,… with the 64 hexadecimal digits of each rootfs")
    return images


def absolute_path(value: Any) -> Any:
    """A path that means the same wherever it is read. Raises ValueError."""
    if not isinstance(value, str | Path):
        return value
    try:
        path = Path(value).expanduser()
    except RuntimeError as error:
        raise ValueError(str(error)) from None
    if not path.is_absolute() or "\0" in str(path):
        # The daemon works in `/`: a relative path would mean something else than where it was written.
        raise ValueError("write an absolute path, or one that starts with ~/")
    return path


def _url(value: Any) -> str:
    url = str(value).strip().rstrip("/")
    parts = urlsplit(url)
    sound = parts.scheme in ("http", "https") and parts.hostname and url.isprintable() and " " not in url
    if not sound or parts.username or parts.fragment:
        raise ValueError("write a URL such as https://api2.aleph.im, without a user in it")
    return url


def _urls(value: Any) -> tuple[str, ...]:
    return tuple(_url(item) for item in _items(value))


def _webhook_url(value: Any) -> str:
    """As it is written: many services keep a token in it."""
    url = _url(value)
    if urlsplit(url).scheme != "https" and not is_loopback(url):
        raise ValueError("write an https URL: http is for this machine only")
    return str(value).strip()


Amount = Annotated[int, BeforeValidator(parse_amount)]
OptionalAmount = Annotated[int | None, BeforeValidator(_off_or_amount)]
OptionalCount = Annotated[int | None, Field(ge=1, le=10_000), BeforeValidator(_off_or_same)]
Count = Annotated[int, Field(ge=0, le=10_000)]
Hours = Annotated[float, Field(gt=0, le=LONGEST_LEASE_HOURS, allow_inf_nan=False)]
Percent = Annotated[int, Field(ge=1, le=100)]
OptionalWhole = Annotated[int | None, Field(ge=0, le=10_000), BeforeValidator(_off_or_same)]
OptionalPort = Annotated[int | None, Field(ge=1, le=65_535), BeforeValidator(_off_or_same)]
OptionalMib = Annotated[int | None, Field(ge=1, le=64), BeforeValidator(_off_or_same)]
Mib = Annotated[int, Field(ge=1, le=1_000_000)]
OptionalPercent = Annotated[int | None, Field(ge=1, le=100), BeforeValidator(_off_or_same)]
OptionalHours = Annotated[
    float | None,
    Field(gt=0, le=LONGEST_LEASE_HOURS, allow_inf_nan=False),
    BeforeValidator(_off_or_same),
]
Seconds = Annotated[float, Field(ge=1, le=86_400, allow_inf_nan=False)]
OptionalSeconds = Annotated[
    float | None, Field(ge=1, le=86_400, allow_inf_nan=False), BeforeValidator(_off_or_same)
]
Minutes = Annotated[float, Field(ge=1, le=10_080, allow_inf_nan=False)]
Names = Annotated[frozenset[str] | None, NoDecode, BeforeValidator(_names)]
CrnHashes = Annotated[frozenset[str] | None, NoDecode, BeforeValidator(_crns)]
Images = Annotated[dict[str, str], NoDecode, BeforeValidator(_images)]
AbsolutePath = Annotated[Path, BeforeValidator(absolute_path)]
Url = Annotated[str, BeforeValidator(_url)]
WebhookUrl = Annotated[str, BeforeValidator(_webhook_url)]
Urls = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_urls)]
Address = Annotated[str, BeforeValidator(lambda value: checksummed(str(value)))]
