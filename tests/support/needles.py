"""How a secret could look where it must not be."""

import base64
import json


def needles(secret: bytes) -> dict[str, bytes]:
    """The whole in every form, and each half of it."""
    half = len(secret) // 2
    parts = {"": secret, "first half ": secret[:half], "second half ": secret[half:]}
    return {f"{name}{form}": needle for name, part in parts.items() for form, needle in forms(part).items()}


def forms(secret: bytes) -> dict[str, bytes]:
    """Raw, hex, base64 at each of the three places in a longer text, numbers, and as Python shows bytes."""
    numbers = list(secret)
    found = {
        "raw": secret,
        "hex": secret.hex().encode(),
        "HEX": secret.hex().upper().encode(),
        "decimal": str(int.from_bytes(secret)).encode(),
        "little-endian decimal": str(int.from_bytes(secret, "little")).encode(),
        "repr": repr(secret).encode()[2:-1],
        "list": json.dumps(numbers).encode()[1:-1],
        "compact list": json.dumps(numbers, separators=(",", ":")).encode()[1:-1],
        "colons": secret.hex(":").encode(),
        "spaces": secret.hex(" ").encode(),
    }
    for shift in range(3):
        for name, encode in (("base64", base64.b64encode), ("urlsafe", base64.urlsafe_b64encode)):
            coded = encode(bytes(shift) + secret + bytes(3))
            found[f"{name}+{shift}"] = coded[-(-shift * 8 // 6) : (shift + len(secret)) * 8 // 6]
    return found


def seen(secret: bytes, haystack: bytes) -> list[str]:
    """In which forms it is there."""
    return [form for form, needle in needles(secret).items() if needle in haystack]
