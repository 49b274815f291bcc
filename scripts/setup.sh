#!/usr/bin/env bash
# Sets the checkout up. One argument names the step; `make setup` and `make demo` call them in
# order and remember by stamp files what is done, so that a second run costs nothing.
#
#   scripts/setup.sh python demo   .venv with what the demo needs, and wattloom itself
#   scripts/setup.sh python test   the same, and what tests and checks need
#   scripts/setup.sh python bench  the same, and the engines that benchmarks measure against
#   scripts/setup.sh assets        the front-end packages, fetched by npm, served locally
#   scripts/setup.sh system        Chromium and PostgreSQL, which the tests start themselves
#
# Nothing is installed system-wide except through apt-get, and only where root runs this.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

# Runs a command without its chatter; shows all of it when the command fails.
quietly() {
    local log status=0
    log=$(mktemp)
    "$@" >"$log" 2>&1 </dev/null || status=$?
    if ((status)); then
        cat "$log" >&2
        rm -f "$log"
        die "this command failed with status $status: $*"
    fi
    rm -f "$log"
}

# Installs Debian packages where that is possible, else says what a person has to do.
apt_install() {
    local purpose=$1
    shift
    if [[ $(id -u) -ne 0 ]] || ! command -v apt-get >/dev/null; then
        die "$purpose is missing. Install it and run this again; on Debian or Ubuntu:" \
            "sudo apt-get install $*"
    fi
    say "installing $* ($purpose)"
    quietly env DEBIAN_FRONTEND=noninteractive apt-get -qq update
    quietly env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@"
}

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

# Prints the first Python on the PATH that is new enough ($PYTHON goes first).
find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11; do
        if [[ -n $candidate ]] && command -v "$candidate" >/dev/null && new_enough "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

make_venv() {
    local python
    if [[ -x .venv/bin/python ]] && new_enough .venv/bin/python; then
        return
    fi
    if ! find_python >/dev/null && ! command -v python3 >/dev/null; then
        apt_install "Python 3.11 or newer" python3 python3-venv
    fi
    python=$(find_python) || die "Python 3.11 or newer is needed, but python3 here is" \
        "$(python3 -c 'import platform; print(platform.python_version())')." \
        "Install a newer one, or name it: PYTHON=/path/to/python3.12 make setup"
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        apt_install "Python's venv module" python3-venv
    fi
    say "creating .venv with $("$python" --version)"
    quietly "$python" -m venv --clear .venv
}

step_python() {
    local lock
    case ${1:-} in
        demo) lock=requirements.lock ;;
        test) lock=requirements-dev.lock ;;
        bench) lock=requirements-bench.lock ;;
        *) die "say which: scripts/setup.sh python demo|test|bench" ;;
    esac
    make_venv
    if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
        quietly .venv/bin/python -m ensurepip
    fi
    say "installing the Python packages of $lock, each checked by its hash"
    quietly .venv/bin/python -m pip install --disable-pip-version-check --require-hashes -r "$lock"
    quietly .venv/bin/python -m pip install --disable-pip-version-check --no-deps \
        --no-build-isolation --editable .
}

step_assets() {
    command -v npm >/dev/null || apt_install "npm (for the web pages' scripts and styles)" nodejs npm
    say "fetching the web pages' scripts and styles with npm"
    quietly npm ci --no-audit --no-fund
    quietly npm run --silent vendor
}

has_chromium() { command -v chromium || command -v chromium-browser || command -v google-chrome; }
has_postgres() { compgen -G '/usr/lib/postgresql/*/bin/initdb' || command -v initdb; }

step_system() {
    has_chromium >/dev/null || apt_install "Chromium (the browser tests drive it)" chromium
    has_postgres >/dev/null || apt_install "PostgreSQL (the tests start their own)" postgresql
}

case ${1:-} in
    python | assets | system) "step_$1" "${@:2}" ;;
    *) die "say which step: python demo|test|bench, assets, system" ;;
esac
