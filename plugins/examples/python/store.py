#!/usr/bin/env python3
"""A buildhook store in a folder, with nothing but Python's standard library.

    BUILDHOOK_HOOK="python3 store.py /var/cache/builds" RUSTC_WRAPPER=buildhook cargo build

The folder holds
    entries/<purpose>/<key>.json    one entry: its seal, and its files with their blobs
    blobs/<random>                  the content of one file, never written to again

Blobs are written first and the entry last, under its own name only when it is whole: who
reads, or is killed, at any moment sees an entry whole or not at all. What two writers or a
killed one leave over are blobs that nobody names. Nothing is ever evicted.
"""

import hashlib, json, os, re, stat, sys, uuid

KINDS = ["want-to-build", "built-a-thing"]
PURPOSES = ["outputs", "inputs"]
MAX_LINE = 16 * 1024 * 1024
MAX_INTEGER = 2**53 - 1
# Digests are passed on as they came: Python cannot compute BLAKE3, and need not.
PASSED_ON = ["size", "digest", "executable"]
DIGEST = re.compile(r"blake3:[0-9a-f]{64}")
# No names of other folders, nothing that a file's name cannot hold somewhere.
BAD_NAME = re.compile(r'(^|/)[.]{0,2}(/|$)|[\x00-\x1f\x7f-\x9f\\:*?"<>|]')


class BadRequest(Exception):
    """The request is JSON, but not what it has to be."""


# ---- The store ---------------------------------------------------------------------------


class Store:
    def __init__(self, folder):
        self.folder = os.path.abspath(folder)
        for name in ["blobs"] + ["entries/" + purpose for purpose in PURPOSES]:
            os.makedirs(os.path.join(self.folder, name), exist_ok=True)

    def entry_path(self, request):
        key = request["key"].replace(":", "-")
        return os.path.join(self.folder, "entries", request["purpose"], key + ".json")

    def want_to_build(self, request):
        try:
            with open(self.entry_path(request), encoding="utf-8") as file:
                entry = json.load(file)
        except FileNotFoundError:
            return miss("not-found")
        except ValueError:
            return miss("corrupt", "the entry's file is damaged")
        files = []
        for name, record in entry["files"].items():
            path = os.path.join(self.folder, "blobs", record["blob"])
            if not is_sound(path, record["sha256"]):
                return miss("corrupt", "the blob of " + name + " is damaged")
            # "shared": we never write to it again, so the host may keep a link to it.
            known = {k: record[k] for k in PASSED_ON}
            files.append({"name": name, "path": path, "lease": "shared", **known})
        hit = {"kind": "hit", "seal": entry["seal"], "files": files}
        return hit if entry["cost-ms"] is None else {**hit, "cost-ms": entry["cost-ms"]}

    def built_a_thing(self, request):
        if not request["replace"] and self.want_to_build(request)["kind"] == "hit":
            return {"kind": "done", "stored": "already"}
        blobs = []
        try:
            files = {}
            for file in request["files"]:
                blob = uuid.uuid4().hex
                blobs.append(os.path.join(self.folder, "blobs", blob))
                record = {"blob": blob, "sha256": copy(file, blobs[-1])}
                files[file["name"]] = {**record, **{k: file[k] for k in PASSED_ON}}
            entry = {"seal": request["seal"], "cost-ms": request["cost-ms"], "files": files}
            temporary = blobs[0] + ".new"
            with open(temporary, "x", encoding="utf-8") as file:
                json.dump(entry, file)
            os.replace(temporary, self.entry_path(request))
        except OSError as error:
            for path in blobs:
                if os.path.exists(path):
                    os.remove(path)
            return {"kind": "done", "stored": "no", "reason": reason("unavailable", str(error))}
        return {"kind": "done", "stored": "yes"}


def copy(file, target):
    """Copies a file of a request; returns the SHA-256 of its content."""
    # Not through a link, and without waiting for the writer of a FIFO.
    source = os.open(file["path"], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    digest = hashlib.sha256()
    with open(source, "rb") as source, open(target, "xb") as sink:
        if not stat.S_ISREG(os.fstat(source.fileno()).st_mode):
            raise OSError(file["name"] + " is not a regular file")
        while chunk := source.read(1 << 20):
            digest.update(chunk)
            sink.write(chunk)
        if sink.tell() != file["size"]:
            raise OSError(file["name"] + " has another size than promised")
    return digest.hexdigest()


def is_sound(path, sha256):
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as blob:
            while chunk := blob.read(1 << 20):
                digest.update(chunk)
    except FileNotFoundError:
        return False
    return digest.hexdigest() == sha256


def reason(code, message):
    return {"code": code, "message": message}


def miss(code, message=None):
    return {"kind": "miss", "reason": reason(code, message) if message else {"code": code}}


# ---- The protocol ------------------------------------------------------------------------


def parse(line):
    """The message on a line; ValueError if it is none."""

    def integer(text):
        if text.startswith("-") or int(text) > MAX_INTEGER:
            raise ValueError("a number is not an integer from 0 to 2^53 - 1")
        return int(text)

    def refuse(text):
        raise ValueError(text + " is no number of the protocol")

    def members(pairs):
        if len({name for name, _ in pairs}) < len(pairs):
            raise ValueError("a member's name stands twice in one object")
        return dict(pairs)

    def check(value, levels):
        if isinstance(value, str):
            value.encode("utf-8")  # A lone surrogate cannot be.
        elif isinstance(value, (dict, list)):
            if levels == 0:
                raise ValueError("nested deeper than 32 levels")
            for child in value.values() if isinstance(value, dict) else value:
                check(child, levels - 1)

    if len(line) > MAX_LINE or not line.endswith(b"\n"):
        raise ValueError("a line is too long, or cut short")
    message = json.loads(line.decode("utf-8"), parse_int=integer, parse_float=refuse,
                         parse_constant=refuse, object_pairs_hook=members)
    if not isinstance(message, dict):
        raise ValueError("a message is an object")
    check(message, 32)
    return message


def need(ok, what):
    if not ok:
        raise BadRequest(what)


def is_integer(value):
    return isinstance(value, int) and not isinstance(value, bool)


def is_path(value):
    return isinstance(value, str) and value.startswith("/") and "\0" not in value


def check_request(message):
    """The request with its defaults; BadRequest if members are missing or of a wrong type."""
    request = {"purpose": "outputs", "replace": False, "cost-ms": None}
    # A member that is null counts as absent.
    request.update({name: value for name, value in message.items() if value is not None})
    need(request.get("v") == 1 and is_integer(request["v"]), "`v` is 1 in this session")
    need(is_integer(request.get("id")) and request["id"] > 0, "`id` is an integer above 0")
    key = request.get("key")
    need(isinstance(key, str) and DIGEST.fullmatch(key), "`key` is blake3: and 64 hex digits")
    need(isinstance(request["purpose"], str), "`purpose` is text")
    need(isinstance(request.get("unit"), dict), "`unit` is an object")
    need(is_path(request.get("scratch")), "`scratch` is an absolute path")
    need(is_integer(request.get("deadline-ms")), "`deadline-ms` is an integer")
    if request["kind"] == "built-a-thing":
        seal, files = request.get("seal"), request.get("files")
        need(isinstance(seal, str) and 1 <= len(seal.encode()) <= 256, "`seal` has 1-256 bytes")
        need(isinstance(files, list) and 1 <= len(files) <= 16384, "`files` is a list of records")
        for file in files:
            check_file(file)
        need(len({file["name"] for file in files}) == len(files), "two files have one name")
        need(request["cost-ms"] is None or is_integer(request["cost-ms"]), "`cost-ms`: integer")
        need(isinstance(request["replace"], bool), "`replace` is true or false")
    return request


def check_file(file):
    need(isinstance(file, dict), "a file record is an object")
    name = file.get("name")
    need(isinstance(name, str) and len(name.encode()) <= 1024, "a name has up to 1024 bytes")
    need(not BAD_NAME.search(name), "a name is not allowed")
    need(is_path(file.get("path")), "a file's `path` is absolute")
    need(is_integer(file.get("size")), "a file's `size` is an integer")
    digest = file.get("digest")
    need(isinstance(digest, str) and DIGEST.fullmatch(digest), "a file's `digest` is none")
    need(isinstance(file.get("executable"), bool), "`executable` is true or false")
    need(file.get("lease") in ["borrowed", "shared", "owned"], "`lease` is none of the three")


def error(kind, message, scope="request"):
    return {"kind": "error", "error": {"kind": kind, "message": message, "scope": scope}}


def answer(store, message):
    kind = message.get("kind")
    try:
        need(isinstance(kind, str), "a request has a `kind`")
        if kind not in KINDS:
            return error("unknown-kind", "this store does not answer " + kind)
        request = check_request(message)
        if request["purpose"] not in PURPOSES:
            return error("unknown-kind", "`purpose` is outputs or inputs")
        return store.want_to_build(request) if kind == KINDS[0] else store.built_a_thing(request)
    except BadRequest as what:
        return error("bad-request", str(what))
    except OSError as what:
        return error("unavailable", str(what))


def main():
    # Whatever prints from now on, prints to standard error; only we write messages.
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)

    def send(message):
        line = json.dumps(message).encode() + b"\n"
        while line:
            line = line[out.write(line):]

    hello = {"v": [1], "plugin": {"name": "store-python", "version": "1"}}
    if len(sys.argv) != 2:
        print("usage: store.py FOLDER", file=sys.stderr)
        send({**hello, **{"error": error("config", "usage: store.py FOLDER", "session")["error"]}})
        return 2
    try:
        store = Store(sys.argv[1])
    except OSError as what:
        send({**hello, **{"error": error("config", str(what), "session")["error"]}})
        return 2
    send({**hello, "hooks": KINDS})
    while True:
        line = sys.stdin.buffer.readline(MAX_LINE + 1)
        if not line:
            return 0
        try:
            message = parse(line)
        except (ValueError, RecursionError) as what:
            send({"id": 0, **error("bad-request", str(what), "session")})
            return 1
        number = message.get("id")
        number = number if is_integer(number) and number > 0 else 0
        send({"id": number, **answer(store, message)})


if __name__ == "__main__":
    sys.exit(main())
