"""The `[setup_templates]` table of config.toml: start-up scripts that agents may ask for by name.

A script is written there, or in a file beside config.toml, which is then as trusted as that: only the owner of the
daemon, or root, may be able to write it.
"""

import os
import re
import stat
from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic_settings import NoDecode

from ..domain.setup_templates import LONGEST, MOST
from .config_sources import config_path

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")
_FILE = re.compile(r"[\w-][\w. -]{0,99}")
"""A name, not a path."""


def _templates(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError('write a table: [setup_templates] with name = "script" or name = { file = "…" }')
    if len(value) > MOST:
        raise ValueError(f"at most {MOST} templates")
    return {_checked(str(name)): _script(str(name), given) for name, given in value.items()}


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name[:40]!r} is no name: lower case letters, digits, . _ - (32 at most)")
    return name


def _script(name: str, given: Any) -> str:
    if isinstance(given, dict) and given.keys() == {"file"} and isinstance(given["file"], str):
        given = _read(given["file"])
    if not isinstance(given, str):
        raise ValueError(f'{name} is neither a script nor {{ file = "…" }}')
    if not given.strip() or "\0" in given or len(given) > LONGEST:
        raise ValueError(f"{name} must be a script of 1 to {LONGEST} characters, without NUL bytes")
    return given


def _read(name: str) -> str:
    if not _FILE.fullmatch(name):
        raise ValueError(f"{name[:60]!r} is not the name of a file beside config.toml")
    path = config_path().parent / name
    try:
        # Without waiting: a pipe would never be opened.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise ValueError(f"{path} is not a regular file")
            if facts.st_uid not in (0, os.geteuid()) or facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise ValueError(f"{path} could be written by others: chown it to you, and chmod go-w")
            return file.read(4 * LONGEST + 1).decode()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no text") from None


SetupTemplates = Annotated[dict[str, str], NoDecode, BeforeValidator(_templates)]
