#!/bin/sh
# Installs those of the named Debian packages that are missing, which wheels cannot bring.
# Where there is no apt-get it does nothing: the tests then say what they miss.
set -eu

missing() {
    for name in "$@"; do
        # Newer releases carry some of these with a suffix for 64-bit time.
        dpkg-query -W -f '${db:Status-Status}\n' "$name" "${name}t64" 2>/dev/null \
            | grep -qx installed || echo "$name"
    done
}

available() {
    for name in "$@"; do
        apt-cache show --no-all-versions "${name}t64" >/dev/null 2>&1 && name="${name}t64"
        echo "$name"
    done
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

command -v dpkg-query >/dev/null && command -v apt-get >/dev/null || exit 0
names=$(missing "$@" | xargs)
[ -n "$names" ] || exit 0
if ! as_root true 2>/dev/null; then
    echo "The tests need \`sudo apt-get install $names\`" >&2
    exit 1
fi
as_root apt-get update --quiet
as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install --quiet --yes --no-install-recommends $(available $names)
