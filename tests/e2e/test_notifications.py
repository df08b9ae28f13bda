"""The webhook of a real daemon: told of a VM's end, and of no help to whoever wants to hold the daemon up."""

import asyncio
import hashlib
import hmac
import json
import socket
from pathlib import Path

from support.daemon import DaemonProcess, eventually
from support.devnet import DevnetProcess

SECRET = b"a secret of the owner's"


def configured(net: DevnetProcess, url: str, tmp_path: Path) -> DaemonProcess:
    """A daemon with this webhook."""
    path = tmp_path / "webhook.secret"
    path.write_bytes(SECRET)
    path.chmod(0o600)
    settings = {"ALEPH_AGENT_WEBHOOK_URL": url, "ALEPH_AGENT_WEBHOOK_SECRET_PATH": str(path)}
    return DaemonProcess(net, environment=settings)


async def test_the_end_of_a_vm_is_told_signed(net: DevnetProcess, tmp_path: Path) -> None:
    """A server of anybody's can verify it; the address with its token is in no log."""
    got: list[tuple[dict[str, str], bytes]] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[1:-2]
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head)}
        got.append((headers, await reader.readexactly(int(headers["content-length"]))))
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook?token=hush"
    daemon = configured(net, url, tmp_path)
    try:
        await asyncio.to_thread(daemon.start)
        await daemon.call("aleph_create_vm", {"name": "told", "ttl_hours": 0.1})
        await daemon.call("aleph_destroy_vm", {"item_hash": "told"})
        await eventually(lambda: got, "the webhook to be told")
        assert (await daemon.control("notify.test"))["webhook"] == "told"
        headers, body = got[0]
        assert (json.loads(body)["cause"], json.loads(body)["name"]) == ("torn_down", "told")
        signed = headers["x-aleph-agentd-timestamp"].encode() + b"." + body
        expected = hmac.new(SECRET, signed, hashlib.sha256).hexdigest()
        assert headers["x-aleph-agentd-signature"] == f"v1={expected}"
        assert "hush" not in daemon.log() and SECRET.decode() not in daemon.log()
    finally:
        await asyncio.to_thread(daemon.close)
        server.close()


async def test_a_webhook_that_hangs_delays_neither_a_vm_s_end_nor_the_daemon_s(
    net: DevnetProcess, tmp_path: Path
) -> None:
    """It takes the connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        daemon = configured(net, f"http://127.0.0.1:{hanging.getsockname()[1]}/", tmp_path)
        try:
            await asyncio.to_thread(daemon.start)
            await daemon.call("aleph_create_vm", {"name": "one", "ttl_hours": 0.1})
            await daemon.call("aleph_destroy_vm", {"item_hash": "one"})
            connected, _ = await asyncio.to_thread(hanging.accept)
            with connected:
                await daemon.call("aleph_create_vm", {"name": "two", "ttl_hours": 0.1})
                ended = await daemon.call("aleph_destroy_vm", {"item_hash": "two"})
                assert ended["status"] == "destroyed"
                assert await asyncio.to_thread(daemon.terminate) == 0
        finally:
            await asyncio.to_thread(daemon.close)
