"""One look at everything, at the same time, within a bounded time."""

import asyncio
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aleph_agentd.control import installed
from aleph_agentd.control.daemon import daemon
from aleph_agentd.control.doctor import gather_machine
from aleph_agentd.control.doctor.checks_money import payer
from aleph_agentd.control.doctor.facts import Answer, Facts
from aleph_agentd.control.doctor.web import Reply, fetch
from aleph_agentd.domain.clock import SystemClock
from aleph_agentd.domain.errors import Refusal

HELLO_S = 8.0
STATUS_S = 20.0
"""A daemon that has just started imports the SDK before it can tell its balance."""
NETWORK_S = 15.0
"""A host that sends a byte now and then outlives every time-out of a socket."""


async def gather() -> Facts:
    """The facts of this moment; what could not be had is unknown."""
    # Before the daemon is asked, which may start it.
    installation = await asyncio.to_thread(installed.look, os.environ)
    given = installed.environment(installation, os.environ)
    (hello, status, away), examined = await asyncio.gather(
        _asked(installation.control_socket), asyncio.to_thread(gather_machine.examine, given)
    )
    known = Facts(now=SystemClock().now(), examined=examined)
    look = asyncio.to_thread(gather_machine.machine, examined, installation.runtime)
    machine, web = await asyncio.gather(look, _network(known))
    return Facts(
        now=SystemClock().now(),
        machine=machine,
        installation=installation,
        unseen=tuple(installed.unseen(installation, os.environ)),
        examined=examined,
        hello=hello,
        status=status,
        away=away,
        clients=gather_machine.clients(),
        **web,
    )


async def _asked(at: Path | None) -> tuple[Answer | None, Answer | None, str]:
    """Its hello, its status, and why there is none."""
    hello: Answer | None = None
    try:
        async with daemon(at) as client:
            hello = await client.call("hello", None, HELLO_S)
            return hello, await client.call("status", None, STATUS_S), ""
    except Refusal as refusal:
        return hello, None, refusal.message


async def _network(facts: Facts) -> dict[str, Any]:
    settings = facts.settings
    if settings is None:
        return {}
    hosts = [str(host).rstrip("/") for host in settings["api_hosts"]]
    first, owner, human = hosts[0], settings["aggregate_address"], settings["human_address"]
    pricing = f"/api/v0/aggregates/{quote(owner, safe='')}.json?keys=pricing"
    urls = {f"host {n}": host + pricing for n, host in enumerate(hosts)}
    urls["crn_list"] = str(settings["crn_list_url"])
    if address := payer(facts):
        urls["balance"] = f"{first}/api/v0/addresses/{quote(address, safe='')}/balance"
    if human:
        urls["security"] = f"{first}/api/v0/aggregates/{quote(human, safe='')}.json?keys=security"
    replies = dict(zip(urls, await asyncio.gather(*map(_fetched, urls.values())), strict=True))
    answers = tuple(reply for name, reply in replies.items() if name.startswith("host "))
    others = {n: reply for n, reply in replies.items() if not n.startswith("host ")}
    return {"hosts": answers, "pricing": answers[0], **others}


async def _fetched(url: str) -> Reply:
    try:
        return await asyncio.wait_for(asyncio.to_thread(fetch, url), NETWORK_S)
    except TimeoutError:
        return Reply(url, trouble=f"no whole answer within {NETWORK_S:.0f} s")
