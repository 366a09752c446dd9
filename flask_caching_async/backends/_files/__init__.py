"""A directory as a cache: its files, their locks and leases, and the sweep."""
