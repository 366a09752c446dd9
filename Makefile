# Each target sets up what it needs, in .venv and .nox, from a clean clone.
# PYTHON=/path/to/python chooses the interpreter (3.11 or newer); ARGS="-k flight" goes to pytest.

.DEFAULT_GOAL := help
.PHONY: help demo test ci lowest downstream extras coverage wheel docs bench servers

# Programs that the tests need; tools/servers.sh installs what is missing.
SERVERS := redis-server memcached openssl

help:  ## Show the targets.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 16

demo:  ## Run examples/demo.py, without any server.
	@tools/setup.sh demo
	@.venv/bin/python examples/demo.py

test: servers  ## Lint, check types and documentation, and run all tests.
	@tools/setup.sh test
	@tools/test.sh $(ARGS)

ci:  ## All that the continuous integration runs: test, and the five below.
	@.ci/run

lowest:  ## Run the tests with the oldest dependencies that are allowed.
downstream:  ## Run Flask-Caching's own tests against this package.
extras:  ## Test the backends whose drivers `make test` does not install.
coverage:  ## Run all tests, and say which lines none of them reaches.
wheel:  ## Build the wheel, and run some of the tests against it.
docs:  ## Build the documentation: docs/_build/html/index.html.
bench:  ## Run the benchmarks; ARGS="benchmarks/hits.py" runs one of them, ARGS=--save keeps the results.
lowest downstream extras coverage wheel: servers
lowest downstream extras coverage wheel docs bench:
	@tools/setup.sh nox
	@.venv/bin/nox --error-on-missing-interpreters --session $@ -- $(ARGS)

servers:
	@tools/servers.sh $(SERVERS)
	@tools/servers.sh nginx || echo "the tests behind a proxy are skipped" >&2
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || \
		tools/servers.sh chromium || echo "the tests in a browser are skipped" >&2
