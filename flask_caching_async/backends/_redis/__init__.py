"""Redis and Valkey: scripts, transports, and how values lie on the server."""
