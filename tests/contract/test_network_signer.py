"""What is signed: exactly our INSTANCE and our FORGETs, and nothing personal in them."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from aleph_agentd.adapters.aleph.network import Network
from aleph_agentd.adapters.aleph.settings import OS_IMAGES
from aleph_agentd.adapters.aleph.signer import bare_ssh_key
from aleph_agentd.domain.model import SignedMessage, Stamp
from aleph_agentd.ports import InstanceSpec
from support.network import HASH, SSH_KEY, FakeNode, a_crn

pytest_plugins = ["support.network_fixtures"]

EXPIRES = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


def _spec(payer: str, **changes: Any) -> InstanceSpec:
    facts: dict[str, Any] = {
        "payer": payer,
        "crn": a_crn(),
        "vcpus": 2,
        "memory_mib": 4096,
        "disk_mib": 40960,
        "rootfs": OS_IMAGES["ubuntu22"],
        "ssh_pubkey": SSH_KEY + " alice@laptop",
        "stamp": Stamp("home-1", "0" * 32, EXPIRES),
    }
    return InstanceSpec(**(facts | changes))


def _content(message: SignedMessage) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(json.loads(message.body)["item_content"])
    return content


async def test_an_instance_lets_in_its_renter_and_the_daemon(network: Network) -> None:
    """Both keys, neither with a comment (rules.md 10)."""
    spec = _spec(network.signer.address, guest_pubkey="ssh-ed25519 AAAAC3Nz daemon@host")
    keys = _content(await network.signer.sign_instance(spec))["authorized_keys"]
    assert keys == [" ".join(SSH_KEY.split()[:2]), "ssh-ed25519 AAAAC3Nz"]


async def test_an_instance_says_what_the_spec_says(network: Network) -> None:
    """On credit, on that CRN, with our stamp."""
    me = network.signer.address
    message = await network.signer.sign_instance(_spec(me))
    fields, content = json.loads(message.body), _content(message)
    assert (fields["sender"], fields["type"], fields["channel"]) == (me, "INSTANCE", "ALEPH-CLOUDSOLUTIONS")
    assert fields["item_hash"] == message.item_hash
    assert isinstance(fields["time"], float)
    assert content["address"] == me
    assert (content["resources"]["vcpus"], content["resources"]["memory"]) == (2, 4096)
    assert (content["rootfs"]["parent"]["ref"], content["rootfs"]["size_mib"]) == (
        OS_IMAGES["ubuntu22"],
        40960,
    )
    assert content["payment"] == {"chain": "ETH", "type": "credit"}
    assert content["requirements"] == {"node": {"node_hash": "cd" * 32}}
    assert content["metadata"] == {
        "aleph-agentd": "home-1",
        "lease": "0" * 32,
        "expires_at": "2030-01-02T03:04:05Z",
        "tags": ["aleph-agentd"],
    }
    assert len(message.body) < 2000


async def test_the_comment_of_an_ssh_key_is_not_published(network: Network) -> None:
    """What an INSTANCE says is public for ever (rules.md 10)."""
    message = await network.signer.sign_instance(_spec(network.signer.address))
    assert _content(message)["authorized_keys"] == [SSH_KEY]
    assert "alice" not in message.body


async def test_terms_are_accepted_by_their_hash(network: Network) -> None:
    """Only when the CRN has them."""
    spec = _spec(network.signer.address, crn=a_crn(terms_and_conditions="ef" * 32))
    node = _content(await network.signer.sign_instance(spec))["requirements"]["node"]
    assert node == {"node_hash": "cd" * 32, "terms_and_conditions": "ef" * 32}


async def test_in_delegated_mode_the_payer_owns_what_the_agent_signs(network: Network) -> None:
    """Sender and owner differ, in the FORGET too."""
    instance = await network.signer.sign_instance(_spec("0xhuman"))
    (forget,) = await network.signer.sign_forgets(instance.item_hash, "0xhuman", 1)
    for message in (instance, forget):
        assert json.loads(message.body)["sender"] == network.signer.address
        assert _content(message)["address"] == "0xhuman"


async def test_two_instances_of_one_spec_are_two_vms(network: Network) -> None:
    """Each call stamps its own time: persist what it returns."""
    spec = _spec(network.signer.address)
    first, second = await network.signer.sign_instance(spec), await network.signer.sign_instance(spec)
    assert first.item_hash != second.item_hash


async def test_forgets_name_one_vm_each_and_differ(network: Network) -> None:
    """One burnt FORGET does not burn the others (rules.md 3)."""
    forgets = await network.signer.sign_forgets(HASH, network.signer.address, 8)
    assert len({forget.item_hash for forget in forgets}) == 8
    assert len({_content(forget)["reason"] for forget in forgets}) == 8
    assert all(_content(forget)["hashes"] == [HASH] for forget in forgets)


async def test_signing_sends_nothing(network: Network, node: FakeNode) -> None:
    """Intent before broadcast."""
    message = await network.signer.sign_instance(_spec(network.signer.address))
    await network.signer.sign_forgets(message.item_hash, network.signer.address, 2)
    assert node.asked == []


@pytest.mark.parametrize(
    "line",
    [
        "",
        "alice@laptop",
        "ssh-ed25519",
        f"{SSH_KEY}\n{SSH_KEY}",
        f'command="x" {SSH_KEY}',
        "-----BEGIN OPENSSH PRIVATE KEY-----",
        "ssh-ed25519 AAAA;rm",
    ],
)
def test_what_is_not_one_public_key_is_refused(line: str) -> None:
    """A private key in that place would be published for ever."""
    with pytest.raises(ValueError, match="not one OpenSSH public key"):
        bare_ssh_key(line)


@pytest.mark.parametrize("kind", ["ssh-rsa", "ecdsa-sha2-nistp256", "sk-ssh-ed25519@openssh.com"])
def test_every_kind_of_public_key_is_taken(kind: str) -> None:
    """With or without a comment."""
    assert bare_ssh_key(f"{kind} AAAAB3Nz+/= bob's key (old)\n") == f"{kind} AAAAB3Nz+/="


async def test_a_stamp_that_could_not_be_read_back_is_not_signed(network: Network) -> None:
    """An adopted VM must be recognised by the next daemon."""
    with pytest.raises(ValueError, match="lease id"):
        await network.signer.sign_instance(_spec("0xme", stamp=Stamp("a b", "0", EXPIRES)))
