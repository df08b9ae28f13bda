"""MessagePack-RPC over Unix sockets."""
