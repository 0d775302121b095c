# Read by the checks beside it: how they report, and a kfbind to look at. Nothing is installed or left behind.
# shellcheck shell=bash

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# Where chroot and nginx are, on some machines.
PATH=$PATH:/usr/sbin:/sbin
work=$(mktemp -d)
pids=()
finish() {
    for pid in "${pids[@]}"; do
        { kill "$pid" && wait "$pid"; } 2>/dev/null || true
    done
    rm -rf "$work"
}
trap finish EXIT

target=$(cargo metadata --no-deps --offline --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
kfbind=$target/debug/kfbind
[ -x "$kfbind" ] || cargo build --quiet --bin kfbind

# check NAME COMMAND...: one line; what the command said is shown where it failed.
check() {
    local name=$1
    shift
    if "$@" >"$work/said" 2>&1; then
        printf 'ok - %s\n' "$name"
    else
        printf 'not ok - %s\n' "$name"
        sed 's/^/    /' "$work/said" | tail -12
    fi
}

# needs COMMAND PACKAGE WHAT: whether the command is there; else says what can't be looked at.
needs() {
    command -v "$1" >/dev/null && return
    if [ -n "${CI:-}" ]; then
        printf 'not ok - %s: %s is missing (package %s)\n' "$3" "$1" "$2"
    else
        printf 'skipped - %s: %s is missing (package %s)\n' "$3" "$1" "$2"
    fi
    return 1
}

# says WANTED COMMAND...: whether the command says that somewhere, whatever its exit code.
says() {
    local wanted=$1 said
    shift
    said=$("$@" 2>&1) || true
    printf '%s\n' "$said"
    case $said in *"$wanted"*) return 0 ;; esac
    printf '(wanted: %s)\n' "$wanted"
    return 1
}

# until_true SECONDS COMMAND...: asks again until it succeeds.
until_true() {
    local left=$(($1 * 10))
    shift
    until "$@" >/dev/null 2>&1; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || return 1
        sleep 0.1
    done
}

# in_background NAME COMMAND...: runs it until the check ends; its output is in $work/NAME.log, its id in $!.
in_background() {
    local log=$work/$1.log
    shift
    "$@" >"$log" 2>&1 &
    pids+=($!)
}

# A configuration that needs no WeCom: nothing listens there.
# The keys are obviously none.
service_environment() {
    printf '%s\n' \
        KFBIND_SERVER__LISTEN=127.0.0.1:0 "KFBIND_STORE__PATH=$1" KFBIND_WECOM__CORP_ID=wwfake00000000000 \
        KFBIND_WECOM__SECRET=fake-secret KFBIND_WECOM__TOKEN=fakeToken \
        KFBIND_WECOM__ENCODING_AES_KEY=0123456789012345678901234567890123456789012 \
        KFBIND_WECOM__API_BASE=http://127.0.0.1:9 KFBIND_MINIPROGRAM__API_BASE=http://127.0.0.1:9 \
        KFBIND_MINIPROGRAM__APP_ID=wxfake00000000000 KFBIND_MINIPROGRAM__SECRET=fake-secret \
        KFBIND_ADMIN__API_KEY=fake-admin-key-0123456789
}

# Where the service that logs into this file listens: HOST:PORT.
address_in() {
    until_true 60 grep -q 'listening addr=' "$1"
    sed -n 's/.*listening addr=\([0-9.:]*\).*/\1/p' "$1" | head -1
}
