"""A PostgreSQL of the tests' own: Debian's programs, a temporary directory, a free port of this machine."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

USER, PASSWORD = "aleph", "not:a/secret@all"
_START_S = 60
_FAST = ("fsync=off", "full_page_writes=off", "max_connections=60")
"""Nothing here outlives the machine; a commit outlives a crash of the server."""


def missing() -> str:
    """Why there can be no server here; empty when there can be one."""
    if not _programs():
        return "PostgreSQL's server programs are not installed (Debian: postgresql)"
    if os.geteuid() == 0 and _account() is None:
        return "PostgreSQL refuses to run as root, and there is no account postgres"
    return ""


class Postgres:
    """A running server."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, _free_port()
        self._names = count(1)
        self._run("initdb", f"--pgdata={folder}/data", f"--username={USER}", f"--pwfile={folder}/password",
                  "--auth=scram-sha-256", "--no-sync", "--encoding=UTF8", "--no-locale")  # fmt: skip
        self.start()

    def start(self) -> None:
        """Answers when this returns."""
        listen = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1"
        options = " ".join([listen, *(f"-c {setting}" for setting in _FAST)])
        self._ctl("start", f"--log={self.folder}/log", f"--options={options}")

    def stop(self, mode: str = "fast") -> None:
        """`immediate` is a crash."""
        self._ctl("stop", f"--mode={mode}")

    def database(self) -> str:
        """The URL of a new, empty database."""
        name = f"fleet{next(self._names)}"
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def dsn(self, name: str) -> str:
        """For psycopg itself."""
        return psycopg.conninfo.make_conninfo(
            host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, dbname=name
        )

    def url(self, name: str) -> str:
        """For the setting DATABASE_URL."""
        from sqlalchemy import URL

        url = URL.create("postgresql+psycopg", USER, PASSWORD, "127.0.0.1", self.port, name)
        return url.render_as_string(hide_password=False)

    def _ctl(self, verb: str, *options: str) -> None:
        self._run("pg_ctl", verb, f"--pgdata={self.folder}/data", "--wait", f"--timeout={_START_S}", *options)

    def _run(self, program: str, *arguments: str) -> None:
        # Its output goes to a file: a server that inherits a pipe would keep it open.
        with (self.folder / "said").open("wb") as said:
            done = subprocess.run(
                [_programs() / program, *arguments],
                stdout=said, stderr=subprocess.STDOUT, cwd=self.folder, timeout=2 * _START_S, **_as(),
            )  # fmt: skip
        if done.returncode:
            log = self.folder / "log"
            words = (self.folder / "said").read_text() + (log.read_text()[-2000:] if log.exists() else "")
            raise RuntimeError(f"{program} {arguments[0]}: {words}")


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A server that is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="aleph-pg-"))
    server = None
    try:
        (folder / "password").write_text(PASSWORD)
        if (account := _account()) and os.geteuid() == 0:
            for path in (folder, folder / "password"):
                os.chown(path, account.pw_uid, account.pw_gid)
        server = Postgres(folder)
        yield server
    finally:
        if server is not None and (folder / "data/postmaster.pid").exists():
            server.stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    """Where the newest version's server programs lie; Debian keeps them off the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else Path()


def _account() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return None


def _as() -> dict[str, Any]:
    return {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
