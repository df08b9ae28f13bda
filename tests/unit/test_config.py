"""Settings: the environment wins, the file is next, and whatever is wrong is one line that names it."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from aleph_agentd.adapters.addresses import checksummed
from aleph_agentd.adapters.config import ConfigError, Settings
from aleph_agentd.domain.caller import SessionLimits
from aleph_agentd.domain.limits import Limits

HUMAN = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"  # from EIP-55
HASH = "a" * 64


class Place:
    """A home of its own: variables without our prefix, and a config.toml."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch):
        self.home, self._monkeypatch = home, monkeypatch
        self.file = home / "config" / "aleph-agentd" / "config.toml"

    def write(self, text: str) -> None:
        """Put this into config.toml."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(text)

    def load(self, **variables: str) -> Settings:
        """The settings with these variables, named without their prefix."""
        with self._monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(f"ALEPH_AGENT_{name}", value)
            return Settings.load()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """An environment without any setting of ours."""
    for name in list(os.environ):
        if name.startswith("ALEPH_AGENT_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Place(tmp_path, monkeypatch)


def refusal(place: Place, **variables: str) -> str:
    """The one line that stops the start."""
    with pytest.raises(ConfigError) as refused:
        place.load(**variables)
    line = str(refused.value)
    assert "\n" not in line
    assert len(line) < 700
    return line


def test_nothing_set_gives_the_documented_defaults(place: Place) -> None:
    """The table of docs/policy.md."""
    settings = place.load()
    assert settings.limits == Limits()
    assert settings.network == "mainnet"
    assert settings.api_hosts == ("https://api2.aleph.im",)
    assert settings.crn_list_url == "https://crns-list.aleph.sh/crns.json"
    assert settings.aggregate_address == "0xFba561a84A537fCaa567bb7A2257e7142701ae2A"
    assert settings.private_key_path == place.home / ".aleph-im/private-keys/ethereum.key"
    assert settings.database_path == place.home / "state/aleph-agentd/inventory.db"
    assert settings.predecessor_path == place.home / ".aleph-agent-inventory.json"
    assert (settings.human_address, settings.allow_local) == (None, False)


def test_the_environment_wins_over_the_file(place: Place) -> None:
    """Setting by setting."""
    place.write('sweep_interval_s = 60\n[policy]\nmax_concurrent_vms = 7\nmax_daily_spend = "5 USD"\n')
    settings = place.load(MAX_CONCURRENT_VMS="2")
    assert settings.limits == replace(Limits(), max_concurrent_vms=2, max_daily_spend_units=5_000_000)
    assert settings.sweep_interval_s == 60


def test_amounts_are_credits_or_dollars_and_optional_ones_can_be_off(place: Place) -> None:
    """Bare numbers are credits, in the file as well."""
    place.write('[policy]\nmin_balance = 2.5\nmax_hourly_burn = 3\nmax_session_spend = "1 USD"\n')
    limits = place.load(MAX_DAILY_SPEND="off", COST_THRESHOLD="0", HUMAN_APPROVAL_THRESHOLD="500 cr").limits
    assert limits.min_balance_units == 25_000
    assert limits.max_hourly_burn_units == 30_000
    assert limits.max_session_spend_units == 1_000_000
    assert limits.max_daily_spend_units is None
    assert limits.cost_threshold_units == 0
    assert limits.human_approval_threshold_units == 5_000_000


def test_an_empty_variable_is_not_set(place: Place) -> None:
    """As shells and unit files leave it."""
    assert place.load(MAX_CONCURRENT_VMS="", HUMAN_ADDRESS="", API_HOST="").limits == Limits()


def test_addresses_are_checksummed(place: Place) -> None:
    """A lower-case address is another account to the network."""
    assert place.load(HUMAN_ADDRESS=HUMAN.lower()).human_address == HUMAN
    assert place.load(HUMAN_ADDRESS=HUMAN).human_address == HUMAN
    assert "EIP-55" in refusal(place, HUMAN_ADDRESS=HUMAN.replace("aA", "Aa"))
    for address in (
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    ):
        assert checksummed(address.lower()) == checksummed("0x" + address[2:].upper()) == address


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (name, value)
        for name in (
            "MAX_CONCURRENT_VMS",
            "MAX_TTL_HOURS",
            "BALANCE_GUARD_PERCENT",
            "COST_THRESHOLD",
            "MAX_SESSION_SPEND",
            "MAX_DAILY_SPEND",
            "MAX_CREATES_PER_HOUR",
            "SWEEP_INTERVAL_S",
            "MAX_COMPUTE_UNITS",
        )
        for value in ("nan", "inf", "-1", "9" * 400, "1e999", "1; rm", "0x10")
    ]
    + [
        ("MAX_TTL_HOURS", "0"),
        ("MAX_TTL_HOURS", "8761"),
        ("BALANCE_GUARD_PERCENT", "101"),
        ("COST_THRESHOLD", "14250000"),
        ("COST_THRESHOLD", "off"),
        ("HUMAN_ADDRESS", "0x12"),
        ("NETWORK", "testnet"),
        ("API_HOST", "ftp://x"),
        ("API_HOST", "https://user:pw@x.example"),
        ("API_HOSTS", "https://a.example,nonsense"),
        ("PRIVATE_KEY_PATH", "key"),
        ("OS_IMAGES", "mine=abc"),
        ("OS_IMAGES", f"My Image={HASH}"),
        ("ALLOWED_CRNS", "short"),
        ("ALLOWED_OS_IMAGES", ","),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_setting_and_its_origin(
    place: Place, name: str, value: str
) -> None:
    """Numbers that are none, overflow, and what does not fit its kind."""
    assert refusal(place, **{name: value}).startswith(f"ALEPH_AGENT_{name} (environment) is ")


def test_a_wrong_value_in_the_file_names_the_file(place: Place) -> None:
    """With what is allowed."""
    place.write("[policy]\nmax_concurrent_vms = -3\n")
    line = refusal(place)
    assert line.startswith(f"max_concurrent_vms ({place.file}) is -3: ")
    assert "greater than or equal to 0" in line


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("max_concurrent_wms = 3", "is not a setting; docs/policy.md"),
        ("network_ = 'devnet'", "is not a setting; did you mean network?"),
        ("max_concurrent_vms = 3", "belongs into the table [policy]"),
        ("[policy]\nnetwork = 'devnet'", "belongs above the tables"),
        ("[policy]\nmax_concurent_vms = 3", "did you mean max_concurrent_vms?"),
        (
            "[policy]\nmax_concurrent_vms = true",
            "only approval_by_client, teardown_unreachable may be true or false",
        ),
        ("[other]\nx = 3", "other ("),
        ("policy = 3", "must be a table"),
        ("a = [", "is not TOML"),
        ("[policy]\nmax_daily_spend = nan", "is not an amount"),
        ("[policy]\nmax_ttl_hours = inf", "finite"),
        ("\x00", "is not TOML"),
        ("# " + "x" * 300_000, "larger than"),
    ],
)
def test_a_file_that_is_not_understood_stops_the_start(place: Place, text: str, said: str) -> None:
    """Each with the file's name."""
    place.write(text)
    line = refusal(place)
    assert said in line
    assert str(place.file) in line


def test_a_switch_may_be_true_or_false_and_is_off_by_default(place: Place) -> None:
    """As TOML has it; in the environment as a word or a digit."""
    assert place.load().limits.approval_by_client is False
    assert place.load(APPROVAL_BY_CLIENT="1").limits.approval_by_client is True
    place.write("teardown_unreachable = true\n[policy]\napproval_by_client = true\n")
    settings = place.load()
    assert settings.limits.approval_by_client and settings.teardown_unreachable
    assert "APPROVAL_BY_CLIENT" in refusal(place, APPROVAL_BY_CLIENT="maybe")


def test_a_variable_that_nobody_reads_stops_the_start(place: Place) -> None:
    """A limit with a typing error would silently not hold."""
    assert "did you mean ALEPH_AGENT_MAX_SESSION_SPEND?" in refusal(place, MAX_SESION_SPEND="5")
    place.load(AUTOSTART="0", RUNTIME_DIR="/tmp/x", RUN_INTEGRATION="1")


def test_a_chosen_file_must_exist_and_be_readable(place: Place, tmp_path: Path) -> None:
    """The default one need not."""
    assert "does not exist" in refusal(place, CONFIG=str(tmp_path / "none.toml"))
    assert "cannot be read" in refusal(place, CONFIG=str(tmp_path))
    chosen = tmp_path / "mine.toml"
    chosen.write_text("orphan_grace_s = 5")
    assert place.load(CONFIG=str(chosen)).orphan_grace_s == 5


def test_devnet_is_the_local_network_and_api_hosts_override(place: Place) -> None:
    """The CRN list follows the local host; an explicit network needs https unless it is local."""
    devnet = place.load(NETWORK="devnet")
    assert devnet.api_hosts == ("http://127.0.0.1:4024",)
    assert devnet.crn_list_url == "http://127.0.0.1:4024/crns.json"
    assert devnet.allow_local
    other = place.load(NETWORK="devnet", API_HOST="http://127.0.0.1:5/")
    assert (other.api_hosts, other.crn_list_url) == (("http://127.0.0.1:5",), "http://127.0.0.1:5/crns.json")
    local = place.load(API_HOST="http://localhost:1", CRN_LIST_URL="http://127.0.0.9/c")
    assert (local.allow_local, local.crn_list_url) == (True, "http://127.0.0.9/c")
    several = place.load(API_HOSTS="https://a.example, https://b.example/")
    assert (several.api_hosts, several.allow_local) == (("https://a.example", "https://b.example"), False)
    assert "is not https" in refusal(place, API_HOST="http://a.example")
    assert "is not https" in refusal(place, CRN_LIST_URL="http://a.example/crns.json")
    assert "keep one" in refusal(place, API_HOST="https://a.example", API_HOSTS="https://b.example")


def test_images_are_added_by_name_and_the_default_must_be_one_of_them(place: Place) -> None:
    """In the environment as name=hash, in the file as a table of its own."""
    settings = place.load(OS_IMAGES=f"mine={HASH}, other={'b' * 64}", DEFAULT_OS_IMAGE="mine")
    assert settings.os_images == {"mine": HASH, "other": "b" * 64}
    assert "there are ubuntu22, ubuntu24, debian12" in refusal(place, DEFAULT_OS_IMAGE="windows")


def test_a_default_lease_longer_than_the_longest_is_refused(place: Place) -> None:
    """It could never be granted."""
    assert "default_ttl_hours (4) is more than max_ttl_hours (2)" in refusal(place, MAX_TTL_HOURS="2")


def test_a_json_inventory_is_imported_into_a_database_beside_it(place: Place) -> None:
    """What the predecessor's users have in their environment."""
    settings = place.load(INVENTORY_PATH="~/vms.json")
    assert settings.predecessor_path == place.home / "vms.json"
    assert settings.database_path == place.home / "vms.db"


def test_what_is_wrong_with_a_webhook_is_told_without_its_token(place: Place) -> None:
    """The error goes into the journal, to whoever waits at the sockets, and into the doctor's output."""
    with pytest.raises(ConfigError) as wrong:
        place.load(WEBHOOK_URL="http://hooks.example/services/T000/SECRETTOKEN")
    assert "webhook_url" in str(wrong.value).lower() and "https" in str(wrong.value)
    assert "SECRETTOKEN" not in str(wrong.value)


def test_the_description_for_the_log_has_every_setting_and_no_secret(place: Place) -> None:
    """A database's address may hold a password, also when it is wrong."""
    line = place.load(DATABASE_URL="postgresql://u:hunter2@db/x").describe()
    assert "hunter2" not in line
    assert all(f"{name}=" in line for name in Settings.model_fields)


def test_every_setting_is_described_and_none_can_be_changed(place: Place) -> None:
    """One sentence each."""
    assert all(field.description for field in Settings.model_fields.values())
    with pytest.raises(ValueError, match="frozen"):
        place.load().max_concurrent_vms = 9  # type: ignore[misc]


def test_health_can_be_turned_off_and_ends_nothing_unless_it_is_told_to(place: Place) -> None:
    """`TEARDOWN_UNREACHABLE=1`, as the mission writes it."""
    settings = place.load()
    assert (settings.health_interval_s, settings.unreachable_minutes) == (60, 30)
    assert settings.teardown_unreachable is False
    settings = place.load(HEALTH_INTERVAL_S="off", TEARDOWN_UNREACHABLE="1", UNREACHABLE_MINUTES="5")
    assert (settings.health_interval_s, settings.unreachable_minutes) == (None, 5)
    assert settings.teardown_unreachable is True
    assert "health_interval_s" in refusal(place, HEALTH_INTERVAL_S="0").lower()
    assert "unreachable_minutes" in refusal(place, UNREACHABLE_MINUTES="0").lower()


def test_a_project_s_table_is_its_sub_budget(place: Place) -> None:
    """Under the directory in its shortest spelling; amounts as everywhere."""
    place.write(
        '[policy]\nmax_extensions = 2\n[projects."/work/./a/"]\nmax_daily_spend = "5 USD"\nmax_concurrent_vms = 1\n'
        '[projects."~/b"]\nallowed_os_images = "debian12"\n'
    )
    limits = place.load().limits
    assert limits.max_extensions == 2
    assert limits.projects == {
        "/work/a": SessionLimits(max_daily_spend_units=5_000_000, max_concurrent_vms=1),
        f"{place.home}/b": SessionLimits(allowed_os_images=frozenset({"debian12"})),
    }
    assert place.load().for_sessions().limits == limits


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('projects = "no"', "must be tables"),
        ("[projects]\na = 1", "must be tables"),
        ('[projects."relative"]\nmax_concurrent_vms = 1', "absolute path"),
        ('[projects."/a"]\nmax_concurrent_vm = 1', "projects./a.max_concurrent_vm"),
        ('[projects."/a"]\nmax_daily_spend = "9999999"', "projects./a.max_daily_spend"),
        ('[projects."/a"]\nmax_concurrent_vms = -1', "projects./a.max_concurrent_vms"),
    ],
)
def test_a_project_s_table_that_cannot_be_read_stops_the_start(place: Place, text: str, named: str) -> None:
    """With one line that names the setting."""
    place.write(text)
    assert named in refusal(place)


def test_projects_are_no_variable(place: Place) -> None:
    """The environment holds no tables."""
    assert "is not a setting" in refusal(place, PROJECTS="{}")


def test_setup_templates_are_scripts_or_files_beside_the_configuration(place: Place) -> None:
    """By name; the log has the names only."""
    place.write('[setup_templates]\ndocker = "apt-get install docker.io"\nrust = { file = "rust.sh" }\n')
    script = place.file.with_name("rust.sh")
    script.write_text("cargo\n")
    script.chmod(0o600)
    settings = place.load()
    assert settings.setup_templates == {"docker": "apt-get install docker.io", "rust": "cargo\n"}
    assert "setup_templates=docker,rust" in settings.describe()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ('"Rust" = "make"', "no name"),
        ('rust = "  "', "1 to 32000"),
        (f'rust = "{"x" * 32_001}"', "1 to 32000"),
        ("rust = 7", "neither a script"),
        ('rust = { file = "../rust.sh" }', "not the name of a file beside"),
        ('rust = { file = "/etc/passwd" }', "not the name of a file beside"),
        ('rust = { file = "none.sh" }', "cannot be read"),
        ('rust = { file = "open.sh" }', "could be written by others"),
        ('rust = { file = "pipe" }', "not a regular file"),
        ('rust = { file = "blob" }', "is no text"),
        ("\n".join(f'r{n} = "make"' for n in range(33)), "at most 32"),
    ],
)
def test_a_setup_template_that_cannot_be_used_stops_the_start(place: Place, value: str, said: str) -> None:
    """In one line, whatever is wrong with it; and no pipe is waited for."""
    place.write(f"[setup_templates]\n{value}\n")
    beside = place.file.parent
    for name, content, mode in (("open.sh", b"make", 0o666), ("blob", b"\xff\xfe", 0o600)):
        (beside / name).write_bytes(content)
        (beside / name).chmod(mode)
    os.mkfifo(beside / "pipe")
    assert said in refusal(place)


def test_setup_templates_are_no_variable(place: Place) -> None:
    """A table is not."""
    assert "is not a setting" in refusal(place, SETUP_TEMPLATES="{}")
