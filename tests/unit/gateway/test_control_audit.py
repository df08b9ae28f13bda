"""The audit log over the control socket, and what a human's verbs leave in it."""

from typing import Any, cast

import pytest

from aleph_agentd.domain.acting import BY_ITSELF, acting
from aleph_agentd.domain.audit import GENESIS, Entry, Link, Verdict, deed, follow
from aleph_agentd.domain.caller import Caller, Peer
from aleph_agentd.domain.errors import BadInput, Denied, NotFound, Unavailable
from aleph_agentd.gateway.control_audit import AuditTrail, announced, audited
from aleph_agentd.gateway.rpc.connection import Connection
from aleph_agentd.ports import StoreTrouble
from support.inventory import NOW

NOBODY = cast(Connection, None)


class Log:
    """An auditor that remembers what it was told."""

    def __init__(self, *texts: str) -> None:
        self.noted: list[tuple[str, ...]] = []
        self.given: list[Link] = []
        self.trouble: Exception | None = None
        self.entries: list[Entry] = []
        for text in texts:
            last = self.entries[-1].link if self.entries else GENESIS
            self.entries.append(follow(last, deed(NOW, "call", text, BY_ITSELF)))

    def note(self, kind: str, text: str, item_hash: str = "", *, countable: bool = False) -> None:
        """Remember it, and who did it."""
        self.noted.append((kind, text, item_hash, acting().actor))

    async def page(self, after: int | None, limit: int) -> list[Entry]:
        """Entries."""
        if after is None:
            return self.entries[-limit:]
        return [entry for entry in self.entries if entry.n > after][:limit]

    async def verify(self, anchors: list[Link]) -> Verdict:
        """A verdict."""
        if self.trouble:
            raise self.trouble
        self.given = anchors
        return Verdict("cut", GENESIS, Link(3, "a" * 64), 2)


def trail(log: Log) -> AuditTrail:
    """The handlers."""
    return AuditTrail(cast(Any, log))


def verbs(log: Log, **handlers: Any) -> Any:
    """Handlers behind the witness, called by one human."""
    caller = Caller("human-1000", Peer(1000, 5, human=True))
    return audited(handlers, cast(Any, log), lambda _: caller)


async def test_a_page_is_what_was_asked_for() -> None:
    """The newest, or those behind a number; with everything that the hash is made of."""
    log = Log("one", "two", "three")
    newest = await trail(log).list(NOBODY, {"limit": 2})
    assert [entry["text"] for entry in newest["entries"]] == ["two", "three"]
    [last] = (await trail(log).list(NOBODY, {"after": 2}))["entries"]
    assert last == {
        "n": 3,
        "at": "2026-11-23T12:00:00.123456Z",
        "kind": "call",
        "actor": "daemon",
        "session": "",
        "request_key": "",
        "item_hash": "",
        "text": "three",
        "hash": log.entries[2].hash,
    }


async def test_a_page_fits_into_a_frame() -> None:
    """However long its entries are; the rest is asked for, and the newest are the newest."""
    log = Log(*["\U0001f600" * 1000] * 400)
    first = (await trail(log).list(NOBODY, {"after": 0}))["entries"]
    assert 1 <= len(first) < 400 and first[0]["n"] == 1
    newest = (await trail(log).list(NOBODY, {}))["entries"]
    assert 1 <= len(newest) < 400 and newest[-1]["n"] == 400


@pytest.mark.parametrize("params", [{"after": "x"}, {"after": -1}, {"limit": True}, {"after": 1.5}])
async def test_what_is_no_number_is_refused(params: dict[str, Any]) -> None:
    """With what is one."""
    with pytest.raises(BadInput):
        await trail(Log()).list(NOBODY, params)


async def test_a_verdict_is_passed_on_with_the_caller_s_anchors() -> None:
    """As the journal has them."""
    log = Log()
    answer = await trail(log).verify(NOBODY, {"anchors": [[7, "b" * 64]]})
    assert log.given == [Link(7, "b" * 64)]
    assert answer == {"ok": False, "problem": "cut", "first": 1, "last": 3, "hash": "a" * 64, "anchors": 2}


@pytest.mark.parametrize("anchors", ["x", [1], [[1, "short"]], [["1", "b" * 64]], [[1, "b" * 64]] * 5001])
async def test_what_is_no_anchor_is_refused(anchors: Any) -> None:
    """Rather than left out: a check that skipped some would look sounder than it is."""
    with pytest.raises(BadInput):
        await trail(Log()).verify(NOBODY, {"anchors": anchors})


async def test_a_log_that_cannot_be_read_is_no_sound_one() -> None:
    """Unknown is not well."""
    log = Log()
    log.trouble = StoreTrouble("gone")
    with pytest.raises(Unavailable):
        await trail(log).verify(NOBODY, {})


async def test_a_verb_works_on_behalf_of_its_human_and_leaves_an_entry() -> None:
    """Whether its handler is a plain function or not."""
    log, seen = Log(), list[str]()

    async def adopt(_: Connection, params: Any) -> Any:
        seen.append(acting().actor)
        return params

    methods = verbs(log, **{"orphans.adopt": adopt, "freeze": lambda _, __: "done"})
    params = {"item_hash": "ab", "passphrase": "hunter2", "others": True}
    assert await methods["orphans.adopt"](NOBODY, params) == params
    assert await methods["freeze"](NOBODY, {"reason": "r" * 5000}) == "done"
    assert seen == ["human uid=1000 pid=5"]
    assert log.noted == [
        ("control", "orphans.adopt item_hash=ab others=True: ok", "ab", seen[0]),
        ("control", f"freeze reason={'r' * 100}: ok", "", seen[0]),
    ]


@pytest.mark.parametrize(
    ("problem", "outcome"),
    [
        (Denied("no", code="passphrase"), "denied by passphrase"),
        (NotFound("none"), "refused: not_found"),
        (RuntimeError("bug"), "not answered"),
    ],
)
async def test_a_verb_that_did_not_do_it_leaves_an_entry_too(problem: Exception, outcome: str) -> None:
    """Whoever tries a passphrase is seen trying."""
    log = Log()

    async def fails(_: Connection, __: Any) -> Any:
        raise problem

    with pytest.raises(type(problem)):
        await verbs(log, approve=fails)["approve"](NOBODY, {"id": "a-1", "passphrase": "hunter2"})
    [(_, text, *_)] = log.noted
    assert text == f"approve id=a-1: {outcome}"


async def test_looking_leaves_no_entry_and_what_is_new_is_no_looking() -> None:
    """A verb is audited unless it is named as one that only reads."""
    log = Log()
    methods = verbs(log, **{"status": lambda _, __: 1, "vms.explode": lambda _, __: 2})
    assert methods["status"](NOBODY, {}) == 1
    assert log.noted == []
    assert await methods["vms.explode"](NOBODY, {}) == 2
    assert [text for _, text, *_ in log.noted] == ["vms.explode: ok"]


def test_a_session_that_begins_leaves_an_entry() -> None:
    """Who it claims to be, and which of its settings were ignored: what calls say is read against that."""
    log, peer = Log(), Peer(1000, 7)
    caller = Caller("n", peer, "/home/you/x", "an MCP client (pid 9)", notices=("MAX_TTL_HOURS is ignored",))
    open_session = announced(lambda *_: caller, cast(Any, log))
    assert open_session(peer, "n", {}) is caller
    told = "an MCP client (pid 9) in /home/you/x (claimed); MAX_TTL_HOURS is ignored"
    assert log.noted == [("session", told, "", "agent uid=1000 pid=7")]
