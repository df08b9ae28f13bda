"""Facts and decisions, without I/O."""
