"""What a VM printed, made fit for an agent to read: stripped, cut, and fenced as data (rules.md 18). Pure."""

import codecs
import re
import unicodedata

MAX_CHARACTERS = 1200
"""Of one fenced text: both streams fit an answer of 2 kB in the usual case, where one of them is short."""
_OSC, _CSI = r"\x1b\][^\x07\x1b]{0,1000}", r"[\x1b\x9b]\[?[0-?]{0,64}[ -/]{0,16}"
_ESCAPES = re.compile(rf"{_OSC}(?:\x07|\x1b\\)|{_CSI}[@-~]|\x1b.")
"""OSC (titles, links, the clipboard), CSI (colours, the cursor), and the short ones.

Each is shorter than a page of output, also in the widest characters, so that pages can end between them.
"""
_SO_FAR = re.compile(rf"({_OSC}\x1b?\Z|{_CSI}\Z)|{_ESCAPES.pattern}")
"""The same in a text that goes on; the group is one that is not over, or may still become longer."""
_BEGIN, _BEGIN_BYTES = re.compile(r"[\x1b\x9b]"), re.compile(rb"\x1b|\xc2\x9b")
UNDECIDED = 2 + 4 * 1000 + 1 + 3
"""The most bytes at the end of a page that may wait for the next one: an OSC, and a part of a character."""
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


def page_end(data: bytes) -> int:
    """How many of these bytes make a page, if more follow: one that says alone what it says within the whole.

    It ends at a whole character, and before an escape sequence that is not over. Never 0, so that there is progress;
    of more than UNDECIDED bytes it is exact.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(data)
    end = len(data) - len(decoder.getstate()[0])
    for found in _SO_FAR.finditer(text):
        if found[1] is not None:
            # Bytes that are no UTF-8 have changed their number in the text, but what begins an escape has not.
            before = len(_BEGIN.findall(text, 0, found.start()))
            end = [begin.start() for begin in _BEGIN_BYTES.finditer(data)][before]
    return end or len(data)


def fenced(text: str, nonce: str) -> str:
    """Between marks that whoever wrote the text could not know; `nonce` is fresh for each answer."""
    if not text:
        return ""
    return f"<untrusted {nonce}>\n{text.replace(nonce, '…')}\n</untrusted {nonce}>"


def _binary(data: bytes) -> bool:
    odd = sum(byte < 32 and byte not in b"\t\n\r\x1b\x08\x07\x0c" for byte in data)
    return b"\0" in data or odd > len(data) * _MOST_ODD
