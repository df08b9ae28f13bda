"""A byte pipe between an MCP client on stdio and the daemon."""
