"""What can be refused or fail, as callers see it: a code, what happened, and the exact next step.

Refusal                  base: {code, message, hint, data}
├── BadInput             the arguments are wrong; lists every problem          code bad_input
├── Denied               a rule of the policy said no                          code = the rule's
├── NotFound             no such VM, CRN, tool or image                        code not_found
├── Conflict             the name, request key or state stands in the way      code conflict
├── Unavailable          a prerequisite is missing or the network is away      code unavailable
└── Unknown              it may or may not have taken effect; ask again        code unknown
"""

from typing import Any


class Refusal(Exception):
    """A call that did not do what was asked, in words its caller can act on."""

    code = "refused"

    def __init__(
        self, message: str, hint: str = "", *, code: str | None = None, data: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code or type(self).code
        self.data = data or {}

    def as_dict(self) -> dict[str, Any]:
        """The wire form: `{code, message, hint, data}`."""
        return {"code": self.code, "message": self.message, "hint": self.hint, "data": self.data}


class BadInput(Refusal):
    """Arguments that do not fit; `message` lists every problem and what is allowed."""

    code = "bad_input"


class Denied(Refusal):
    """A rule of the policy refused; `code` names the rule."""

    code = "denied"


class NotFound(Refusal):
    """What was named does not exist, or is not this caller's to see."""

    code = "not_found"


class Conflict(Refusal):
    """Something that exists stands in the way."""

    code = "conflict"


class Unavailable(Refusal):
    """A prerequisite (key, network, host) is missing; trying again later is safe."""

    code = "unavailable"


class Unknown(Refusal):
    """The outcome is not known; the daemon keeps track and goes on finding out."""

    code = "unknown"
