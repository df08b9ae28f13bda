"""What the services build on, in VMs of every kind: the fake of the tests, and devnet's guests over real SSH."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from aleph_agentd.adapters.ssh.guests import SshGuests
from aleph_agentd.domain.guest_files import get_line, put_line
from aleph_agentd.domain.guest_jobs import PAGE, JobReport, line_for, report_of
from aleph_agentd.ports import Door, Guests, HostKeyChanged
from aleph_devnet import sandbox
from aleph_devnet.guest import Guest
from support.fake_guests import FakeGuests

HERE = "127.0.0.1"
WITHIN_S = 60.0


@dataclass
class Inside:
    """A way in, and what goes through it."""

    guests: Guests
    door: Door

    async def job(
        self, verb: str, job: str, command: str = "", wait_s: float = 0, offset: int | None = None
    ) -> JobReport:
        """One call of the job script."""
        nonce = secrets.token_hex(8)
        line = line_for(nonce, verb, job, wait_s, offset, command.encode())
        ran = await self.guests.run(self.door, line, WITHIN_S, stdin=command.encode())
        report = report_of(ran.stdout.head + ran.stdout.tail, nonce, offset)
        assert report is not None, ran
        return report


@pytest.fixture(params=["fake", "devnet", "bwrap"])
async def inside(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Inside]:
    """A VM of one kind; the last runs the commands, and the job script, for real."""
    if request.param == "bwrap" and sandbox.trouble():
        pytest.skip(sandbox.trouble())
    if request.param == "fake":
        fake = FakeGuests()
        yield Inside(fake, Door(HERE, 22, fake.new_key().private, await fake.host_key(HERE, 22)))
        return
    real = SshGuests()
    key = real.new_key()
    box = sandbox.Sandbox(tmp_path / "home", "vm-1") if request.param == "bwrap" else None
    guest = Guest(host=HERE, port=0, authorized_keys=[key.public], hostname="vm-1", sandbox=box)
    port = await guest.start()
    yield Inside(real, Door(HERE, port, key.private, await real.host_key(HERE, port)))
    await guest.stop()


def new() -> str:
    """A job's id."""
    return secrets.token_hex(6)


async def test_a_job_leaves_its_output_and_exit_code_and_starts_once(inside: Inside) -> None:
    """Started again, it is only looked at."""
    job = new()
    for _ in range(2):
        report = await inside.job("start", job, "echo x >> log; cat log; cat missing; exit 7", WITHIN_S / 2)
        assert (report.state, report.exit_code, report.out.head) == ("done", 7, b"x\n")
        assert b"missing" in report.err.head


async def test_a_command_that_came_in_part_never_runs(inside: Inside) -> None:
    """Cut anywhere: a connection that breaks off ends the stream, too. Sent whole, it runs, and once."""
    job, command = new(), "echo é >> log\necho x >> log; cat log".encode()
    line = line_for(secrets.token_hex(8), "start", job, 0, None, command)
    for cut in range(len(command)):
        ran = await inside.guests.run(inside.door, line, WITHIN_S, stdin=command[:cut])
        assert (ran.exit_code, ran.stdout.head) == (1, b"")
        assert b"only a part" in ran.stderr.head
    assert (await inside.job("look", job)).state == "none"
    whole = await inside.job("start", job, command.decode(), WITHIN_S / 2)
    assert (whole.state, whole.out.head) == ("done", "é\nx\n".encode())


async def test_many_starts_at_a_time_are_one(inside: Inside) -> None:
    """And each of them is told how it goes."""
    job = new()
    starts = [inside.job("start", job, "echo x >> log; sleep 1; cat log", WITHIN_S / 2) for _ in range(12)]
    for report in await asyncio.gather(*starts):
        assert (report.state, report.exit_code, report.out.head) == ("done", 0, b"x\n")


async def test_a_home_that_cannot_be_written_does_not_keep_a_job_from_running_once(inside: Inside) -> None:
    """It is kept below /run then, and found there when there is room again."""
    job = new()
    await inside.guests.run(inside.door, "rm -rf .aleph-agent; touch .aleph-agent", WITHIN_S)
    for _ in range(2):
        report = await inside.job("start", job, "echo x >> log; cat log", WITHIN_S / 2)
        assert (report.state, report.out.head) == ("done", b"x\n")
        await inside.guests.run(inside.door, "rm .aleph-agent", WITHIN_S)


async def test_a_job_goes_on_without_a_connection_until_it_is_stopped(inside: Inside) -> None:
    """Its start does not wait; its end by us is told as a signal's."""
    job = new()
    assert (await inside.job("start", job, "echo on; sleep 25")).state == "running"
    assert (await inside.job("look", job)).state == "running"
    stopped = await inside.job("stop", job)
    assert (stopped.state, stopped.exit_code) == ("done", 143)
    assert (await inside.job("look", job)).exit_code == 143
    assert (await inside.job("stop", job)).exit_code == 143


async def test_a_job_that_nobody_started_is_none(inside: Inside) -> None:
    """Neither done nor lost."""
    for verb in ("look", "stop"):
        assert (await inside.job(verb, new())).state == "none"


async def test_both_ends_and_any_page_of_a_long_output(inside: Inside) -> None:
    """Bytes, counted exactly."""
    job, whole = new(), "".join(f"{n}\n" for n in range(1, 5001)).encode()
    report = await inside.job("start", job, "seq 5000", WITHIN_S / 2)
    assert (report.out.head, report.out.tail) == (whole[: PAGE // 2], whole[-PAGE // 2 :])
    assert report.out.total == len(whole)
    for offset in (0, 1, len(whole) - 3, len(whole), len(whole) + 9):
        page = await inside.job("look", job, offset=offset)
        assert page.out.head == whole[offset : offset + PAGE]


@pytest.mark.parametrize("size", [0, 1, 256 * 1024])
async def test_bytes_go_in_and_come_back(inside: Inside, size: int) -> None:
    """Any bytes, under any name, as many as are asked for."""
    content = secrets.token_bytes(size)[:-1] + b"\xe8"[:size]  # half a character at the end
    name = "it's\na $(name)"
    put = await inside.guests.run(inside.door, put_line("0", name, size), WITHIN_S, stdin=content)
    assert put.exit_code == 0
    for most in (size + 1, 256 * 1024 + 1):
        got = await inside.guests.run(inside.door, get_line(name, most), WITHIN_S, most=most)
        assert (got.exit_code, got.stdout.head, got.stdout.total) == (0, content, size)
    got = await inside.guests.run(inside.door, get_line(name, 1), WITHIN_S)
    assert got.stdout.head == content[:1]


@pytest.mark.parametrize("name", ["file", "~/file", "/root/file", "/etc"])
async def test_a_file_that_came_in_part_changes_nothing(inside: Inside, name: str) -> None:
    """Cut anywhere: there is no new one, an old one stays, and nothing lies beside it. A directory stays one."""
    old, content = b"old", b"\0new\n"
    for before in (b"", old):
        if before and name != "/etc":
            line = put_line("0", name, len(before))
            assert (await inside.guests.run(inside.door, line, WITHIN_S, stdin=before)).exit_code == 0
        for cut in range(len(content)):
            line = put_line(secrets.token_hex(8), name, len(content))
            assert (await inside.guests.run(inside.door, line, WITHIN_S, stdin=content[:cut])).exit_code == 1
        got = await inside.guests.run(inside.door, get_line(name, 9), WITHIN_S)
        assert got.stdout.head == (b"" if name == "/etc" else before)
        beside = await inside.guests.run(inside.door, "ls -A | grep -v cache", WITHIN_S)
        assert beside.stdout.head == (b"file\n" if before and name != "/etc" else b"")


async def test_a_command_that_does_not_read_still_ends(inside: Inside) -> None:
    """However much there was to read."""
    ran = await inside.guests.run(inside.door, "exit 4", WITHIN_S, stdin=b"x" * 256 * 1024)
    assert ran.exit_code == 4


async def test_a_time_out_is_no_failure(inside: Inside) -> None:
    """What was printed so far may be told or not; the exit code is not known."""
    ran = await inside.guests.run(inside.door, "sleep 25", 0.5)
    assert (ran.exit_code, ran.timed_out) == (None, True)


async def test_another_host_key_than_the_pinned_one_gets_nothing(inside: Inside) -> None:
    """Not even the command."""
    other = SshGuests().new_key().public
    with pytest.raises(HostKeyChanged):
        await inside.guests.run(replace(inside.door, host_key=other), "echo x >> log", WITHIN_S)
    assert (await inside.guests.run(inside.door, "cat log", WITHIN_S)).exit_code != 0
