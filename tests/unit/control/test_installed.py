"""What systemd is asked about the installed daemon, and the environment that follows from its answer."""

import pytest

from aleph_agentd.control import installed
from aleph_agentd.control.installed import Installation

SHOWN = """LoadState=loaded
ActiveState=active
FragmentPath=/h/.config/systemd/user/aleph-agentd.service
Environment=XDG_STATE_HOME=/h/state "ALEPH_AGENT_NETWORK=dev net" OTHER=1
ExecStart={ path=/my venv/python ; argv[]=/my venv/python -I ; ignore_errors=no }
"""


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What each manager answers, by a word of the question."""
    answers: dict[str, str] = {"--user show-environment": "HOME=/h\nALEPH_AGENT_MAX=1\nEDITOR=vi\n"}

    def said(*words: str) -> str:
        return next((text for question, text in answers.items() if question in " ".join(words)), "")

    monkeypatch.setattr(installed, "_said", said)
    return answers


def test_the_environment_is_the_managers_and_the_units_not_this_shells(manager):
    """Drop-ins included: systemd itself is asked."""
    manager["--user show aleph-agentd.service"] = SHOWN
    shell = {
        "PATH": "/bin",
        "ALEPH_AGENT_NETWORK": "mainnet",
        "XDG_CONFIG_HOME": "/mine",
        "ALEPH_API_HOST": "x",
    }
    found = installed.look(shell)
    assert found.unit == "/h/.config/systemd/user/aleph-agentd.service" and found.python == "/my venv/python"
    assert installed.environment(found, shell) == {
        "PATH": "/bin",
        "HOME": "/h",
        "XDG_STATE_HOME": "/h/state",
        "ALEPH_AGENT_NETWORK": "dev net",
        "ALEPH_AGENT_MAX": "1",
    }
    assert installed.unseen(found, shell) == ["ALEPH_AGENT_NETWORK"]
    assert found.control_socket and found.control_socket.match("aleph-agentd/control.sock")


def test_the_system_unit_is_looked_at_where_the_user_has_none(manager):
    """Its commands need root."""
    manager["systemctl show aleph-agentd.service"] = SHOWN
    found = installed.look({})
    assert found.kind == "system" and found.systemctl == ("sudo", "systemctl")


def test_without_a_unit_this_shell_is_what_the_daemon_would_get(manager, tmp_path):
    """And nothing is unseen."""
    shell = {"ALEPH_AGENT_NETWORK": "devnet", "XDG_STATE_HOME": str(tmp_path)}
    found = installed.look(shell)
    assert not found.unit and installed.environment(found, shell) == shell
    assert installed.unseen(found, shell) == []


def test_who_names_a_runtime_directory_means_a_daemon_outside_of_systemd(manager):
    """The managers are not even asked."""
    manager["--user show aleph-agentd.service"] = SHOWN
    assert installed.look({"ALEPH_AGENT_RUNTIME_DIR": "/r"}) == Installation(own=True)
