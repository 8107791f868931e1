#!/bin/sh
# The Debian packages that wheels cannot bring: `window` names those missing for the window,
# `tests` installs those missing for the window and for the tests. Elsewhere it does nothing.
set -eu

WINDOW="libegl1 libnss3 libasound2 libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1 libxkbcommon-x11-0
    libxcomposite1 libxdamage1 libxrandr2 libxtst6"
TESTS="xvfb xdotool chromium imagemagick"

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
case "$1" in
    window)
        names=$(missing $WINDOW)
        [ -z "$names" ] || echo "The window may not open: Qt needs" \
            "\`sudo apt-get install" $names"\`." >&2
        ;;
    tests)
        names=$(missing $WINDOW $TESTS)
        [ -n "$names" ] || exit 0
        if ! as_root true 2>/dev/null; then
            echo "The tests need \`sudo apt-get install" $names"\`." >&2
            exit 1
        fi
        as_root apt-get update --quiet
        as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get install --quiet --yes --no-install-recommends $(available $names)
        ;;
esac
