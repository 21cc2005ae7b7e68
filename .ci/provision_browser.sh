#!/usr/bin/env bash
# Gives this machine Debian's Chromium, in which the page of `rlcode report` is tested. What is there is not installed
# again. Needs root where it is missing.
set -euo pipefail

command -v chromium >/dev/null && exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "provision: the tests want a command named chromium: install it, or run this script as root on Debian" >&2
    exit 1
fi
echo "provision: installing chromium" >&2
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null
