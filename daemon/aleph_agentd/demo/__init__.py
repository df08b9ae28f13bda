"""`aleph-agentd demo`: the whole life of one VM on a local network, told step by step and proven at the end."""

from aleph_agentd.demo.run import main

__all__ = ["main"]
