"""The HTTP API of a CRN."""

from aiohttp import web
from aleph_message.models import ItemHash

from aleph_devnet import crn_auth
from aleph_devnet.clock import Clock, iso
from aleph_devnet.crn import Crn, RefusedError
from aleph_devnet.crn_list import system_usage


class CrnRoutes:
    """Handlers of one node."""

    def __init__(self, crn: Crn, clock: Clock) -> None:
        self._crn, self._clock = crn, clock

    def add_to(self, app: web.Application) -> None:
        """Register every route."""
        app.router.add_post("/control/allocation/notify", self.notify)
        app.router.add_post("/control/reserve_resources", self.reserve)
        app.router.add_post("/control/machine/{hash}/{operation}", self.operate)
        app.router.add_post("/control/{hash}/update", self.update)
        app.router.add_get("/v2/about/executions/list", self.executions)
        app.router.add_get("/about/executions/list", self.executions_v1)
        app.router.add_get("/about/usage/system", self.usage)
        app.router.add_get("/status/config", self.config)

    async def notify(self, request: web.Request) -> web.Response:
        """Unauthenticated, and idempotent. Answers soon after the boot has begun."""
        try:
            item_hash = str((await request.json())["instance"])
        except (ValueError, KeyError, TypeError):
            return web.Response(status=400, text="Body is not valid JSON with an instance")
        if not is_hash(item_hash):
            return web.Response(status=400, text="Invalid item hash")
        try:
            self._crn.notify(item_hash)
        except RefusedError as refused:
            return web.Response(status=refused.status, text=refused.text)
        return web.json_response({"success": True, "successful": True, "failing": [], "errors": {}})

    async def operate(self, request: web.Request) -> web.Response:
        """erase, stop, reboot, reinstall and expire, signed by the owner or a delegate."""
        try:
            sender = crn_auth.sender_of(request, self._crn.node.host, self._now())
        except crn_auth.DeniedError as denied:
            return denied.response()
        item_hash, operation = request.match_info["hash"], request.match_info["operation"]
        if not is_hash(item_hash):
            return web.Response(status=400, text=f"Invalid ref: '{item_hash}'")
        vm = self._crn.vms.get(item_hash)
        if vm is None:
            return web.Response(status=404, text=f"No virtual machine with ref {item_hash}")
        if not self._crn.may_operate(sender, str(vm.content["address"])):
            return web.Response(status=403, text="Unauthorized sender")
        return await self._perform(operation, item_hash)

    async def _perform(self, operation: str, item_hash: str) -> web.Response:
        if operation in ("erase", "stop"):
            await self._crn.remove(item_hash)
        elif operation in ("reboot", "reinstall"):
            await self._crn.restart(item_hash, wipe=operation == "reinstall")
        elif operation == "expire":
            return web.Response(status=400, text="Invalid timeout duration")
        else:
            return web.Response(status=404, text="404: Not Found")
        return web.Response(text=f"{_DONE[operation]} VM with ref {item_hash}")

    async def reserve(self, request: web.Request) -> web.Response:
        """For VMs without a GPU this is an admission check and no more. Its 503 is the SDK's docstring's; old nodes say 400."""
        try:
            sender = crn_auth.sender_of(request, self._crn.node.host, self._now())
            until = self._crn.reserve(await request.json(), sender)
        except crn_auth.DeniedError as denied:
            return denied.response()
        except RefusedError as refused:
            return web.Response(status=refused.status, text=refused.text)
        except (ValueError, KeyError, TypeError, AttributeError):
            return web.Response(status=400, text="Body is not valid instance content")
        return web.json_response({"status": "reserved", "expires": iso(until)})

    async def update(self, request: web.Request) -> web.Response:
        """Read the port forwarding of a VM again."""
        if request.match_info["hash"] not in self._crn.vms:
            return web.Response(status=404, text="VM not found")
        return web.json_response({"status": "ok", "msg": "VM ports updated"})

    async def executions(self, _request: web.Request) -> web.Response:
        """The pool."""
        return web.json_response(self._crn.executions())

    async def executions_v1(self, _request: web.Request) -> web.Response:
        """The pool, as old clients read it."""
        return web.json_response({h: vm.shown_v1() for h, vm in self._crn.vms.items()})

    async def usage(self, _request: web.Request) -> web.Response:
        """What the node has and uses."""
        return web.json_response(system_usage(self._crn, self._clock.now()))

    async def config(self, _request: web.Request) -> web.Response:
        """What the node tells about itself."""
        node = self._crn.node
        return web.json_response({"DOMAIN_NAME": node.host, "version": node.version, "node_hash": node.hash})

    def _now(self) -> float:
        return self._clock.now() + self._crn.clock_skew_s


_DONE = {"erase": "Erased", "stop": "Stopped", "reboot": "Rebooted", "reinstall": "Reinstalled"}


def is_hash(text: str) -> bool:
    """Whether this can be an item hash."""
    try:
        ItemHash(text)
    except ValueError:
        return False
    return True
