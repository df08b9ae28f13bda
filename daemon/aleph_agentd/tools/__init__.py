"""The verbs of agents: one file per tool."""
