"""How a CRN knows who asks: an ephemeral P-256 key signed by a wallet, and an operation signed by that key."""

import json
from base64 import urlsafe_b64decode
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from eth_account.messages import encode_defunct

from aleph_devnet.signatures import signer_of

CLOCK_WINDOW_S = 120


class DeniedError(Exception):
    """The answer to a request that cannot be trusted."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason

    def response(self) -> web.Response:
        """As the CRN's authentication answers."""
        return web.json_response({"error": self.reason}, status=self.status)


@dataclass(frozen=True)
class _Signed:
    payload: bytes
    signature: bytes
    content: dict[str, Any]


def sender_of(request: web.Request, domain: str, now: float) -> str:
    """The wallet that signed this request, or DeniedError."""
    key = _header(request, "X-SignedPubKey")
    _check_key(key, now)
    operation = _header(request, "X-SignedOperation")
    _check_operation(operation, request, domain, now)
    try:
        public = _public_key(key.content["pubkey"])
    except (KeyError, ValueError, TypeError) as error:
        raise DeniedError(400, "Invalid X-SignedPubKey data") from error
    try:
        r, s = (int.from_bytes(half) for half in (operation.signature[:32], operation.signature[32:]))
        public.verify(encode_dss_signature(r, s), operation.payload, ec.ECDSA(SHA256()))
    except InvalidSignature as error:
        raise DeniedError(401, "Signature could not verified") from error
    return str(key.content["address"])


def _header(request: web.Request, name: str) -> _Signed:
    text = request.headers.get(name)
    if not text:
        raise DeniedError(400, f"Missing {name} header")
    try:
        raw = json.loads(text)
        payload, signature = (bytes.fromhex(raw[k].removeprefix("0x")) for k in ("payload", "signature"))
        content = json.loads(payload)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DeniedError(400, f"Invalid {name} fields") from error
    if not isinstance(content, dict):
        raise DeniedError(400, f"Invalid {name} fields")
    return _Signed(payload, signature, content)


def _check_key(key: _Signed, now: float) -> None:
    try:
        expires = _instant(key.content["expires"])
        message = encode_defunct(hexstr=key.payload.hex())
        address = str(key.content["address"])
    except (KeyError, ValueError) as error:
        raise DeniedError(400, "Invalid X-SignedPubKey data") from error
    if expires <= now:
        raise DeniedError(401, "Token expired")
    signer = signer_of(message, key.signature)
    if signer is None or signer.lower() != address.lower():
        raise DeniedError(401, "Invalid signature")


def _check_operation(operation: _Signed, request: web.Request, domain: str, now: float) -> None:
    content = operation.content
    try:
        late = abs(_instant(content["time"]) - now) > CLOCK_WINDOW_S
    except (KeyError, ValueError) as error:
        raise DeniedError(400, "Invalid X-SignedOperation fields") from error
    if late:
        raise DeniedError(400, "Invalid X-SignedOperation fields")
    for name, expected in (("domain", domain), ("path", request.path), ("method", request.method)):
        if content.get(name) != expected:
            raise DeniedError(401, f"Invalid {name}")


def _instant(text: Any) -> float:
    moment = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _public_key(jwk: dict[str, str]) -> ec.EllipticCurvePublicKey:
    x, y = (int.from_bytes(_base64url(jwk[name])) for name in ("x", "y"))
    return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()


def _base64url(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
