"""What a VM printed, made fit for an agent to read: stripped, cut, and fenced as data (rules.md 18). Pure."""

import re
import unicodedata

MAX_CHARACTERS = 1200
"""Of one fenced text: both streams fit an answer of 2 kB in the usual case, where one of them is short."""
_ESCAPES = re.compile(
    r"\x1b\][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)|[\x1b\x9b]\[?[0-?]{0,64}[ -/]{0,16}[@-~]|\x1b."
)
"""OSC (titles, links, the clipboard), CSI (colours, the cursor), and the short ones."""
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_MOST_ODD = 0.1


def readable(head: bytes, tail: bytes, total: int, limit: int = MAX_CHARACTERS) -> str:
    """The two ends of a stream as text of about `limit` characters, with a word on what is missing."""
    if _binary(head) or _binary(tail):
        return f"[binary, {total} bytes; fetch it as a file]"
    left_out = total - len(head) - len(tail)
    if not left_out:
        text = stripped((head + tail).decode(errors="replace"))
        if len(text) <= limit:
            return text
        first, last = text[: limit // 2], text[-limit // 2 :]
    else:
        first = stripped(head.decode(errors="replace"))[: limit // 2]
        last = stripped(tail.decode(errors="replace"))[-limit // 2 :]
    return f"{first}\n[… cut: {total} bytes in all …]\n{last}"


def stripped(text: str) -> str:
    """Without escape sequences, control characters, and characters that nobody sees."""
    text = _ESCAPES.sub("", text).replace("\r\n", "\n")
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in _HIDDEN)


def fenced(text: str, nonce: str) -> str:
    """Between marks that whoever wrote the text could not know; `nonce` is fresh for each answer."""
    if not text:
        return ""
    return f"<untrusted {nonce}>\n{text.replace(nonce, '…')}\n</untrusted {nonce}>"


def _binary(data: bytes) -> bool:
    odd = sum(byte < 32 and byte not in b"\t\n\r\x1b\x08\x07\x0c" for byte in data)
    return b"\0" in data or odd > len(data) * _MOST_ODD
