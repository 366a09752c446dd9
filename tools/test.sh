#!/usr/bin/env bash
# All checks of the project, in .venv: tools/test.sh [pytest args]
#
# A failed check does not hide the next one. pytest comes last, so that its closing line is the last
# one; the exit code is that of the first check that failed.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
python=.venv/bin/python
export PYRIGHT_PYTHON_IGNORE_WARNINGS=1 # that a newer pyright exists

failed=0
names=()
check() { # check NAME COMMAND...
    local name=$1 code
    shift
    echo "== $name"
    "$@"
    code=$?
    if [ "$code" != 0 ]; then
        names+=("$name")
        [ "$failed" != 0 ] || failed=$code
    fi
}

check "ruff check" "$python" -m ruff check --quiet .
check "ruff format" "$python" -m ruff format --quiet --diff .
check "codespell" "$python" -m codespell_lib
check "mypy" "$python" -m mypy
check "pyright" "$python" -m pyright --pythonpath "$python"
# Without writing pages, which takes longer; -E, since a page that is not read again warns no more.
check "docs" "$python" -m sphinx -q -W -n -E -b dummy -d docs/_build/doctrees docs docs/_build/dummy
[ "$failed" = 0 ] || echo "== failed so far: $(printf '%s, ' "${names[@]}" | sed 's/, $//')"
# More workers than cores: much of the time, tests wait for servers and processes of their own.
check "pytest" "$python" -m pytest -n 3 "$@"
exit "$failed"
