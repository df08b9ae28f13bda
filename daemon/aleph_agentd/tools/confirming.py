"""A yes to exactly these VMs: a token that only this daemon can make, for one session and one set of leases."""

import hashlib
import hmac
import secrets
from collections.abc import Iterable

from ..domain.errors import Conflict
from ..domain.model import Vm
from .base import Call

_SECRET = secrets.token_bytes(32)


def token_for(call: Call, what: str, vms: Iterable[Vm]) -> str:
    """It changes with the session, the deed, the VMs, and each extension of one of them."""
    leases = sorted(f"{vm.item_hash}:{vm.lease_version}" for vm in vms)
    text = "\0".join((what, call.caller.session, *leases))
    return hmac.new(_SECRET, text.encode(), hashlib.sha256).hexdigest()[:16]


def check_token(call: Call, what: str, vms: Iterable[Vm], token: str) -> None:
    """Raises Conflict unless the token was given for exactly this."""
    if not hmac.compare_digest(token_for(call, what, vms).encode(), token.encode()):
        raise Conflict(
            "The token was not given for exactly these VMs as they are now.",
            "Call again without token, show the list, and confirm with the hashes and the token of that answer.",
            code="not_confirmed",
        )
