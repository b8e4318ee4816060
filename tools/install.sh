#!/bin/sh
# Installs the pinned tools into .tools/: `sam` (build, check, deploy), `cloud` (the local cloud), `lint` (what only
# `make lint` needs) and `bench` (the benchmark's baselines). A set whose lock file has not changed is skipped, so
# running this before every build costs nothing.
#
#   tools/install.sh [sam] [cloud] [lint] [bench]        without arguments: sam and cloud
#
# Needs Python 3.10 or later with venv. Set PYTHON to use another one than `python3`.
set -eu

here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
dest=$(dirname -- "$here")/.tools
python=${PYTHON:-python3}

die() {
    printf 'tools: %s\n' "$1" >&2
    exit 1
}

checksum() {
    cksum <"$here/$1.txt"
}

# A set is complete when its stamp, written last, holds the checksum of the current lock file.
current() {
    [ -x "$dest/$1/bin/python" ] && [ "$(cat "$dest/$1.stamp" 2>/dev/null)" = "$(checksum "$1")" ]
}

check_python() {
    command -v "$python" >/dev/null 2>&1 ||
        die "Python 3.10 or later is needed and '$python' was not found; install it, or set PYTHON to its path."
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
        die "Python 3.10 or later is needed and '$python' is $("$python" -V 2>&1); set PYTHON to a newer one."
    "$python" -c 'import venv, ensurepip' 2>/dev/null ||
        die "Python's venv module is missing; install it (on Debian and Ubuntu: apt-get install python3-venv)."
}

install_uv() {
    if current uv; then return; fi
    echo "tools: installing uv"
    rm -rf "$dest/uv" "$dest/uv.stamp"
    "$python" -m venv "$dest/uv"
    "$dest/uv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r "$here/uv.txt"
    checksum uv >"$dest/uv.stamp"
}

install_set() {
    if current "$1"; then return; fi
    check_python
    mkdir -p "$dest"
    install_uv
    echo "tools: installing $1 ($(grep -c == "$here/$1.txt") packages)"
    rm -rf "${dest:?}/$1" "$dest/$1.stamp"
    # Hard links from uv's cache where the file system allows: the sets are large.
    # Byte code now, because every later start of sam would otherwise compile it again.
    UV_PYTHON_DOWNLOADS=never "$dest/uv/bin/uv" venv --quiet --no-project --python "$python" "$dest/$1"
    "$dest/uv/bin/uv" pip install --quiet --python "$dest/$1/bin/python" \
        --require-hashes --no-deps --compile-bytecode -r "$here/$1.txt"
    checksum "$1" >"$dest/$1.stamp"
}

[ $# -gt 0 ] || set -- sam cloud
for name in "$@"; do
    case $name in
    sam | cloud | lint | bench) install_set "$name" ;;
    *) die "there is no set called '$name'; there are: sam, cloud, lint, bench." ;;
    esac
done
