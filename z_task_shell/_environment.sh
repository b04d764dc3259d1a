# Sourced by the scripts here: goes to the project's folder and activates .venv,
# which it makes and fills on the first run. Later runs install nothing.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2

fail() {
    echo "error: $*" >&2
    exit 2
}

# Sets `where` to those of the flags that say where the data lies, and the files beside it, for a step before the training.
where_of() {
    where=()
    while [ $# -gt 0 ]; do
        case "$1" in
        --data=* | --sidecar_dir=* | --sidecar-dir=* | --logdir=*) where+=("$1") ;;
        --data | --sidecar_dir | --sidecar-dir | --logdir)
            where+=("$1" "${2:-}")
            [ $# -eq 1 ] || shift
            ;;
        esac
        shift
    done
}

find_python() {
    local name
    for name in "${PYTHON:-}" python3.13 python3.12 python3.11 python3 python; do
        [ -n "$name" ] && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$name" && return
    done
    return 1
}

# Shows what pip is busy with: one changing line on a terminal, the large downloads elsewhere.
show_pip() {
    local line
    while IFS= read -r line; do
        [[ "$line" =~ ^Installing\ collected ]] && line="Installing the packages; pip says nothing meanwhile, this takes a minute or more"
        if [ -t 1 ]; then
            printf '\r\033[K%.*s' "$(($(tput cols 2>/dev/null || echo 80) - 1))" "$line"
        else
            [[ "$line" =~ Downloading.*\ \([0-9]{3,}.*MB|Installing\ the\ packages ]] && printf '  %.100s\n' "${line#"${line%%[![:space:]]*}"}"
        fi
    done
    [ -t 1 ] && printf '\r\033[K'
    return 0
}

# Fails before anything is downloaded where the disk has no room for the packages.
require_room() {
    local free
    free=$(($(df -Pk . | awk 'NR == 2 {print $4}') / 1000000))
    [ "$free" -ge 10 ] || fail "the packages and their downloads take up to 10 GB, and $free GB are free on the disk of $PWD; free some, then run this again"
}

install_packages() {
    local list=requirements.lock log=.venv/install.log
    [ -d "$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/torch" ] || require_room
    # The lock file serves Linux x86-64 and Python 3.11 to 3.13.
    if [ "$(uname -sm)" != "Linux x86_64" ] || .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 14))'; then
        list="requirements.txt -r requirements-test.txt"
    fi
    echo "Installing packages into .venv (once; 6.8 GB on disk)"
    # shellcheck disable=SC2086
    if ! .venv/bin/python -m pip install --disable-pip-version-check -r $list 2>&1 | tee "$log" | show_pip; then
        grep -iE 'error|no space|could not' "$log" | tail -n 3 >&2
        fail "the installation failed; the whole log is in $log. Check the network and the free disk space, then run this again"
    fi
    stamp >.venv/.installed
}

stamp() {
    cat requirements.lock requirements.txt requirements-test.txt | cksum
}

set -euo pipefail
if [ ! -x .venv/bin/python ]; then
    python=$(find_python) || fail "Python 3.11 or later is needed; install it (Debian: apt install python3 python3-venv) or set PYTHON=/path/to/python3"
    echo "Creating .venv with $("$python" --version)"
    "$python" -m venv .venv || fail "$python cannot make a virtual environment; install its venv module (Debian: apt install python3-venv)"
fi
[ -f .venv/.installed ] && [ "$(cat .venv/.installed)" = "$(stamp)" ] || install_packages
export PATH="$PWD/.venv/bin:$PATH"
