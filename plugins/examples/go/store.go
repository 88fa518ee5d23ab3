// A buildhook store in a folder, with nothing but Go's standard library.
//
//	go build store.go
//	BUILDHOOK_HOOK="./store /var/cache/builds" RUSTC_WRAPPER=buildhook cargo build
//
// The folder holds
//
//	entries/<purpose>/<key>.json    one entry: its seal, and its files with their blobs
//	blobs/<random>                  the content of one file, never written to again
//
// Blobs are written first and the entry last, under its own name only when it is whole: who
// reads, or is killed, at any moment sees an entry whole or not at all. What two writers or a
// killed one leave over are blobs that nobody names. Nothing is ever evicted.
package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode/utf8"
)

const (
	maxLineBytes = 16 << 20
	maxInteger   = 1<<53 - 1
	maxFiles     = 16384
)

var (
	purposes = []string{"outputs", "inputs"}
	digest   = regexp.MustCompile(`^blake3:[0-9a-f]{64}$`)
	// No names of other folders, nothing that a file's name cannot hold somewhere.
	badName = regexp.MustCompile(`(^|/)[.]{0,2}(/|$)|[\x00-\x1f\x7f-\x{9f}\\:*?"<>|]`)
)

type object = map[string]any

// ---- The store --------------------------------------------------------------------------

type store struct{ folder string }

// One entry, as it stands in its file.
type entry struct {
	Seal   string
	CostMs *uint64
	Files  []file
}

type file struct {
	Name, Blob, SHA256 string
	// Passed on as they came: Go's library has no BLAKE3, and none is needed.
	Size       uint64
	Digest     string
	Executable bool
	path       string
}

func open(folder string) (*store, error) {
	folder, err := filepath.Abs(folder)
	for _, name := range []string{"blobs", "entries/outputs", "entries/inputs"} {
		if err == nil {
			err = os.MkdirAll(filepath.Join(folder, name), 0o777)
		}
	}
	return &store{folder}, err
}

func (s *store) entryPath(r *request) string {
	name := strings.Replace(r.key, ":", "-", 1) + ".json"
	return filepath.Join(s.folder, "entries", r.purpose, name)
}

func (s *store) wantToBuild(r *request) object {
	text, err := os.ReadFile(s.entryPath(r))
	if errors.Is(err, os.ErrNotExist) {
		return miss("not-found", "")
	}
	var found entry
	if err == nil {
		err = json.Unmarshal(text, &found)
	}
	if err != nil {
		return miss("corrupt", err.Error())
	}
	files := []object{}
	for _, f := range found.Files {
		path := filepath.Join(s.folder, "blobs", f.Blob)
		if sum, _, err := digestTo(io.Discard, path); err != nil || sum != f.SHA256 {
			return miss("corrupt", "the blob of "+f.Name+" is damaged")
		}
		// "shared": we never write to it again, so the host may keep a link to it.
		files = append(files, object{"name": f.Name, "path": path, "size": f.Size,
			"digest": f.Digest, "executable": f.Executable, "lease": "shared"})
	}
	hit := object{"kind": "hit", "seal": found.Seal, "files": files}
	if found.CostMs != nil {
		hit["cost-ms"] = *found.CostMs
	}
	return hit
}

func (s *store) builtAThing(r *request) object {
	if !r.replace && s.wantToBuild(r)["kind"] == "hit" {
		return object{"kind": "done", "stored": "already"}
	}
	made, err := s.write(r)
	if err != nil {
		for _, path := range made {
			os.Remove(path)
		}
		reason := object{"code": "unavailable", "message": err.Error()}
		return object{"kind": "done", "stored": "no", "reason": reason}
	}
	return object{"kind": "done", "stored": "yes"}
}

// The blobs that it has made, and the first thing that went wrong.
func (s *store) write(r *request) (made []string, err error) {
	e := entry{Seal: r.seal, CostMs: r.costMs, Files: r.files}
	for i := range e.Files {
		f := &e.Files[i]
		random := make([]byte, 16)
		if _, err := rand.Read(random); err != nil {
			return made, err
		}
		f.Blob = hex.EncodeToString(random)
		target := filepath.Join(s.folder, "blobs", f.Blob)
		made = append(made, target)
		if err := copyFile(f, target); err != nil {
			return made, err
		}
	}
	text, err := json.Marshal(e)
	if err != nil {
		return made, err
	}
	temporary := made[0] + ".new"
	if err := os.WriteFile(temporary, text, 0o666); err != nil {
		return made, err
	}
	return made, os.Rename(temporary, s.entryPath(r))
}

func copyFile(f *file, target string) error {
	// Not through a link, and not from a FIFO or a device.
	if info, err := os.Lstat(f.path); err != nil || !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", f.Name)
	}
	sink, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	sum, size, err := digestTo(sink, f.path)
	if closed := sink.Close(); err == nil {
		err = closed
	}
	if err == nil && uint64(size) != f.Size {
		err = fmt.Errorf("%s has another size than promised", f.Name)
	}
	f.SHA256 = sum
	return err
}

// Copies the file at path to sink; returns the SHA-256 of its content, and its size.
func digestTo(sink io.Writer, path string) (string, int64, error) {
	source, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer source.Close()
	hash := sha256.New()
	size, err := io.Copy(io.MultiWriter(sink, hash), source)
	return hex.EncodeToString(hash.Sum(nil)), size, err
}

func miss(code, message string) object {
	reason := object{"code": code}
	if message != "" {
		reason["message"] = message
	}
	return object{"kind": "miss", "reason": reason}
}

// ---- The protocol -----------------------------------------------------------------------

type request struct {
	key, purpose, seal string
	replace            bool
	costMs             *uint64
	files              []file
}

// Reads members and remembers the first that is missing or of a wrong type. Objects are maps:
// a Go struct would also take `Key` or `KEY` for the member `key`.
type reader struct {
	members object
	wrong   string
}

func (r *reader) need(ok bool, name string) {
	if !ok && r.wrong == "" {
		r.wrong = "`" + name + "` is missing, or not what it has to be"
	}
}

func (r *reader) text(name string, fits func(string) bool) string {
	value, ok := r.members[name].(string)
	r.need(ok && fits(value), name)
	return value
}

func (r *reader) integer(name string) uint64 {
	value, ok := integer(r.members[name])
	r.need(ok, name)
	return value
}

func (r *reader) flag(name string, isDefault bool) bool {
	value, ok := r.members[name].(bool)
	r.need(ok || isDefault && r.members[name] == nil, name)
	return value
}

func integer(value any) (uint64, bool) {
	number, _ := value.(json.Number)
	var n uint64
	err := json.Unmarshal([]byte(number), &n)
	return n, err == nil && n <= maxInteger
}

func anything(string) bool { return true }

func isPath(text string) bool {
	return strings.HasPrefix(text, "/") && !strings.Contains(text, "\x00")
}

func checkRequest(message object) (*request, string) {
	in := &reader{members: message}
	version := in.integer("v")
	in.need(version == 1, "v")
	id := in.integer("id")
	in.need(id > 0, "id")
	out := &request{purpose: "outputs"}
	out.key = in.text("key", digest.MatchString)
	if message["purpose"] != nil {
		out.purpose = in.text("purpose", anything)
	}
	_, ok := message["unit"].(object)
	in.need(ok, "unit")
	in.text("scratch", isPath)
	in.integer("deadline-ms")
	if message["kind"] == "built-a-thing" {
		out.seal = in.text("seal", func(s string) bool { return len(s) >= 1 && len(s) <= 256 })
		out.replace = in.flag("replace", true)
		if message["cost-ms"] != nil {
			cost := in.integer("cost-ms")
			out.costMs = &cost
		}
		records, _ := message["files"].([]any)
		in.need(len(records) > 0 && len(records) <= maxFiles, "files")
		names := map[string]bool{}
		for _, record := range records {
			f := checkFile(in, record)
			in.need(!names[f.Name], "files")
			names[f.Name] = true
			out.files = append(out.files, f)
		}
	}
	return out, in.wrong
}

func checkFile(of *reader, record any) file {
	members, ok := record.(object)
	of.need(ok, "files")
	in := &reader{members: members}
	isName := func(name string) bool { return len(name) <= 1024 && !badName.MatchString(name) }
	isLease := func(s string) bool { return s == "borrowed" || s == "shared" || s == "owned" }
	f := file{
		Name: in.text("name", isName), path: in.text("path", isPath), Size: in.integer("size"),
		Digest: in.text("digest", digest.MatchString), Executable: in.flag("executable", false),
	}
	in.text("lease", isLease)
	of.need(in.wrong == "", "files")
	return f
}

func fault(kind, message, scope string) object {
	inner := object{"kind": kind, "message": message, "scope": scope}
	return object{"kind": "error", "error": inner}
}

func (s *store) answer(message object) object {
	kind, ok := message["kind"].(string)
	if !ok {
		return fault("bad-request", "a request has a `kind`", "request")
	}
	if kind != "want-to-build" && kind != "built-a-thing" {
		return fault("unknown-kind", "this store does not answer "+kind, "request")
	}
	request, wrong := checkRequest(message)
	if wrong != "" {
		return fault("bad-request", wrong, "request")
	}
	if request.purpose != purposes[0] && request.purpose != purposes[1] {
		return fault("unknown-kind", "`purpose` is outputs or inputs", "request")
	}
	if kind == "want-to-build" {
		return s.wantToBuild(request)
	}
	return s.builtAThing(request)
}

// The message on a line.
func parse(line []byte) (message object, err error) {
	if !utf8.Valid(line) {
		return nil, errors.New("a line is not UTF-8")
	}
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.UseNumber()
	if err = decoder.Decode(&message); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); err != io.EOF || message == nil {
		return nil, errors.New("a line holds one object and nothing else")
	}
	return message, nil
}

// The next line; what is too long or cut short is an error other than io.EOF.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil && len(line) <= maxLineBytes:
			return line, nil
		case err == io.EOF && len(line) == 0:
			return nil, io.EOF
		case err != bufio.ErrBufferFull || len(line) > maxLineBytes:
			return nil, errors.New("a line is too long, or cut short")
		}
	}
}

func run() int {
	// Only messages on standard output, whoever prints.
	out := os.Stdout
	os.Stdout = os.Stderr
	send := func(message object) {
		if line, err := json.Marshal(message); err == nil {
			out.Write(append(line, '\n'))
		}
	}
	hello := object{"v": []int{1}, "plugin": object{"name": "store-go", "version": "1"}}
	err := errors.New("usage: store FOLDER")
	var s *store
	if len(os.Args) == 2 {
		s, err = open(os.Args[1])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		hello["error"] = fault("config", err.Error(), "session")["error"]
		send(hello)
		return 2
	}
	hello["hooks"] = []string{"want-to-build", "built-a-thing"}
	send(hello)
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := readLine(in)
		if err == io.EOF {
			return 0
		}
		var message object
		if err == nil {
			message, err = parse(line)
		}
		if err != nil {
			answer := fault("bad-request", err.Error(), "session")
			answer["id"] = 0
			send(answer)
			return 1
		}
		id, _ := integer(message["id"])
		answer := s.answer(message)
		answer["id"] = id
		send(answer)
	}
}

func main() { os.Exit(run()) }
