"""What the owner decides about VMs that only the network knows: adopt, destroy, recover; and sweep."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from ..domain.clock import iso
from ..domain.errors import BadInput, NotFound, Unavailable
from ..domain.model import NetworkInstance, PublishedEnd, Vm
from ..domain.reconcile import Findings, lease_end
from ..ports import KeyMissing, NetworkTrouble
from ..services.core import Services
from ..tools.views import orphan_view, vm_view
from .owner_guard import Guard
from .rpc.connection import Connection, Handler

_SHOWN = 200
_SHORTEST_PREFIX = 8
_BILLING_END_S = 30.0
_HUMAN = "human"


class Orphans:
    """The handlers of control.sock for what a sweep finds."""

    def __init__(self, services: Services, guard: Guard) -> None:
        self._services, self._guard = services, guard

    def methods(self) -> Mapping[str, Handler]:
        """To be joined with the other methods of control.sock."""
        return {
            "orphans.list": self.list,
            "orphans.get": self.get,
            "orphans.adopt": self.adopt,
            "orphans.destroy": self.destroy,
            "sweep.run": self.sweep,
            "recover": self.recover,
        }

    async def list(self, _: Connection, __: Mapping[str, Any]) -> dict[str, Any]:
        """What the last sweep found under our key and not in the inventory."""
        findings = self._services.sweeper.findings
        return {
            "orphans": _views(findings.orphans),
            "lost": _views(findings.lost),
            "strangers": _views(findings.strangers),
            "sweep": sweep_view(findings),
        }

    async def get(self, _: Connection, params: Mapping[str, Any]) -> dict[str, Any]:
        """The one that a hash, or its beginning, names: before anybody is asked for a passphrase."""
        return {"vm": orphan_view(self._named(params)).model_dump(mode="json")}

    async def sweep(self, connection: Connection, params: Mapping[str, Any]) -> dict[str, Any]:
        """Look now. `anyway`, which only the owner may say: and end what the breaker of sweeps would spare."""
        if params.get("anyway") is True:
            await self._guard.check(connection, params)
        sweeper = self._services.sweeper
        await (sweeper.run_anyway() if params.get("anyway") is True else sweeper.run())
        return {"sweep": sweep_view(sweeper.findings)}

    async def adopt(self, connection: Connection, params: Mapping[str, Any]) -> dict[str, Any]:
        """A row for an orphan: with its stamped lease while that runs, else with one of the default length."""
        services, item = self._services, self._named(params)
        await self._guard.check(connection, params)
        now = services.clock.now()
        end = PublishedEnd(0, now + timedelta(hours=services.treasury.limits.default_ttl_hours))
        if item.stamp is not None:
            ends = await services.repairs.ends(services.sweeper.findings)
            stamped = lease_end(item, ends, now)
            if stamped is None:
                raise Unavailable("Until when its lease runs is not known now.", "Try again in a minute.")
            # A lease that is over gets one more extension, which is published as such.
            end = stamped if stamped.expires_at > now else PublishedEnd(stamped.n + 1, end.expires_at)
        vm = await self._write(item, end, "adopted by the owner")
        return {"vm": self._view(vm)}

    async def destroy(self, _: Connection, params: Mapping[str, Any]) -> dict[str, Any]:
        """A row for an orphan, that is torn down at once like any other."""
        services, item = self._services, self._named(params)
        vm = await self._write(item, PublishedEnd(0, services.clock.now()), "destroyed by the owner")
        await services.teardown.order(vm.item_hash, "an orphan that the owner destroyed")
        ended = await services.teardown.billing_end(vm.item_hash, _BILLING_END_S)
        vm = await services.inventory.get(vm.item_hash) or vm
        return {"vm": self._view(vm), "billing_ended": ended}

    async def recover(self, connection: Connection, params: Mapping[str, Any]) -> dict[str, Any]:
        """Sweep, which takes in what this installation stamped; into an empty inventory, what any one did."""
        if params.get("others") is True:
            await self._guard.check(connection, params)
        services = self._services
        sweeper, taken, waiting = services.sweeper, list[Vm](), 0
        await sweeper.run()
        findings = sweeper.findings
        if findings.trouble:
            raise Unavailable(
                f"Nothing was recovered: {findings.trouble}.", "Try again when the network answers."
            )
        if findings.empty_inventory or params.get("others") is True:
            if findings.strangers:
                await services.restoration.begin("the owner recovers what other installations made")
            ends = await services.repairs.ends(findings)
            taken = await services.repairs.adopt(findings.strangers, ends, "recovered from the network")
            waiting = len(findings.strangers) - len(taken)
            if findings.strangers:
                await sweeper.run()
        left = sweeper.findings
        return {
            "adopted": [self._view(vm) for vm in [*findings.adopted, *taken]],
            "waiting": len(left.lost) + waiting,
            "strangers": len(left.strangers) - waiting,
            "orphans": len(left.orphans),
            "restoring": services.restoration.alerts(),
        }

    # ------------------------------------------------------------------ helpers

    def _named(self, params: Mapping[str, Any]) -> NetworkInstance:
        wanted = params.get("item_hash")
        if not isinstance(wanted, str) or len(wanted) < _SHORTEST_PREFIX:
            raise BadInput(f"item_hash needs at least {_SHORTEST_PREFIX} characters of a hash.")
        findings = self._services.sweeper.findings
        known = (*findings.orphans, *findings.lost, *findings.strangers)
        found = [item for item in known if item.item_hash.startswith(wanted.lower())]
        if len(found) != 1:
            raise NotFound(
                f"{wanted[:80]!r} fits {len(found)} of the VMs that the last sweep found without a row.",
                "See: aleph-agentctl orphans --sweep",
            )
        return found[0]

    async def _write(self, item: NetworkInstance, end: PublishedEnd, cause: str) -> Vm:
        sweeper = self._services.sweeper
        try:
            vm = await self._services.adopter.adopt(item, end, cause)
        except (NetworkTrouble, KeyMissing) as trouble:
            raise Unavailable(f"Nothing was done: {trouble}.", "Try again in a minute.") from trouble
        sweeper.findings = sweeper.findings.without(vm.item_hash)
        return vm

    def _view(self, vm: Vm) -> dict[str, Any]:
        return vm_view(vm, self._services.clock.now(), _HUMAN).model_dump(mode="json")


def sweep_view(findings: Findings) -> dict[str, Any]:
    """What a sweep found, in numbers."""
    return {
        "at": iso(findings.at) if findings.at.timestamp() else None,
        "trouble": findings.trouble,
        "halted": findings.halted,
        "listed": findings.listed,
        "adopted": len(findings.adopted),
        "orphans": len(findings.orphans),
        "lost": len(findings.lost),
        "strangers": len(findings.strangers),
        "undead": len(findings.undead),
        "stale": len(findings.stale),
    }


def _views(found: tuple[NetworkInstance, ...]) -> list[dict[str, Any]]:
    return [orphan_view(item).model_dump(mode="json") for item in found[:_SHOWN]]
