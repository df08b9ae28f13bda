"""Our stamp in an INSTANCE's metadata: how it is written, and when it is believed."""

import re
import sys
from typing import Any

from ...domain.clock import iso
from ...domain.model import Stamp
from .checked import instant

TAG = "aleph-agentd"
_WORD = re.compile(r"[A-Za-z0-9._-]{1,64}")


def write_stamp(stamp: Stamp) -> dict[str, Any]:
    """The metadata that carries a stamp: public for ever, so nothing else goes in (rules.md 10)."""
    metadata = {
        TAG: stamp.installation,
        "lease": stamp.lease_id,
        "expires_at": iso(stamp.expires_at),
        "tags": [TAG],
    }
    if _read(metadata) is None:
        raise ValueError(
            "an installation and a lease id are 1 to 64 letters, digits, dots, dashes or underscores"
        )
    return metadata


def read_stamp(metadata: Any) -> Stamp | None:
    """The stamp, or nothing when there is none or it is malformed. The caller has checked the sender."""
    try:
        return _read(metadata)
    except ValueError:
        return None


def _read(metadata: Any) -> Stamp | None:
    if not isinstance(metadata, dict):
        return None
    installation, lease = metadata.get(TAG), metadata.get("lease")
    if not (isinstance(installation, str) and isinstance(lease, str)):
        return None
    if not (_WORD.fullmatch(installation) and _WORD.fullmatch(lease)):
        return None
    return Stamp(sys.intern(installation), lease, instant(metadata.get("expires_at")))
