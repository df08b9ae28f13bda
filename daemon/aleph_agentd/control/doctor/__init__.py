"""`aleph-agentctl doctor`: facts are gathered once and at the same time; checks are pure decisions over them."""
