#!/usr/bin/env bash
# Make sure that server programs are there: tools/servers.sh redis-server memcached
#
# Installs the missing ones where that is possible (Debian, as root; with sudo only where CI is set,
# as on a machine that is thrown away), else says what to install.
# It starts nothing: the tests start the servers that they need, on ports of their own.
set -euo pipefail

PATH=$PATH:/usr/sbin  # where nginx is, which is not on everybody's path
missing=()
for program in "$@"; do
    command -v "$program" >/dev/null || missing+=("$program")
done
[ "${#missing[@]}" -gt 0 ] || exit 0

as_root=()
[ "$(id -u)" = 0 ] || [ -z "${CI:-}" ] || as_root=(sudo --non-interactive)

if command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || [ "${#as_root[@]}" -gt 0 ]; }; then
    echo "installing ${missing[*]}"
    "${as_root[@]}" apt-get update -qq >/dev/null
    # RUNLEVEL: the packages start no service.
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install -y -qq "${missing[@]}" >/dev/null
else
    echo "these servers are needed: ${missing[*]} (Debian, Ubuntu: apt-get install ${missing[*]})" >&2
    exit 1
fi
