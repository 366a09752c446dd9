"""The memory of one process: entries as objects, and which of them go when it is full."""
