#!/usr/bin/env bash
# Sees to it that the Debian packages luxgrad builds with are there. Installs the missing ones where it may (as
# root, or with sudo that asks no password); otherwise prints the one line to type and stops.
set -euo pipefail

programs=(cmake:cmake g++:g++ ninja:ninja-build)
libraries=(libeigen3-dev libstb-dev doctest-dev libcli11-dev nlohmann-json3-dev zlib1g-dev)

missing() {
  local entry package
  for entry in "${programs[@]}"; do
    command -v "${entry%%:*}" > /dev/null || echo "${entry#*:}"
  done
  command -v dpkg-query > /dev/null || return 0  # no Debian: CMake names the libraries it does not find
  for package in "${libraries[@]}"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}\n' "$package" 2> /dev/null | head -n 1)" = installed ] || echo "$package"
  done
}

mapfile -t wanted < <(missing)
[ ${#wanted[@]} -gt 0 ] || exit 0

by_hand() {
  echo "$1 Please run this, then try again:" >&2
  echo "  sudo apt-get update && sudo apt-get install ${wanted[*]}" >&2
  exit 1
}

if ! command -v apt-get > /dev/null; then
  echo "luxgrad needs ${wanted[*]} (names of the Debian packages); install them, then try again." >&2
  exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  sudo -n true 2> /dev/null || by_hand "luxgrad needs ${#wanted[@]} more Debian packages, and this user may not install them."
  as_root=(sudo -n)
fi

echo "Installing ${wanted[*]}" >&2
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 "$@" >&2; }
# An installation that was interrupted is finished first; dpkg refuses everything else until then.
[ -z "$(dpkg --audit 2> /dev/null)" ] || "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive dpkg --configure -a >&2 || true
if ! apt install --no-install-recommends "${wanted[@]}"; then
  apt update || by_hand "The package lists cannot be fetched."
  apt install --no-install-recommends "${wanted[@]}" || by_hand "apt-get failed."
fi

mapfile -t wanted < <(missing)
[ ${#wanted[@]} -eq 0 ] || by_hand "apt-get reported success, but ${wanted[*]} is still missing."
