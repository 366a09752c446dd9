# Each target sets up what it needs, in .venv, from a clean clone.
# PYTHON=/path/to/python chooses the interpreter (3.11 or newer); ARGS="-k flight" goes to pytest.

.DEFAULT_GOAL := help
.PHONY: help demo test

# Programs that `make test` needs; tools/servers.sh installs what is missing.
SERVERS := redis-server memcached openssl

help:  ## Show the targets.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile

demo:  ## Run examples/demo.py, without any server.
	@tools/setup.sh demo
	@.venv/bin/python examples/demo.py

test:  ## Lint, check types, and run all tests.
	@tools/setup.sh test
	@tools/servers.sh $(SERVERS)
	@tools/test.sh $(ARGS)
