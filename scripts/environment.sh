# Sourced by ./scripts/run, ./scripts/test and ./scripts/bench, which set $root to the project's folder.
#
#   prepare_environment server    the project with its server
#   prepare_environment dev       and the tools that the tests need
#
# makes the virtual environment $MTLS_AS_VENV (default: .venv) if there is none, installs the project into it unless
# that has been done since pyproject.toml changed, and sets $python to its interpreter.

use_venv() {
    venv=$1
    python=$venv/bin/python
}

use_venv "${MTLS_AS_VENV:-$root/.venv}"
npm_packages=$root/tests/interop/node

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    for candidate in ${PYTHON:-python3 python3.15 python3.14 python3.13 python3.12 python3.11 python}; do
        if is_new_enough "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    fail "No Python 3.11 or newer was found. Install one, or name it: PYTHON=/path/to/python3.11 $0"
}

make_venv() {
    base=$(find_python) || exit 1
    if ! "$base" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        version=$("$base" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        fail "$base cannot make virtual environments. On Debian and Ubuntu: apt-get install python$version-venv"
    fi
    echo "Making a virtual environment in $venv with $base" >&2
    "$base" -m venv "$venv" || fail "$venv could not be made."
}

install_project() {
    # pip knows dependency groups since 25.1.
    "$python" -m pip install --quiet --disable-pip-version-check 'pip>=25.1' || fail "pip could not be updated in $venv."
    case $1 in
        server) set -- --editable "$root[server]" ;;
        dev) set -- --editable "$root[server]" --group "$root/pyproject.toml:dev" ;;
    esac
    "$python" -m pip install --quiet --disable-pip-version-check "$@" || fail "The project could not be installed in $venv."
}

# Exactly those of the lock file, in $venv/node; Node and npm are in the virtual environment already.
install_npm_packages() {
    mkdir -p "$venv/node"
    cp "$npm_packages/package.json" "$npm_packages/package-lock.json" "$npm_packages/.npmrc" "$venv/node"
    (PATH="$(cd "$venv/bin" && pwd):$PATH" && cd "$venv/node" && npm ci --silent) && return
    echo "The packages of npm could not be installed; tests that need them are skipped." >&2
    return 1
}

# What an installation depends on: where the project is, and what it asks for.
project_state() {
    "$python" -c 'import hashlib, sys
print(sys.argv[1], hashlib.sha256(b"".join(open(name, "rb").read() for name in sys.argv[1:])).hexdigest())' \
        "$root/pyproject.toml" "$npm_packages/package-lock.json"
}

prepare_environment() {
    [ -e "$venv" ] || make_venv
    "$python" -m pip --version >/dev/null 2>&1 || fail "$venv is not a working virtual environment. Delete it and start again."
    state=$(project_state)
    for installed in "$1" dev; do # dev holds everything that server does
        if [ "$(cat "$venv/.mtls-as-$installed" 2>/dev/null)" = "$state" ]; then
            return
        fi
    done
    echo "Installing the project and what it needs in $venv" >&2
    install_project "$1"
    [ "$1" != dev ] || install_npm_packages || return 0 # the next time tries again
    printf '%s\n' "$state" >"$venv/.mtls-as-$1"
}
