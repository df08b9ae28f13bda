"""The human verbs: aleph-agentctl."""
