"""The owner's passphrase: what is kept of it, and whether a text is it. Pure, and slow on purpose."""

import hashlib
import hmac
import unicodedata
from dataclasses import dataclass

SHORTEST, LONGEST = 8, 1024
N, R, P = 2**15, 8, 1
"""scrypt: 32 MiB and about a tenth of a second for each guess."""
_MEMORY = 128 * 1024 * 1024


@dataclass(frozen=True)
class Kept:
    """What lies on disk: a salted digest and how it was made."""

    salt: bytes
    digest: bytes
    n: int
    r: int
    p: int


def kept(passphrase: str, salt: bytes) -> Kept:
    """What to keep of a new passphrase."""
    return Kept(salt, _digest(passphrase, salt, N, R, P), N, R, P)


def is_it(passphrase: str, known: Kept) -> bool:
    """Whether this is the passphrase; takes as long for every wrong one."""
    return hmac.compare_digest(_digest(passphrase, known.salt, known.n, known.r, known.p), known.digest)


def _digest(passphrase: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    # The same letters typed on another keyboard may come as other code points.
    text = unicodedata.normalize("NFKC", passphrase).encode("utf-8", "surrogatepass")
    return hashlib.scrypt(text, salt=salt, n=n, r=r, p=p, maxmem=_MEMORY, dklen=32)
