#!/usr/bin/env bash
# Writes requirements.lock (what runs), requirements-gateway.lock (what a gateway's box needs of it),
# requirements-dev.lock (what runs, tests and checks) and requirements-bench.lock (the same and what
# benchmarks measure against) from pyproject.toml: exact versions with hashes, no address of any index.
# Needs uv.
# Versions stay as they are unless pyproject.toml asks otherwise; UPGRADE=1 takes newer ones.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

UV=${UV:-uv}
command -v "$UV" >/dev/null || {
    echo "lock: uv is missing; install it, or name it: UV=/path/to/uv make lock" >&2
    exit 1
}

# The build backend is locked too, so that the project itself installs without a look at an index.
build_requirements() {
    .venv/bin/python - <<'PY'
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))
print("\n".join(project["build-system"]["requires"]))
PY
}

gateway_requirements() {
    .venv/bin/python - <<'PY'
import re
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))
wanted = project["tool"]["wattloom"]["gateway"]
asked = {re.split(r"[<>=~!;\[ ]", line)[0]: line for line in project["project"]["dependencies"]}
print("\n".join(asked[name] for name in wanted))
PY
}

pip_compile() {
    "$UV" pip compile --quiet --universal \
        --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
        --no-annotate --custom-compile-command "make lock" ${UPGRADE:+--upgrade} "$@"
}

compile() {
    build_requirements | pip_compile pyproject.toml - "$@"
}

compile --output-file requirements.lock
{ build_requirements; gateway_requirements; } |
    pip_compile - --constraints requirements.lock --output-file requirements-gateway.lock
compile --extra dev --constraints requirements.lock --output-file requirements-dev.lock
compile --extra dev --extra bench --constraints requirements-dev.lock \
    --output-file requirements-bench.lock
echo "lock: wrote requirements.lock and those of gateway, dev and bench"
