"""`escrow` and `backup`: what the CLI makes of the daemon's answers."""

import stat
from pathlib import Path

from aleph_agentd.domain.errors import Unavailable


def test_escrow_writes_every_page_privately(daemon, cli, tmp_path: Path):
    """File by file, each readable by its owner alone."""
    pages = {
        "": {"files": [{"name": "a.kill-switch.json", "text": "A"}], "after": "x"},
        "x": {"files": [{"name": "b.kill-switch.json", "text": "B"}], "after": ""},
    }
    daemon.says("escrow.export", lambda _, params: pages[params["after"]])
    target = tmp_path / "escrow"
    assert cli.run("escrow", str(target)) == 0
    assert {path.name: path.read_text() for path in target.iterdir()} == {
        "a.kill-switch.json": "A",
        "b.kill-switch.json": "B",
    }
    assert {stat.S_IMODE(path.stat().st_mode) for path in target.iterdir()} == {0o600}
    assert "2 kill switches" in cli.out
    assert cli.run("escrow", str(target), "--json") == 0
    assert cli.json["files"] == ["a.kill-switch.json", "b.kill-switch.json"]


def test_escrow_never_leaves_its_directory(daemon, cli, tmp_path: Path):
    """Whatever a name says."""
    daemon.says("escrow.export", {"files": [{"name": "../out.kill-switch.json", "text": "A"}], "after": ""})
    assert cli.run("escrow", str(tmp_path / "escrow")) == 0
    assert [path.name for path in (tmp_path / "escrow").iterdir()] == ["out.kill-switch.json"]


def test_escrow_into_what_is_no_directory_is_refused(daemon, cli, tmp_path: Path):
    """With its name and what to do."""
    daemon.says("escrow.export", {"files": [], "after": ""})
    (tmp_path / "file").touch()
    assert cli.run("escrow", str(tmp_path / "file")) == 1
    assert "file: File exists" in cli.err


def test_backup_puts_the_pieces_together(daemon, cli, tmp_path: Path):
    """Into one private file; one that is there is replaced only when told so."""
    content = bytes(range(256)) * 4
    daemon.says("backup.begin", {"size": len(content)})
    daemon.says("backup.read", lambda _, p: {"data": content[p["offset"] : p["offset"] + 300]})
    target = tmp_path / "copy.db"
    assert cli.run("backup", str(target)) == 0
    assert target.read_bytes() == content
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    target.write_text("precious")
    assert cli.run("backup", str(target)) == 1
    assert target.read_text() == "precious"
    assert cli.run("backup", str(target), "--force", "--json") == 0
    assert cli.json == {"file": str(target), "bytes": len(content)}


def test_a_backup_that_breaks_off_leaves_nothing(daemon, cli, tmp_path: Path):
    """Half a database is none."""
    daemon.says("backup.begin", {"size": 10})
    daemon.says("backup.read", {"data": b""})
    assert cli.run("backup", str(tmp_path / "copy.db")) == 1
    assert "ended after 0 of 10 bytes" in cli.err
    assert not (tmp_path / "copy.db").exists()


def test_a_backup_that_the_daemon_refuses_is_told_in_its_words(daemon, cli, tmp_path: Path):
    """A server's database has tools of its own."""
    daemon.says("backup.begin", Unavailable("The inventory is a server's database.", "pg_dump"))
    assert cli.run("backup", str(tmp_path / "copy.db")) == 1
    assert "server's database" in cli.err
    assert "pg_dump" in cli.err
