"""`aleph-agentctl top`: everything at a glance, live, in a plain terminal."""
