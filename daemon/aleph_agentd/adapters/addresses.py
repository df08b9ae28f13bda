"""Ethereum addresses: the network takes another spelling for another account, so we use the checksummed one."""

import re

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")


def checksummed(text: str) -> str:
    """The address as EIP-55 spells it. ValueError when it is none, or its capitals do not agree."""
    text = text.strip()
    if not _ADDRESS.fullmatch(text):
        raise ValueError("an address is 0x and 40 hexadecimal digits")
    digits = text[2:]
    right = "0x" + _capitals(digits.lower())
    if digits not in (digits.lower(), digits.upper()) and text != right:
        raise ValueError("its capitals do not agree with its digits (EIP-55): look for a typing error")
    return right


def _capitals(digits: str) -> str:
    # Imported here: most daemons pay with their own key and need no hashing at the start.
    from eth_hash.auto import keccak

    marks = keccak(digits.encode()).hex()
    return "".join(d.upper() if mark >= "8" else d for d, mark in zip(digits, marks, strict=False))
