"""How a key could look where it must not be."""

import base64


def needles(secret: bytes) -> dict[str, bytes]:
    """Raw, hex in both cases, and base64 at each of the three places in a longer text."""
    found = {"raw": secret, "hex": secret.hex().encode(), "HEX": secret.hex().upper().encode()}
    for shift in range(3):
        coded = base64.b64encode(bytes(shift) + secret + bytes(3))
        first = -(-shift * 8 // 6)
        found[f"base64+{shift}"] = coded[first : (shift + len(secret)) * 8 // 6]
    return found


def seen(secret: bytes, haystack: bytes) -> list[str]:
    """In which forms it is there."""
    return [form for form, needle in needles(secret).items() if needle in haystack]
