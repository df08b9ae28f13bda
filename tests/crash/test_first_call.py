"""A call may come while the daemon still imports what it needs."""

import subprocess
import sys

RACE = """
import sys, threading, pathlib
from aleph_agentd.adapters.aleph.keys import KeyFile
from aleph_agentd.adapters.aleph.sdk import Sdk
from aleph_agentd.adapters.aleph.settings import NetworkSettings

import aleph.sdk.client.authenticated_http
assert "eth_account" not in sys.modules, "it is the rest of the SDK that races with the key"

key = pathlib.Path(sys.argv[1])
half_way, met = threading.Event(), threading.Event()

class Pause:
    def find_spec(self, name, path=None, target=None):
        in_main = threading.current_thread() is threading.main_thread()
        if name == "eth_account.account" and in_main:
            half_way.set()
            met.wait(1)  # let the other thread meet a half imported tree, unless it is kept waiting
        if name == "eth_account.messages" and not in_main:
            met.set()

def load():
    half_way.wait(30)
    sdk._load()

sdk = Sdk(NetworkSettings(key_path=key))
sys.meta_path.insert(0, Pause())
loading = threading.Thread(target=load)
loading.start()
print(KeyFile(key).account().get_address())
loading.join()
import aleph.sdk.client.vm_client
"""


def test_the_key_can_be_used_while_the_sdk_is_being_imported(tmp_path):
    """Two threads that import the same tree break each other: the call failed, and all after it."""
    key = tmp_path / "ethereum.key"
    key.write_bytes(bytes(31) + b"\x01")
    key.chmod(0o600)
    program = [sys.executable, "-c", RACE, str(key)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=90, cwd=tmp_path)
    assert done.stderr == ""
    assert done.stdout == "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf\n"
