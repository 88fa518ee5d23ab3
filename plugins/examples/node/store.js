#!/usr/bin/env node
// A buildhook store in a folder, with nothing but Node's standard library.
//
//     BUILDHOOK_HOOK="node store.js /var/cache/builds" RUSTC_WRAPPER=buildhook cargo build
//
// The folder holds
//     entries/<purpose>/<key>.json    one entry: its seal, and its files with their blobs
//     blobs/<random>                  the content of one file, never written to again
//
// Blobs are written first and the entry last, under its own name only when it is whole: who
// reads, or is killed, at any moment sees an entry whole or not at all. What two writers or a
// killed one leave over are blobs that nobody names. Nothing is ever evicted.
"use strict";

const crypto = require("node:crypto");
const fs = require("node:fs");
const path = require("node:path");

const KINDS = ["want-to-build", "built-a-thing"];
const PURPOSES = ["outputs", "inputs"];
const MAX_LINE_BYTES = 16 * 1024 * 1024;
const DIGEST = /^blake3:[0-9a-f]{64}$/;
// No names of other folders, nothing that a file's name cannot hold somewhere.
const BAD_NAME = /(^|\/)[.]{0,2}(\/|$)|[\x00-\x1f\x7f-\x9f\\:*?"<>|]/;

// ---- The store --------------------------------------------------------------------------

class Store {
  constructor(folder) {
    this.folder = path.resolve(folder);
    for (const name of ["blobs", ...PURPOSES.map((purpose) => "entries/" + purpose)]) {
      fs.mkdirSync(path.join(this.folder, name), { recursive: true });
    }
  }

  entryPath(request) {
    const name = request.key.replace(":", "-") + ".json";
    return path.join(this.folder, "entries", request.purpose, name);
  }

  wantToBuild(request) {
    let entry;
    try {
      entry = JSON.parse(fs.readFileSync(this.entryPath(request), "utf8"));
    } catch (error) {
      return error.code === "ENOENT" ? miss("not-found") : miss("corrupt", error.message);
    }
    const files = [];
    for (const { blob, sha256, ...record } of entry.files) {
      const place = path.join(this.folder, "blobs", blob);
      if (!fs.existsSync(place) || digestOf(place) !== sha256) {
        return miss("corrupt", "the blob of " + record.name + " is damaged");
      }
      // "shared": we never write to it again, so the host may keep a link to it.
      files.push({ ...record, path: place, lease: "shared" });
    }
    // A member that is undefined is left out.
    return { kind: "hit", seal: entry.seal, files, "cost-ms": entry["cost-ms"] };
  }

  builtAThing(request) {
    if (!request.replace && this.wantToBuild(request).kind === "hit") {
      return { kind: "done", stored: "already" };
    }
    const made = [];
    try {
      const files = request.files.map((file) => {
        const blob = crypto.randomUUID();
        made.push(path.join(this.folder, "blobs", blob));
        const sha256 = copy(file, made[made.length - 1]);
        // Digests are passed on as they came: Node cannot compute BLAKE3, and need not.
        const { name, size, digest, executable } = file;
        return { blob, sha256, name, size, digest, executable };
      });
      const entry = { seal: request.seal, "cost-ms": request["cost-ms"], files };
      const temporary = made[0] + ".new";
      fs.writeFileSync(temporary, JSON.stringify(entry), { flag: "wx" });
      fs.renameSync(temporary, this.entryPath(request));
    } catch (error) {
      made.forEach((blob) => fs.rmSync(blob, { force: true }));
      const reason = { code: "unavailable", message: error.message };
      return { kind: "done", stored: "no", reason };
    }
    return { kind: "done", stored: "yes" };
  }
}

// Copies a file of a request; returns the SHA-256 of its content.
function copy(file, target) {
  // Not through a link, and not from a FIFO or a device.
  if (!fs.lstatSync(file.path).isFile()) throw new Error(file.name + " is not a regular file");
  fs.copyFileSync(file.path, target, fs.constants.COPYFILE_EXCL);
  if (fs.statSync(target).size !== file.size) {
    throw new Error(file.name + " has another size than promised");
  }
  return digestOf(target);
}

function digestOf(file) {
  const hash = crypto.createHash("sha256");
  const buffer = Buffer.alloc(1 << 20);
  const open = fs.openSync(file);
  try {
    for (let read; (read = fs.readSync(open, buffer)) > 0; ) hash.update(buffer.subarray(0, read));
  } finally {
    fs.closeSync(open);
  }
  return hash.digest("hex");
}

function miss(code, message) {
  return { kind: "miss", reason: { code, message } };
}

// ---- The protocol -----------------------------------------------------------------------

class BadRequest extends Error {}

function need(ok, what) {
  if (!ok) throw new BadRequest(what);
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const isInteger = (value) => Number.isSafeInteger(value) && value >= 0;
const isText = (value, most) =>
  typeof value === "string" && value !== "" && Buffer.byteLength(value) <= most;
const isPath = (value) => typeof value === "string" && /^\/[^\0]*$/.test(value);

// The request with its defaults; BadRequest if members are missing or of a wrong type.
function checkRequest(message) {
  // A member that is null counts as absent.
  const given = Object.entries(message).filter(([, value]) => value !== null);
  const request = { purpose: "outputs", replace: false, ...Object.fromEntries(given) };
  need(request.v === 1, "`v` is 1 in this session");
  need(isInteger(request.id) && request.id > 0, "`id` is an integer above 0");
  need(typeof request.key === "string" && DIGEST.test(request.key), "`key` is no key");
  need(typeof request.purpose === "string", "`purpose` is text");
  need(isObject(request.unit), "`unit` is an object");
  need(isPath(request.scratch), "`scratch` is an absolute path");
  need(isInteger(request["deadline-ms"]), "`deadline-ms` is an integer");
  if (request.kind === "built-a-thing") {
    const { seal, files, replace, "cost-ms": cost } = request;
    need(isText(seal, 256), "`seal` has 1 to 256 bytes");
    need(Array.isArray(files) && files.length > 0 && files.length <= 16384, "`files` is a list");
    files.forEach(checkFile);
    const names = new Set(files.map((file) => file.name));
    need(names.size === files.length, "two files have one name");
    need(cost === undefined || isInteger(cost), "`cost-ms` is an integer");
    need(typeof replace === "boolean", "`replace` is true or false");
  }
  return request;
}

function checkFile(file) {
  need(isObject(file), "a file record is an object");
  need(isText(file.name, 1024) && !BAD_NAME.test(file.name), "a file's `name` is not allowed");
  need(isPath(file.path), "a file's `path` is absolute");
  need(isInteger(file.size), "a file's `size` is an integer");
  need(typeof file.digest === "string" && DIGEST.test(file.digest), "a file's `digest` is none");
  need(typeof file.executable === "boolean", "`executable` is true or false");
  need(["borrowed", "shared", "owned"].includes(file.lease), "`lease` is none of the three");
}

function error(kind, message, scope = "request") {
  return { kind: "error", error: { kind, message, scope } };
}

function answer(store, message) {
  try {
    need(typeof message.kind === "string", "a request has a `kind`");
    if (!KINDS.includes(message.kind)) {
      return error("unknown-kind", "this store does not answer " + message.kind);
    }
    const request = checkRequest(message);
    if (!PURPOSES.includes(request.purpose)) {
      return error("unknown-kind", "`purpose` is outputs or inputs");
    }
    const wants = request.kind === "want-to-build";
    return wants ? store.wantToBuild(request) : store.builtAThing(request);
  } catch (what) {
    return error(what instanceof BadRequest ? "bad-request" : "unavailable", what.message);
  }
}

function main() {
  const send = (message) => process.stdout.write(JSON.stringify(message) + "\n");
  // Only messages on standard output, whoever logs.
  console.log = console.info = console.error;

  const hello = { v: [1], plugin: { name: "store-node", version: "1" } };
  const refuse = (what) => {
    console.error(what);
    send({ ...hello, error: error("config", what, "session").error });
    process.exitCode = 2;
  };
  if (process.argv.length !== 3) return refuse("usage: store.js FOLDER");
  let store;
  try {
    store = new Store(process.argv[2]);
  } catch (what) {
    return refuse(what.message);
  }
  send({ ...hello, hooks: KINDS });

  // After a line that is no message, nothing that follows can be trusted.
  const giveUp = (what) => {
    send({ id: 0, ...error("bad-request", what, "session") });
    process.exitCode = 1;
    process.stdin.destroy();
  };
  const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const receive = (line) => {
    let message;
    try {
      message = JSON.parse(utf8.decode(line));
    } catch (what) {
      return giveUp(what.message);
    }
    if (!isObject(message)) return giveUp("a message is an object");
    const id = isInteger(message.id) && message.id > 0 ? message.id : 0;
    send({ id, ...answer(store, message) });
  };

  // Lines are cut at line feeds only; `node:readline` would also cut at U+2028.
  let parts = [];
  let bytes = 0;
  process.stdin.on("data", (chunk) => {
    for (let end; (end = chunk.indexOf(0x0a)) >= 0; chunk = chunk.subarray(end + 1)) {
      const line = Buffer.concat([...parts, chunk.subarray(0, end)]);
      [parts, bytes] = [[], 0];
      if (line.length >= MAX_LINE_BYTES) return giveUp("a line is longer than 16 MiB");
      receive(line);
      if (process.stdin.destroyed) return;
    }
    parts.push(chunk);
    bytes += chunk.length;
    if (bytes >= MAX_LINE_BYTES) giveUp("a line is longer than 16 MiB");
  });
  process.stdin.on("end", () => {
    if (bytes > 0) giveUp("the last line is cut short");
  });
}

main();
