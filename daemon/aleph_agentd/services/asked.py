"""A request that waits for a human, as it is kept: normalised, whole, and nothing that its session could change."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from ..domain.approvals import Approval
from ..domain.caller import Caller, Peer, SessionLimits
from .quotes import CreateRequest

CREATE, EXTEND, ADOPT = "create", "extend", "adopt"


@dataclass(frozen=True)
class ExtendRequest:
    """More time for one VM, from one version of its lease."""

    item_hash: str
    name: str
    hours: float
    lease_version: int


@dataclass(frozen=True)
class AdoptRequest:
    """A lease for a VM that only the network knows, from the moment on in which it is taken in."""

    item_hash: str
    name: str
    """The one that it gets; what it calls itself is its maker's claim."""
    hours: float


Request = CreateRequest | ExtendRequest | AdoptRequest
_KINDS: dict[str, type[Request]] = {CREATE: CreateRequest, EXTEND: ExtendRequest, ADOPT: AdoptRequest}


def encoded(request: Request, caller: Caller) -> str:
    """The request with the limits of its session, which hold when it is carried out as well."""
    limits = {
        name: sorted(value) if isinstance(value, frozenset) else value
        for name, value in vars(caller.limits).items()
        if value is not None
    }
    return json.dumps({"request": asdict(request), "limits": limits}, sort_keys=True)


def kind_of(request: Request) -> str:
    """How the table names it."""
    return next(kind for kind, form in _KINDS.items() if isinstance(request, form))


def fingerprint(kind: str, text: str) -> str:
    """The same for the same request only."""
    return hashlib.sha256(f"{kind}\0{text}".encode()).hexdigest()


def request_of(approval: Approval) -> Request:
    """What is to be carried out."""
    return _KINDS[approval.kind](**json.loads(approval.request)["request"])


def caller_of(approval: Approval) -> Caller:
    """On whose behalf."""
    kept = json.loads(approval.request)["limits"]
    limits: dict[str, Any] = {name: frozenset(v) if isinstance(v, list) else v for name, v in kept.items()}
    return Caller(
        session=approval.session,
        peer=Peer(approval.uid, approval.pid),
        project=approval.project,
        client=approval.client,
        limits=SessionLimits(**limits),
        parents=approval.parents,
    )


def words(approval: Approval) -> str:
    """What is asked for, for people."""
    request = request_of(approval)
    if isinstance(request, ExtendRequest):
        return f"extend {request.name} ({request.item_hash[:12]}) by {request.hours:g} h"
    if isinstance(request, AdoptRequest):
        return f"take in {request.name}, the orphan {request.item_hash[:12]}, for {request.hours:g} h"
    where = f", on {request.crn[:64]}" if request.crn else ""
    return (
        f"create {request.name}: {request.compute_units} CU for {request.ttl_hours:g} h, "
        f"{request.os_image}{where}{_setup(request.setup)}{_ends(request)}"
    )


def _ends(request: CreateRequest) -> str:
    idle = f", ended when idle for {request.idle_minutes} min" if request.idle_minutes else ""
    paths = len(request.save_paths.split("\n")) if request.save_paths else 0
    return idle + (f", {paths} of its paths are saved here before its end" if paths else "")


def _setup(script: str) -> str:
    if not script:
        return ""
    digest = hashlib.sha256(script.encode()).hexdigest()
    return f", with a setup script of {len(script)} characters (sha256 {digest[:16]}…)"
