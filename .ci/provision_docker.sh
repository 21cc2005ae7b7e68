#!/usr/bin/env bash
# Gives this machine a Docker engine, a base image with Python and the sandbox image, from Debian packages alone.
#
# For test machines that reach no image registry. An engine that already answers is left as it is, and whatever is
# there is not made again, so the script can be run any number of times. Needs root where something is missing.
set -euo pipefail

# Its Python is 3.13: from 3.12 on a verdict costs less (benchmarks/README.md).
readonly BASE_IMAGE="rlcode-base:trixie"
readonly SUITE="trixie"
readonly ENGINE_LOG="${RLCODE_ENGINE_LOG:-/var/log/rlcode-dockerd.log}"
readonly ENGINE_WAIT_S=60
readonly HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

say() { printf 'provision: %s\n' "$*" >&2; }

die() { say "$*"; exit 1; }

need_root() { [ "$(id -u)" -eq 0 ] || die "$1 needs root: run this script as root"; }

engine_answers() { timeout 20 docker version >/dev/null 2>&1; }

install_missing() {
    local -a missing=()
    command -v docker >/dev/null && command -v dockerd >/dev/null || missing+=(docker.io)
    command -v debootstrap >/dev/null || missing+=(debootstrap debian-archive-keyring)
    [ "${#missing[@]}" -gt 0 ] || return 0
    need_root "installing ${missing[*]}"
    say "installing ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# wait_for_engine PID: 0 as soon as the engine answers, 1 when the daemon ended or the time is up.
wait_for_engine() {
    local deadline=$((SECONDS + ENGINE_WAIT_S))
    while ! engine_answers; do
        kill -0 "$1" 2>/dev/null || return 1
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.5
    done
}

# launch FLAGS...: dockerd in a session of its own, so that it outlives this script.
launch() {
    say "starting dockerd $* (log: $ENGINE_LOG)"
    setsid nohup dockerd "$@" </dev/null >>"$ENGINE_LOG" 2>&1 &
    local pid=$!
    wait_for_engine "$pid" && return 0
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    return 1
}

start_engine() {
    engine_answers && return 0
    need_root "starting the Docker engine"
    # The sandbox needs no network at all: where a bridge can't be made, the engine goes without one.
    launch || launch --bridge=none --iptables=false --ip6tables=false \
        || { tail -n 20 "$ENGINE_LOG" >&2; die "dockerd did not come up within $ENGINE_WAIT_S s; see $ENGINE_LOG"; }
}

# The archive that apt on this machine takes Debian's suites from; empty where it takes none.
mirror() {
    { apt-get indextargets --format '$(REPO_URI) $(COMPONENT) $(LABEL)' 'Created-By: Packages' || true; } \
        | awk '$2 == "main" && $3 == "Debian" && !seen { print $1; seen = 1 }'
}

make_base() {
    docker image inspect "$BASE_IMAGE" >/dev/null 2>&1 && return 0
    need_root "debootstrap"
    local root
    root="$(mktemp -d)"
    # The path is fixed when the trap is set: the variable is gone by the time that it fires.
    trap "rm -rf '$root'" EXIT
    local -a from=("$SUITE" "$root/tree")
    local archive
    archive="$(mirror)"
    [ -z "$archive" ] || from+=("$archive")
    say "making $BASE_IMAGE"
    debootstrap --variant=minbase --include=python3,python3-numpy "${from[@]}" >"$root/log" 2>&1 \
        || { tail -n 20 "$root/log" >&2; die "debootstrap failed"; }
    rm -rf "$root"/tree/var/cache/apt/* "$root"/tree/var/lib/apt/lists/*
    tar -C "$root/tree" -c . | docker import - "$BASE_IMAGE" >/dev/null
    rm -rf "$root"
    trap - EXIT
}

rlcode_command() {
    if command -v rlcode >/dev/null; then rlcode "$@"; else "$HERE/.venv/bin/rlcode" "$@"; fi
}

install_missing
start_engine
make_base
# The tests want Python alone, and another checkout on this machine may use an older image.
rlcode_command sandbox build --base "$BASE_IMAGE" --packages none --keep_old
