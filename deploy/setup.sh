#!/usr/bin/env bash
# Brings a Debian 12 (or Ubuntu) machine to where Gantry builds and runs: apt packages, npm packages, native
# programs, bundles. Does only what is missing, says what it does, and starts no server.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || die "needs root (namespaces, cgroups, apt); run: sudo npm run setup"
# shellcheck disable=SC1091
. /etc/os-release 2>/dev/null || die "cannot read /etc/os-release: needs Debian 12 or Ubuntu"
case " ${ID:-} ${ID_LIKE:-} " in
  *' debian '* | *' ubuntu '*) ;;
  *) die "needs Debian or Ubuntu, found ${PRETTY_NAME:-unknown}" ;;
esac

# servers and tools at run time; then what the build needs; then what the tests drive
packages=(
  etcd-server redis-server docker-registry skopeo umoci nftables iproute2 util-linux busybox-static
  gcc g++ make pkg-config libc6-dev linux-libc-dev libseccomp-dev libcap-dev libarchive-dev libssl-dev musl-tools
  crun runc python3 python3-grpcio python3-protobuf protobuf-compiler nghttp2-client procps
)
missing=()
for package in "${packages[@]}"; do
  case "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)" in
    installed) ;;
    *) missing+=("$package") ;;
  esac
done
if [ ${#missing[@]} -gt 0 ]; then
  say "installing ${#missing[@]} packages: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 # RUNLEVEL=1: the packages' own services are not started
  apt-get -qq -o DPkg::Lock::Timeout=120 update || die "apt-get update failed; run it by hand to see why"
  apt-get -qq -o DPkg::Lock::Timeout=120 install -y --no-install-recommends "${missing[@]}" >/dev/null ||
    die "apt-get failed; run: apt-get install -y --no-install-recommends ${missing[*]}"
fi

command -v npm >/dev/null || die "needs npm (any Node 20 or newer brings it); run: apt-get install -y npm"
stamp=node_modules/.gantry-stamp
want=$(cat package.json package-lock.json ./*/package.json | sha256sum)
if [ "$(cat "$stamp" 2>/dev/null || true)" != "$want" ]; then
  say "installing npm packages"
  npm install --no-audit --no-fund --loglevel=error
  git diff --quiet -- package-lock.json 2>/dev/null || say "note: npm changed package-lock.json"
  cat package.json package-lock.json ./*/package.json | sha256sum >"$stamp"
fi
[ -x node_modules/.bin/node ] || die "node_modules/.bin/node is missing; run: rm -rf node_modules && npm run setup"

make -C native -q all 2>/dev/null || { say "building native programs"; make -C native -s -j"$(nproc)" all; }

stamp=build/.bundled
if [ ! -e "$stamp" ] || [ -n "$(find proto common control-plane/src node-agent/src client deploy/src package-lock.json \
  -not -path '*/build/*' -newer "$stamp" -type f -name '*' -print -quit)" ]; then
  say "bundling the programs"
  mkdir -p build
  node_modules/.bin/node deploy/src/bundle.ts >build/bundle.log || { cat build/bundle.log >&2; die "bundling failed"; }
  touch "$stamp"
fi
say "ready"
