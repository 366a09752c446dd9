"""A backend beyond get and set: versions that make invalidations win, and leases."""
