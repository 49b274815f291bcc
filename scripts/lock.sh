#!/usr/bin/env bash
# Writes requirements.lock (what runs), requirements-dev.lock (what runs, tests and checks) and
# requirements-bench.lock (the same and what benchmarks measure against) from pyproject.toml: exact versions with hashes, no address of any index. Needs uv.
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

compile() {
    build_requirements | "$UV" pip compile pyproject.toml - --quiet --universal \
        --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
        --no-annotate --custom-compile-command "make lock" ${UPGRADE:+--upgrade} "$@"
}

compile --output-file requirements.lock
compile --extra dev --constraints requirements.lock --output-file requirements-dev.lock
compile --extra dev --extra bench --constraints requirements-dev.lock \
    --output-file requirements-bench.lock
echo "lock: wrote requirements.lock, requirements-dev.lock and requirements-bench.lock"
