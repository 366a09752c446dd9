"""Memcached: its protocol, transports, and how values lie on the servers."""
