"""Names and keys that agents send: what is let through, and the sentence that refuses the rest."""

import base64
import binascii
import re

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_LIKE_A_HASH = re.compile(r"[0-9a-f]{8,}", re.IGNORECASE)
_KEY_TYPES = re.compile(
    r"(ssh-(ed25519|rsa)|ecdsa-sha2-nistp(256|384|521)|sk-ssh-ed25519@openssh\.com|sk-ecdsa-sha2-nistp256@openssh\.com)"
)


def check_name(name: str) -> str:
    """The name itself; ValueError when it could be taken for something else."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            "a name starts with a letter or digit and has up to 63 letters, digits, dots, dashes or underscores"
        )
    if _LIKE_A_HASH.fullmatch(name):
        raise ValueError("a name must not look like a hash: add a letter beyond f or a dash")
    return name


def one_line(text: str) -> str:
    """The text without what a terminal or a reader could take for something else than text."""
    return "".join(c for c in " ".join(text.split()) if c.isprintable())


def check_ssh_pubkey(text: str) -> str:
    """The key without its comment (it would be public for ever); empty stays empty."""
    if not text.strip():
        return ""
    fields = text.split()
    if "\n" in text.strip() or len(fields) < 2 or not _KEY_TYPES.fullmatch(fields[0]):
        raise ValueError(
            "an SSH public key is one line: its type (ssh-ed25519, …), its base64 body, a comment"
        )
    try:
        base64.b64decode(fields[1], validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("the body of this SSH public key is not base64") from None
    return f"{fields[0]} {fields[1]}"
