"""Where settings come from, and the one line that says what is wrong with them."""

import difflib
import os
import re
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import platformdirs
from pydantic import ValidationError

NAME = "aleph-agentd"
KEY_CREDENTIAL = "aleph-agentd.key"
PREFIX = "ALEPH_AGENT_"
LARGEST_FILE = 256 * 1024

_READ_ELSEWHERE = frozenset({"CONFIG", "RUNTIME_DIR", "AUTOSTART", "RUN_INTEGRATION"})
"""Variables with our prefix that belong to the sockets, the shim and the tests."""

SECRETS = frozenset({"database_url", "webhook_url"})
"""Their values hold a password or a token: no error and no log line shows them."""
_LIKE_A_KEY = re.compile(r"[0-9a-fA-F]{64,}")


class ConfigError(Exception):
    """A setting that cannot be used; one line that names it, its origin, and what is allowed."""


def state_dir() -> Path:
    """Where what must outlive the daemon lies."""
    return platformdirs.user_state_path(NAME)


def config_path() -> Path:
    """The configuration file that this environment names."""
    chosen = os.environ.get(PREFIX + "CONFIG")
    return Path(chosen).expanduser() if chosen else platformdirs.user_config_path(NAME) / "config.toml"


def key_path() -> Path:
    """Where the key lies when no setting says so: systemd's credential, or where the official CLI keeps it."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if directory and (Path(directory) / KEY_CREDENTIAL).exists():
        return Path(directory) / KEY_CREDENTIAL
    return Path.home() / ".aleph-im/private-keys/ethereum.key"


def refuse_unknown_variables(known: Collection[str]) -> None:
    """Raise ConfigError for a variable with our prefix that nobody reads: most likely a typing error."""
    names = {name.upper() for name in known} | _READ_ELSEWHERE
    for variable in sorted(os.environ):
        if variable.startswith(PREFIX) and variable.removeprefix(PREFIX) not in names:
            raise ConfigError(
                f"{variable[:80]} (environment) is not a setting"
                + _guess(variable.removeprefix(PREFIX), names, PREFIX)
            )


def read(
    path: Path, *, general: Collection[str], policy: Collection[str], switches: Collection[str] = ()
) -> dict[str, Any]:
    """The file as one flat map; empty when the default file does not exist. Raises ConfigError.

    `switches` are the settings that may be `true` or `false` there.
    """
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        if PREFIX + "CONFIG" not in os.environ:
            return {}
        raise ConfigError(f"{PREFIX}CONFIG (environment) names {path}, which does not exist") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    if len(text) > LARGEST_FILE:
        raise ConfigError(f"{path} is larger than {LARGEST_FILE} bytes")
    try:
        content = tomllib.loads(text.decode())
    except ValueError as error:
        raise ConfigError(f"{path} is not TOML: {_one_line(str(error))}") from None
    limits, projects = content.pop("policy", {}), content.pop("projects", {})
    if not isinstance(limits, dict):
        raise ConfigError(f"policy ({path}) must be a table: [policy]")
    if not isinstance(projects, dict) or not all(isinstance(budget, dict) for budget in projects.values()):
        raise ConfigError(f'projects ({path}) must be tables: [projects."/path"]')
    _check(content, path, "", general, policy)
    _check(limits, path, " [policy]", policy, general)
    _check_switches(content | limits, path, switches)
    return content | limits | {"projects": projects}


def _check_switches(settings: dict[str, Any], path: Path, switches: Collection[str]) -> None:
    """A number must not be read from `true`: it would be 1."""
    for name, value in settings.items():
        if isinstance(value, bool) and name not in switches:
            raise ConfigError(
                f"{_one_line(name)} ({path}) is {str(value).lower()}: only {', '.join(sorted(switches)) or 'no setting'} may be true or false"
            )


def _check(
    table: dict[str, Any], path: Path, place: str, known: Collection[str], elsewhere: Collection[str]
) -> None:
    for name in table:
        origin = f"{_one_line(name)} ({path}{place})"
        if name in elsewhere:
            raise ConfigError(
                f"{origin} belongs {'above the tables' if place else 'into the table [policy]'}"
            )
        if name not in known:
            raise ConfigError(f"{origin} is not a setting{_guess(name, known, '')}")


def first_problem(error: ValidationError, path: Path) -> str:
    """The first problem in one line, and how many more there are."""
    problems = error.errors(include_url=False)
    first = problems[0]
    text = _one_line(without_keys(first["msg"].removeprefix("Value error, ")))
    if first["loc"]:
        name = ".".join(str(part)[:200] for part in first["loc"] if part != "[key]")
        text = f"{_origin(name, path)} is {_value(name, first['input'])}: {text}"
    return text + (f" (and {len(problems) - 1} more)" if len(problems) > 1 else "")


def _origin(name: str, path: Path) -> str:
    variable = PREFIX + name.upper()
    return f"{variable} (environment)" if os.environ.get(variable) else f"{name} ({path})"


def _value(name: str, value: Any) -> str:
    return "not shown" if name in SECRETS else without_keys(repr(value))[:80]


def without_keys(text: str) -> str:
    """A text without what may be a private key: some write it where its path belongs, and errors are logged."""
    return _LIKE_A_KEY.sub("(not shown: like a private key)", text)


def _guess(name: str, known: Collection[str], prefix: str) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {prefix}{close[0]}?" if close else "; docs/policy.md lists all settings"


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]
