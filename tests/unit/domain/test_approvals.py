"""How long a request for a human waits, and how often one may ask."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from aleph_agentd.domain.approvals import (
    BY_CLIENT,
    BY_OWNER,
    OPEN_PER_SESSION,
    OPEN_PER_UID,
    PAUSE,
    VALID,
    Approval,
    ApprovalState,
    may_ask,
)
from aleph_agentd.domain.errors import Denied
from support.clock import NOON

S = ApprovalState


def a_request(**facts: Any) -> Approval:
    """One that waits."""
    known: dict[str, Any] = {
        "id": "ap-1",
        "kind": "create",
        "uid": 1000,
        "pid": 7,
        "session": "alice",
        "project": "",
        "client": "",
        "parents": "",
        "request": "{}",
        "fingerprint": "f",
        "units": 1,
        "rate": Decimal(1),
        "policy_version": "v",
        "asked_at": NOON,
        "expires_at": NOON + VALID,
    }
    return Approval(**(known | facts))


def closed(state: ApprovalState, minutes_ago: float, by: str = "") -> Approval:
    """One that is over."""
    return a_request(state=state, decided_at=NOON - timedelta(minutes=minutes_ago), decided_by=by)


def code_of(open_: list[Approval], over: list[Approval], asking: Approval | None = None) -> str:
    """With which code asking is refused; empty when it is not."""
    try:
        may_ask(asking or a_request(), open_, over)
    except Denied as denied:
        assert denied.hint
        return denied.code
    return ""


@pytest.mark.parametrize("state", list(ApprovalState))
def test_time_ends_what_is_open_and_nothing_else(state: ApprovalState) -> None:
    """To the second."""
    request = a_request(state=state)
    assert request.at(NOON + VALID - timedelta(seconds=1)) is state
    after = request.at(NOON + VALID)
    assert after is (S.EXPIRED if state in (S.WAITING, S.APPROVED) else state)


@pytest.mark.parametrize(
    ("over", "code"),
    [
        ([], ""),
        ([closed(S.EXPIRED, 1)], ""),
        ([closed(S.EXPIRED, 1), closed(S.EXPIRED, 31)], "approval_pause"),
        ([closed(S.EXPIRED, 5), closed(S.EXPIRED, 31)], ""),
        ([closed(S.EXPIRED, 1), closed(S.DENIED, 2, BY_OWNER)], ""),
        ([closed(S.DENIED, 1, BY_OWNER), closed(S.EXPIRED, 2)], ""),
        ([closed(S.USED, 1, BY_OWNER), closed(S.EXPIRED, 2)], ""),
        ([closed(S.EXPIRED, 1, BY_OWNER), closed(S.EXPIRED, 2)], ""),
        ([closed(S.DENIED, 1, BY_CLIENT), closed(S.EXPIRED, 2)], "approval_pause"),
        ([closed(S.DENIED, 1, "the daemon"), closed(S.EXPIRED, 2)], ""),
        ([closed(S.EXPIRED, 1), closed(S.EXPIRED, 31), closed(S.USED, 90, BY_OWNER)], "approval_pause"),
    ],
)
def test_two_in_a_row_that_the_owner_did_not_answer_make_one_wait(over: list[Approval], code: str) -> None:
    """A decision of the owner in between ends the row; a client's own no does not."""
    assert code_of([], over) == code


def test_the_pause_is_over_to_the_second() -> None:
    """Five minutes after the newest."""
    over = [closed(S.EXPIRED, 0), closed(S.EXPIRED, 31)]
    last = replace(a_request(), asked_at=NOON + PAUSE - timedelta(seconds=1))
    assert code_of([], over, last) == "approval_pause"
    assert code_of([], over, replace(last, asked_at=NOON + PAUSE)) == ""


def test_open_requests_are_bounded_per_session_and_per_user() -> None:
    """The last one fits."""
    own = [a_request(id=f"ap-{n}") for n in range(OPEN_PER_SESSION)]
    assert (code_of(own[:-1], []), code_of(own, [])) == ("", "too_many_approvals")
    others = [a_request(id=f"ap-{n}", session=f"s{n}") for n in range(OPEN_PER_UID)]
    assert (code_of(others[:-1], []), code_of(others, [])) == ("", "too_many_approvals")
