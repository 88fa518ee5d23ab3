# shellcheck shell=bash
# Sourced by this project's scripts: what Cargo is told, by them and by nobody else.
#
# Variables for Cargo and rustc are unset; Cargo's configuration files are not read (its
# home is our own, and it is started in the root folder, since it reads the files of every
# folder above the one it is started in). Downloads are shared with the person's own
# Cargo, and what is set for the network (CARGO_HTTP_*, CARGO_NET_*) stays.

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
target=$repo/target
downloads=${CARGO_HOME:-$HOME/.cargo}

for name in $(compgen -e); do
    case $name in
        CARGO_HTTP_* | CARGO_NET_*) ;;
        CARGO | CARGO_* | RUSTC | RUSTC_* | RUSTFLAGS | RUSTDOC* | CLIPPY_* | BUILDHOOK_* | MAKEFLAGS)
            unset "$name"
            ;;
    esac
done

# A script that was started by another one finds all this done.
if [ "$downloads" != "$target/cargo-home" ]; then
    mkdir -p "$target/cargo-home" "$downloads/registry" "$downloads/git"
    ln -sfn "$downloads/registry" "$target/cargo-home/registry"
    ln -sfn "$downloads/git" "$target/cargo-home/git"
fi
export CARGO_HOME=$target/cargo-home
# rustup would look for the toolchain file above the folder that Cargo is started in.
RUSTUP_TOOLCHAIN=$(sed -n 's/^channel = "\(.*\)"/\1/p' "$repo/rust-toolchain.toml")
export RUSTUP_TOOLCHAIN

# Cargo on this project. What is kept to compile a crate again faster is a quarter of the disk, and
# here crates are compiled once; as a variable it would reach the builds of tests.
project_cargo() {
    local command=$1
    shift
    (cd / && cargo "$command" --config build.incremental=false \
        --manifest-path "$repo/Cargo.toml" "$@")
}

say() {
    printf '\n== %s\n' "$*"
}
