"""aleph-agentd: rents Aleph Cloud VMs for agents, and never loses one."""

__version__ = "0.1.0"
