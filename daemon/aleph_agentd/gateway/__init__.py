"""How callers come in: MessagePack-RPC, and MCP over it."""
