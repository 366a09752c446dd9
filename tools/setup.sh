#!/usr/bin/env bash
# Make .venv ready for one purpose: tools/setup.sh demo|test|nox
#
# Picks a Python, creates .venv, and installs this package (editable) with what the purpose needs.
# Does nothing when that has been done and pyproject.toml has not changed since.
# PYTHON=/path/to/python chooses the interpreter. Prints nothing but what it does and what fails.
set -euo pipefail
cd "$(dirname "$0")/.."

case "${1:-}" in
    demo) install=(--editable .) ;;
    nox) install=(--group nox) ;;
    test) install=(--editable '.[all]' --group tests --group typing --group lint --group docs) ;;
    *)
        echo "usage: tools/setup.sh demo|test|nox" >&2
        exit 2
        ;;
esac
stamp=".venv/ready-$1"

new_enough() { # Does this command run, and is it Python 3.11 or newer? (A pyenv shim may not run.)
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

has_venv() {
    "$1" -c 'import ensurepip, venv' >/dev/null 2>&1
}

on_debian_as_root() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null
}

apt_install() {
    echo "installing $*"
    apt-get update -qq >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >/dev/null
}

find_python() {
    local candidate
    for candidate in python3.13 python3.12 python3.11 python3; do
        if new_enough "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

choose_python() { # Sets `python`, or says what is missing and ends.
    if [ -n "${PYTHON:-}" ]; then
        python=$PYTHON
        new_enough "$python" || {
            echo "PYTHON=$PYTHON is not a Python 3.11 or newer that runs" >&2
            exit 1
        }
    elif ! python=$(find_python); then
        if on_debian_as_root; then apt_install python3 python3-venv; fi
        python=$(find_python) || {
            echo "Python 3.11 or newer is needed: install it, or name it with PYTHON=/path/to/python" >&2
            exit 1
        }
    fi
    if ! has_venv "$python"; then
        package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
        if on_debian_as_root; then apt_install "$package" || true; fi
        has_venv "$python" || {
            echo "$python has no venv module: install it (Debian, Ubuntu: apt-get install $package)" >&2
            exit 1
        }
    fi
}

version() {
    "$1" -c 'import sys; print(sys.version)' 2>/dev/null
}

fingerprint() { # What an installation depends on.
    cat pyproject.toml tools/setup.sh | cksum
    pwd
}

# A .venv is kept if it runs, and is not of another version than the one asked for.
if ! new_enough .venv/bin/python || ! .venv/bin/python -c 'import pip' 2>/dev/null ||
    { [ -n "${PYTHON:-}" ] && [ "$(version "$PYTHON")" != "$(version .venv/bin/python)" ]; }; then
    choose_python
    echo "creating .venv with $("$python" --version)"
    "$python" -m venv --clear .venv
fi

if [ "$(cat "$stamp" 2>/dev/null)" != "$(fingerprint)" ]; then
    echo "installing into .venv: ${install[*]}"
    pip=(.venv/bin/python -m pip -qq --disable-pip-version-check --no-input install)
    "${pip[@]}" --upgrade 'pip>=25.1' # the first with --group
    "${pip[@]}" "${install[@]}"
    fingerprint >"$stamp"
fi
