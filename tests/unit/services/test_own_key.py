"""The guard per VM: one of another key is neither forgotten, extended nor erased with ours."""

import pytest

from aleph_agentd.domain.model import PublishedEnd
from aleph_agentd.ports import KeyMissing
from aleph_agentd.services.own_key import OwnKeyHosts, OwnKeySigner
from support.world import World


async def test_nothing_is_signed_for_a_vm_of_another_key(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same calls are signed while the key is the one that made it."""
    vm = await world.create()
    network, inventory = world.network, world.services.inventory
    signer, hosts = OwnKeySigner(network, inventory), OwnKeyHosts(network, network, inventory)
    end = PublishedEnd(1, vm.expires_at)
    assert await signer.sign_forgets(vm.item_hash, vm.payer, 1)
    monkeypatch.setattr(type(network), "address", "0x000000000000000000000000000000000000dEaD")
    for refused in (
        signer.sign_forgets(vm.item_hash, vm.payer, 1),
        signer.sign_extension(vm.item_hash, end, vm.created_at),
        hosts.erase(vm.crn_url, vm.item_hash),
    ):
        with pytest.raises(KeyMissing, match=vm.signer):
            await refused
