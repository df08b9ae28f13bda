"""The file of the dead-man's switch: it ends one VM, or it is refused."""

import json
from typing import Any

import pytest

from aleph_agentd.domain import escrow
from aleph_agentd.domain.escrow import NotOurs
from support.escrow import HOSTS, VM, a_document, a_forget, a_switch
from support.inventory import a_hash, a_vm


def message(**changes: Any) -> dict[str, Any]:
    """A FORGET with some of it changed, its hash left alone."""
    return json.loads(a_forget().body) | changes


def test_a_kill_switch_says_the_same_when_it_is_read_again() -> None:
    """To the byte of every signed message."""
    assert escrow.read(escrow.write(a_switch())) == a_switch()


def test_a_kill_switch_of_a_row_has_what_ends_it() -> None:
    """And is named for what it holds."""
    vm = a_vm(name="box", signer=a_switch().sender)
    switch = escrow.of(vm, a_switch().forgets, HOSTS)
    assert (switch.item_hash, switch.expires_at) == (vm.item_hash, vm.expires_at)
    assert escrow.file_name(vm.name, vm.item_hash) == f"box-{vm.item_hash[:12]}.kill-switch.json"


def test_a_name_cannot_lead_a_file_elsewhere() -> None:
    """Whatever an old row is called."""
    assert "/" not in escrow.file_name("../../etc/passwd", VM)


FORGERIES: dict[str, dict[str, Any]] = {
    "another format": {"format": "x"},
    "another version": {"version": 2},
    "no hash": {"item_hash": "../x"},
    "an upper-case hash": {"item_hash": VM.upper()},
    "another VM": {"item_hash": a_hash("other")},
    "another sender": {"sender": "0xOther"},
    "no time zone": {"expires_at": "2026-11-23T12:00:00"},
    "no instant": {"expires_at": "soon"},
    "a number for an instant": {"expires_at": 5},
    "a name with an escape": {"name": "\x1b[2J"},
    "a long name": {"name": "x" * 300},
    "no hosts": {"api_hosts": []},
    "http hosts": {"api_hosts": ["http://api.example"]},
    "file hosts": {"api_hosts": ["file:///etc/passwd"]},
    "hosts with a user": {"api_hosts": ["https://me:secret@api.example"]},
    "hosts with a query": {"api_hosts": ["https://api.example/?x="]},
    "hosts with a bad port": {"api_hosts": ["https://api.example:99999"]},
    "hosts that are numbers": {"api_hosts": [5]},
    "hosts without brackets": {"api_hosts": ["https://[::1"]},
    "too many hosts": {"api_hosts": ["https://api.example"] * 17},
    "no forgets": {"forgets": []},
    "too many forgets": {"forgets": [message()] * 65},
    "forgets that are words": {"forgets": ["x"]},
    "an INSTANCE": {"forgets": [message(type="INSTANCE")]},
    "an AGGREGATE": {"forgets": [message(type="AGGREGATE")]},
    "a stored item": {"forgets": [message(item_type="storage")]},
    "a field more": {"forgets": [message(extra=1)]},
    "changed content": {"forgets": [message(item_content='{"hashes": []}')]},
    "content that is no text": {"forgets": [message(item_content={"hashes": [VM]})]},
    "two targets": {"forgets": [json.loads(a_forget(hashes=[VM, a_hash(2)]).body)]},
    "another target": {"forgets": [json.loads(a_forget(target=a_hash(2)).body)]},
    "no target": {"forgets": [json.loads(a_forget(hashes=[]).body)]},
    "an aggregate too": {"forgets": [json.loads(a_forget(aggregates=["x"]).body)]},
    "a say more": {"forgets": [json.loads(a_forget(more=1).body)]},
    "one good and one bad": {"forgets": [message(), json.loads(a_forget(target=a_hash(2)).body)]},
}


@pytest.mark.parametrize("changes", FORGERIES.values(), ids=list(FORGERIES))
def test_a_file_that_is_not_exactly_a_kill_switch_is_refused(changes: dict[str, Any]) -> None:
    """Nothing of it is used."""
    assert escrow.read(json.dumps(a_document()))
    with pytest.raises(NotOurs):
        escrow.read(json.dumps(a_document(**changes)))


@pytest.mark.parametrize("name", sorted(a_document().keys() - {"what"}))
def test_a_field_that_is_missing_is_refused(name: str) -> None:
    """Every one but the words for people."""
    with pytest.raises(NotOurs):
        escrow.read(json.dumps(a_document(**{name: None})))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, "\0", "NaN"])
def test_what_is_no_document_is_refused(text: str) -> None:
    """Also what would exhaust a parser."""
    with pytest.raises(NotOurs):
        escrow.read(text)


@pytest.mark.parametrize("url", ["http://127.0.0.1:4024", "http://localhost:4024", "http://[::1]:4024"])
def test_plain_http_is_for_this_machine_alone(url: str) -> None:
    """Where a devnet listens."""
    assert escrow.read(json.dumps(a_document(api_hosts=[url]))).api_hosts == (url,)
