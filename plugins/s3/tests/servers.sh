#!/usr/bin/env bash
# Runs the tests of buildhook-s3 against other servers than the one that is part of them:
#
#     bash plugins/s3/tests/servers.sh [garage] [moto]
#
# Each is started on loopback, with its data in a temporary folder, and ended. Signatures
# are enforced: one of the tests signs with a wrong secret and fails unless it is refused.
#
# What is not on PATH is installed below target/servers: Garage by `cargo install`, which takes
# a quarter of an hour of processor time, moto by pip in an environment of its own.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=../../../.ci/environment.sh
source "$here/../../../.ci/environment.sh"

readonly garage_version=2.5.0 moto_version=5.2.1
readonly bucket=cache servers=$target/servers

work=$(mktemp -d)
server=
stop() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
        server=
    fi
}
trap 'stop; rm -rf "$work"' EXIT

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

random_hex() {
    od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'
}

# Waits until something listens, and fails when the server has ended.
wait_for() {
    local port=$1
    for _ in $(seq 600); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then return; fi
        kill -0 "$server" 2>/dev/null || break
        sleep 0.1
    done
    cat "$work/log" >&2
    echo "servers.sh: the server does not answer on port $port" >&2
    exit 1
}

# Runs the tests; the server is there, the bucket too.
run_tests() {
    local name=$1 port=$2 region=$3 access_key=$4 secret=$5
    say "$name: the tests of buildhook-s3"
    BUILDHOOK_S3_TEST_SERVER="127.0.0.1:$port $region $access_key $secret" \
        project_cargo test --package buildhook-s3 --test it --target-dir "$target"
}

garage_program() {
    command -v garage && return
    if [ ! -x "$servers/bin/garage" ]; then
        say "installing garage $garage_version" >&2
        (cd / && cargo install garage --version "$garage_version" \
            --root "$servers" --target-dir "$servers/garage-target") >&2
        rm -rf "$servers/garage-target"
    fi
    echo "$servers/bin/garage"
}

with_garage() {
    local program s3 rpc access_key secret
    program=$(garage_program)
    s3=$(free_port)
    rpc=$(free_port)
    # Of the form that Garage gives its own.
    access_key=GK$(random_hex 12)
    secret=$(random_hex 32)
    mkdir -p "$work/garage"
    cat >"$work/garage.toml" <<TOML
metadata_dir = "$work/garage/meta"
data_dir = "$work/garage/data"
db_engine = "sqlite"
replication_factor = 1
rpc_bind_addr = "127.0.0.1:$rpc"
rpc_public_addr = "127.0.0.1:$rpc"
rpc_secret = "$(random_hex 32)"

[s3_api]
s3_region = "garage"
api_bind_addr = "127.0.0.1:$s3"
root_domain = ".s3.garage.localhost"
TOML
    GARAGE_DEFAULT_ACCESS_KEY=$access_key GARAGE_DEFAULT_SECRET_KEY=$secret \
        GARAGE_DEFAULT_BUCKET=$bucket \
        "$program" -c "$work/garage.toml" server --single-node --default-bucket \
        >"$work/log" 2>&1 &
    server=$!
    wait_for "$s3"
    run_tests garage "$s3" garage "$access_key" "$secret"
    stop
}

moto_program() {
    command -v moto_server && return
    if [ ! -x "$servers/moto/bin/moto_server" ]; then
        say "installing moto $moto_version" >&2
        python3 -m venv "$servers/moto" >&2
        "$servers/moto/bin/pip" install --quiet "moto[server]==$moto_version" >&2
    fi
    echo "$servers/moto/bin/moto_server"
}

# moto checks nothing until it has had so many requests, and then signatures and policies: so
# many make a user who may use S3, a key of theirs, and the bucket.
readonly moto_unchecked=4

with_moto() {
    local program port answer access_key secret
    program=$(moto_program)
    port=$(free_port)
    INITIAL_NO_AUTH_ACTION_COUNT=$moto_unchecked \
        "$program" -H 127.0.0.1 -p "$port" >"$work/log" 2>&1 &
    server=$!
    wait_for "$port"
    local policy='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}'
    local iam='AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=x'
    ask_iam() {
        curl --silent --fail --show-error "http://127.0.0.1:$port/" -H "Authorization: $iam" \
            --data-urlencode Version=2010-05-08 "$@"
    }
    ask_iam --data Action=CreateUser --data UserName=ada >/dev/null
    ask_iam --data Action=PutUserPolicy --data UserName=ada --data PolicyName=s3 \
        --data-urlencode "PolicyDocument=$policy" >/dev/null
    answer=$(ask_iam --data Action=CreateAccessKey --data UserName=ada)
    curl --silent --fail --show-error -X PUT "http://127.0.0.1:$port/$bucket" \
        -H "Authorization: ${iam//iam/s3}" >/dev/null
    access_key=$(sed -n 's|.*<AccessKeyId>\(.*\)</AccessKeyId>.*|\1|p' <<<"$answer")
    secret=$(sed -n 's|.*<SecretAccessKey>\(.*\)</SecretAccessKey>.*|\1|p' <<<"$answer")
    run_tests moto "$port" us-east-1 "$access_key" "$secret"
    stop
}

for name in "${@:-garage moto}"; do
    for word in $name; do
        case $word in
            garage | moto) "with_$word" ;;
            *)
                echo "servers.sh: no server is called $word: say garage or moto" >&2
                exit 2
                ;;
        esac
    done
done
