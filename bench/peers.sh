#!/bin/sh
# Installs the peers the benchmark compares with, each from its ordinary registry and by name,
# under $KNOWNGOOD_BENCH_TOOLS (default: ~/.cache/knowngood-bench). A peer that cannot be had is
# skipped with a word of reason; the benchmark runs with those that are there.
#
#   bench/peers.sh [restic] [kopia] [borg] [rustic] [barman] [pgbackrest]
#
# RESTIC_VERSION and KOPIA_VERSION name the versions; where one cannot be had, "latest" is tried, which a module proxy can
# take for years old.
set -u

home=${KNOWNGOOD_BENCH_TOOLS:-$HOME/.cache/knowngood-bench}
restic_version=${RESTIC_VERSION:-v0.19.1}
kopia_version=${KOPIA_VERSION:-v0.23.1}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
mkdir -p "$home/bin"

have() { command -v "$1" >/dev/null 2>&1; }

skip() {
    echo "$1: skipped, $2"
    if [ -s "$work/log" ]; then tail -n 3 "$work/log" | sed 's/^/    /'; fi
}

# A program of a Go module. It is built as a tool of a small module of its own, which also
# works where a module has replacements and `go install` refuses it.
# usage: go_program NAME PACKAGE VERSION
go_program() {
    have go || { skip "$1" "there is no go command"; return; }
    for version in "$3" latest; do
        rm -rf "$work/module" && mkdir "$work/module"
        if (
            cd "$work/module" &&
                go mod init "bench.invalid/$1" &&
                go get -tool "$2@$version" &&
                nice go build -trimpath -o "$home/bin/$1" "$2"
        ) >"$work/log" 2>&1; then
            echo "$1: installed ($version)"
            return
        fi
    done
    skip "$1" "the module could not be fetched or built"
}

# Borg is built from source, against the system's libraries.
borg() {
    have python3 || { skip borg "there is no python3"; return; }
    packages="libacl1-dev libssl-dev liblz4-dev libzstd-dev libxxhash-dev pkg-config"
    if have apt-get && [ "$(id -u)" = 0 ]; then
        # shellcheck disable=SC2086
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $packages >"$work/log" 2>&1 ||
            echo "borg: could not install $packages; trying without"
    fi
    if python3 -m venv "$home/borg" >"$work/log" 2>&1 &&
        nice "$home/borg/bin/pip" install --no-binary borgbackup 'borgbackup>=1.4,<1.5' >"$work/log" 2>&1; then
        echo "borg: installed"
    else
        skip borg "pip could not install it"
    fi
}

rustic() {
    have cargo || { skip rustic "there is no cargo command"; return; }
    if nice cargo install rustic-rs --locked --root "$home/rustic" --target-dir "$work/rustic" >"$work/log" 2>&1; then
        echo "rustic: installed"
    else
        skip rustic "cargo could not build it"
    fi
}

# Peers for databases are Debian's packages, as root.
package() {
    if have "$1"; then
        echo "$1: is there"
    elif have apt-get && [ "$(id -u)" = 0 ] &&
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1" >"$work/log" 2>&1; then
        echo "$1: installed"
    else
        skip "$1" "apt-get could not install it"
    fi
}

[ $# -gt 0 ] || set -- restic kopia borg rustic
for peer in "$@"; do
    : >"$work/log"
    case $peer in
    restic) go_program restic github.com/restic/restic/cmd/restic "$restic_version" ;;
    kopia) go_program kopia github.com/kopia/kopia "$kopia_version" ;;
    borg) borg ;;
    rustic) rustic ;;
    barman | pgbackrest) package "$peer" ;;
    *) echo "$peer: no such peer" >&2 ;;
    esac
done
