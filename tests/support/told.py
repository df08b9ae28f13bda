"""What failures said, and how many of them differ in more than what the caller sent."""

import json
import re
from collections import Counter

from aleph_agentd.domain.errors import Refusal

_SENT = re.compile(
    r"""https?://[\d.:]+            # where the network listens
    | (?<![\w/])/(?:tmp|proc|root|etc|dev|no|home|var)\b\S*
    | '(?:[^'\\]|\\.)*' | "(?:[^"\\]|\\.)*"
    | [\w.-]+(?=:[ ]is[ ]not[ ]an[ ]argument)
    | (?<=unknown:[ ])[\w, ]+
    | 0x\w+ | \b[0-9a-f]{8,}\b | (.)\1{8,} | \d+(?:[.,:-]\d+)*
    | \x1b.""",
    re.VERBOSE,
)
"""Values, numbers, hashes, paths, quotations and names of arguments that do not exist."""
_ENOUGH = 300


def plain(text: str) -> str:
    """A text without what its caller sent, or what differs by chance."""
    return _SENT.sub("#", " ".join(text.split()))[:_ENOUGH]


class Told:
    """All that was said, and the kinds of failure: a code and a plain text, once each, by who said it first."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._first: dict[tuple[str, str], str] = {}

    def answered(self, text: str) -> None:
        """No failure, but a place to leak as well."""
        self.texts.append(text)

    def failed(self, where: str, code: object, text: str) -> None:
        """One failure, of a program or a connection."""
        self.texts.append(text)
        self._first.setdefault((str(code), plain(text)), where)

    def refused(self, where: str, refusal: Refusal) -> None:
        """One refusal; of wrong arguments each problem counts, and no combination of them."""
        self.texts.append(f"{refusal!r} {vars(refusal)}")
        problems = refusal.data.get("problems") or [""]
        subject = refusal.message.partition(": ")[0] if any(problems) else refusal.message
        for problem in problems:
            self._first.setdefault((refusal.code, plain(f"{subject} {problem}")), where)

    def by_place(self) -> Counter[str]:
        """How many kinds each place was the first to tell."""
        return Counter(self._first.values())

    def codes(self) -> set[str]:
        """Each code that was told."""
        return {code for code, _ in self._first}

    def whole(self) -> bytes:
        """Everything that was said."""
        return "\n".join(self.texts).encode("utf-8", "surrogateescape")

    def kinds(self) -> str:
        """Each kind in a line, to look at."""
        return "\n".join(json.dumps([*kind, where]) for kind, where in sorted(self._first.items()))
