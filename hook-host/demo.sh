#!/usr/bin/env bash
# Builds buildhook, and with it a real project twice: in one folder, and in another under
# another CARGO_HOME with an empty target folder, where no crate may be compiled again.
#
# Needs: Rust (see rust-toolchain.toml), a C compiler, the network. Needs no root, leaves
# the person's cache and configuration alone, and removes what it made but buildhook.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../.ci/environment.sh"

package=ripgrep
version=14.1.1
program=rg

lab=$(mktemp -d)
lab=$(cd "$lab" && pwd -P)
trap 'rm -rf "$lab"' EXIT

say "building buildhook"
project_cargo build --release --locked -p buildhook --target-dir "$target"
buildhook=$target/release/buildhook

say "fetching $package $version"
mkdir -p "$lab/fetch/src"
cat > "$lab/fetch/Cargo.toml" <<TOML
[package]
name = "fetch"
version = "0.0.0"
edition = "2021"
[dependencies]
$package = "=$version"
TOML
touch "$lab/fetch/src/lib.rs"
(cd "$lab/fetch" && CARGO_HOME=$lab/home-a cargo fetch --quiet 2> /dev/null)
source=$(echo "$lab"/home-a/registry/src/*/"$package-$version")
mkdir "$lab/here" "$lab/elsewhere"
cp -r "$source" "$lab/here/$package"
cp -r "$source" "$lab/elsewhere/$package"
(cd "$lab/here/$package" && CARGO_HOME=$lab/home-a cargo fetch --quiet --locked)
cp -r "$lab/home-a" "$lab/home-b"

# Notes each compile of Cargo's on a descriptor that it inherits, and runs the real
# compiler. What a build script compiles by itself to try the compiler out is not Cargo's:
# `--crate-name` is not a word of its own there.
REAL_RUSTC=$(rustc --print sysroot)/bin/rustc
export REAL_RUSTC
cat > "$lab/rustc" <<'SH'
#!/bin/sh
previous=
for word do
    if [ "$previous" = --crate-name ]; then
        if [ "$word" != ___ ]; then echo "$word" >&9; fi
        break
    fi
    previous=$word
done
exec "$REAL_RUSTC" "$@"
SH
chmod +x "$lab/rustc"

# build NAME FOLDER CARGO_HOME: a build, its time and its compiles.
build() {
    say "building $package in $2"
    local start=${EPOCHREALTIME/[.,]/} end
    : > "$lab/compiles"
    (
        cd "$2"
        export CARGO_HOME=$3 CARGO_NET_OFFLINE=true RUSTC=$lab/rustc
        export BUILDHOOK_CACHE_DIR=$lab/cache BUILDHOOK_CONFIG=/dev/null
        "$buildhook" run -- cargo build --locked 9>> "$lab/compiles"
    )
    end=${EPOCHREALTIME/[.,]/}
    compiled=$(wc -l < "$lab/compiles")
    printf '%-10s %7d ms %4d crates compiled\n' "$1" $(((end - start) / 1000)) "$compiled" \
        >> "$lab/table"
}

build "here" "$lab/here/$package" "$lab/home-a"
build "elsewhere" "$lab/elsewhere/$package" "$lab/home-b"
elsewhere=$compiled
build "once more" "$lab/elsewhere/$package" "$lab/home-b"

say "result"
cat "$lab/table"
binary=$lab/elsewhere/$package/target/debug/$program
"$binary" --version | head -n 1
if [ "$elsewhere" -ne 0 ]; then
    echo "demo: $elsewhere crates were compiled again" >&2
    exit 1
fi
if grep -q -F "$lab/here" "$binary"; then
    echo "demo: the program holds the path of the first folder" >&2
    exit 1
fi
echo "every crate of the second build came from the cache"
