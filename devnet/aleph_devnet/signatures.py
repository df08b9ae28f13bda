"""Whose wallet signed something: one place that knows how many ways a signature can be wrong."""

from eth_account import Account
from eth_account.messages import SignableMessage
from eth_keys.exceptions import BadSignature
from eth_utils.exceptions import ValidationError as BadValue


def signer_of(message: SignableMessage, signature: bytes) -> str | None:
    """The address that signed, or None if the signature is not one."""
    try:
        return str(Account.recover_message(message, signature=signature))
    except (BadSignature, BadValue, ValueError, TypeError):
        return None
