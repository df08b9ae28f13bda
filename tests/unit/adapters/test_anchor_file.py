"""The file of anchors: private, only ever added to, bounded."""

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aleph_agentd.adapters import anchor_file
from aleph_agentd.adapters.anchor_file import AnchorFile
from aleph_agentd.domain.audit import Link

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def link(n: int) -> Link:
    """An old head."""
    return Link(n, f"{n:064x}")


async def test_what_is_added_is_read_back_by_the_next_life(tmp_path: Path) -> None:
    """Lines as in the journal, readable by their owner alone."""
    path = tmp_path / "anchors"
    assert await AnchorFile(path).all() == []
    await AnchorFile(path).add(link(1), NOW)
    await AnchorFile(path).add(link(2), NOW)
    assert await AnchorFile(path).all() == [link(1), link(2)]
    assert path.read_text().splitlines()[0] == f"2026-11-25T12:00:00Z audit head n=1 hash={1:064x}"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_the_oldest_go_when_there_are_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when many lives of the daemon have each added one."""
    monkeypatch.setattr(anchor_file, "KEPT", 3)
    path = tmp_path / "anchors"
    for n in range(1, 21):
        await AnchorFile(path).add(link(n), NOW)
        assert len(path.read_bytes().splitlines()) <= 6
        assert (await AnchorFile(path).all())[-1] == link(n)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_what_is_no_anchor_is_passed_over(tmp_path: Path) -> None:
    """Bytes of any kind; or half a line that a power cut has left, which the next one must not complete."""
    path = tmp_path / "anchors"
    path.write_bytes(b"\xff\xfe\naudit head n=7 hash=" + b"a" * 63)
    await AnchorFile(path).add(link(8), NOW)
    assert await AnchorFile(path).all() == [link(8)]


async def test_a_link_to_another_file_is_not_written_through(tmp_path: Path) -> None:
    """Else it could be made to spoil any file of the owner's."""
    (tmp_path / "anchors").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError):
        await AnchorFile(tmp_path / "anchors").add(link(1), NOW)
    assert not (tmp_path / "precious").exists()
