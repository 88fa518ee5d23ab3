//! What the oracle keeps of each call: a folder of files, named by the words of the call.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{self, Command};

use fs_err as fs;

/// Stands for the folder of the build wherever it is written down.
const ROOT: &str = "@buildhook-bench-root@";
/// Calls of a replay that were not recorded, one word each.
const UNKNOWN: &str = "unknown-calls";

/// One call of the compiler, independent of where the build takes place.
pub(crate) struct Call {
    root: String,
    name: String,
    /// Where the outputs go, with how their names begin; none for a probe.
    outputs: Option<(PathBuf, String)>,
}

/// What the compiler said.
pub(crate) struct Printed {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) code: u8,
}

/// A folder of recorded calls.
pub(crate) struct Store {
    folder: PathBuf,
}

impl Call {
    /// The call with `words` after the compiler's name, made in `folder`, for a build in
    /// `root`. `None` when it cannot be taken over.
    pub(crate) fn new(words: Vec<String>, folder: String, root: String) -> Option<Self> {
        let untaken = |word: &String| word == "-" || word == "-o" || word.starts_with('@');
        if words.iter().any(untaken) {
            return None;
        }
        let mut hasher = DefaultHasher::new();
        for word in words.iter().chain([&folder]) {
            word.replace(&root, ROOT).hash(&mut hasher);
        }
        let name = format!("{:016x}", hasher.finish());
        let outputs = value(&words, "--out-dir").map(|out| {
            let crate_name = value(&words, "--crate-name").unwrap_or_default();
            (Path::new(&folder).join(out), crate_name + &codegen(&words, "extra-filename"))
        });
        Some(Self { root, name, outputs })
    }

    /// Whether the compiler has written `file` in this call.
    fn wrote(&self, file: &str, beginning: &str) -> bool {
        let stem = file.strip_prefix("lib").filter(|rest| rest.starts_with(beginning));
        let rest = stem.unwrap_or(file).strip_prefix(beginning);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

/// The word after `name`, or after `name=`.
fn value(words: &[String], name: &str) -> Option<String> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == name {
            return words.next().cloned();
        }
        if let Some(value) = word.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')) {
            return Some(value.to_owned());
        }
    }
    None
}

/// The value of `-C name=…`, or nothing.
fn codegen(words: &[String], name: &str) -> String {
    let options = words.windows(2).filter(|pair| pair[0] == "-C").map(|pair| pair[1].as_str());
    let joined = words.iter().filter_map(|word| word.strip_prefix("-C"));
    let mut all = options.chain(joined).filter_map(|option| option.split_once('='));
    all.find(|(other, _)| *other == name).map(|(_, value)| value.to_owned()).unwrap_or_default()
}

impl Store {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Runs `command` and keeps what it did.
    pub(crate) fn record(&self, call: &Call, command: &mut Command) -> io::Result<Option<Printed>> {
        let output = command.output()?;
        let code = output.status.code().unwrap_or(1) as u8;
        let printed = Printed { stdout: output.stdout, stderr: output.stderr, code };
        let building = self.folder.join(format!("{}.{}", call.name, process::id()));
        let files = building.join("files");
        fs::create_dir_all(&files)?;
        if let Some((folder, beginning)) = &call.outputs {
            for entry in fs::read_dir(folder)? {
                let (name, path) = entry.map(|entry| (entry.file_name(), entry.path()))?;
                let text = name.to_string_lossy();
                if !call.wrote(&text, beginning) || path.is_dir() {
                    continue;
                }
                if text.ends_with(".d") {
                    let kept = fs::read_to_string(&path)?.replace(&call.root, ROOT);
                    fs::write(files.join(&name), kept)?;
                } else {
                    fs::copy(&path, files.join(&name))?;
                }
            }
        }
        fs::write(building.join("stdout"), rooted(&printed.stdout, &call.root, ROOT))?;
        fs::write(building.join("stderr"), rooted(&printed.stderr, &call.root, ROOT))?;
        fs::write(building.join("code"), [code])?;
        // Another process may have recorded the same probe meanwhile: either will do.
        if fs::rename(&building, self.folder.join(&call.name)).is_err() {
            fs::remove_dir_all(&building)?;
        }
        Ok(Some(printed))
    }

    /// Does what the recorded call did, or nothing when there is none.
    pub(crate) fn replay(&self, call: &Call) -> io::Result<Option<Printed>> {
        let entry = self.folder.join(&call.name);
        let Ok(code) = std::fs::read(entry.join("code")) else {
            let path = self.folder.join(UNKNOWN);
            let mut file = fs::OpenOptions::new().create(true).append(true).open(path)?;
            io::Write::write_all(&mut file, format!("{}\n", call.name).as_bytes())?;
            return Ok(None);
        };
        if let Some((folder, _)) = &call.outputs {
            for file in fs::read_dir(entry.join("files"))? {
                let file = file?;
                let to = folder.join(file.file_name());
                if to.extension().is_some_and(|extension| extension == "d") {
                    let kept = fs::read_to_string(file.path())?.replace(ROOT, &call.root);
                    fs::write(to, kept)?;
                } else {
                    fs::copy(file.path(), to)?;
                }
            }
        }
        let read = |name| fs::read(entry.join(name)).map(|text| rooted(&text, ROOT, &call.root));
        let code = code.first().copied().unwrap_or(1);
        Ok(Some(Printed { stdout: read("stdout")?, stderr: read("stderr")?, code }))
    }
}

/// `text` with one folder in place of the other.
fn rooted(text: &[u8], from: &str, to: &str) -> Vec<u8> {
    String::from_utf8_lossy(text).replace(from, to).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(line: &str, root: &str) -> Option<Call> {
        let line = line.replace("ROOT", root);
        let words = line.split(' ').map(str::to_owned).collect();
        Call::new(words, root.to_owned(), root.to_owned())
    }

    const LINE: &str = "--crate-name a src/lib.rs -C metadata=1 -C extra-filename=-1 \
                        --out-dir ROOT/target/debug/deps -L dependency=ROOT/target/debug/deps";

    #[test]
    fn a_call_is_the_same_in_another_folder() {
        let (one, other) = (call(LINE, "/one").unwrap(), call(LINE, "/an/other").unwrap());
        assert_eq!(one.name, other.name);
        assert_eq!(one.outputs.unwrap().1, "a-1");
        assert_ne!(one.name, call(&LINE.replace("metadata=1", "metadata=2"), "/one").unwrap().name);
    }

    #[test]
    fn standard_input_and_single_outputs_are_left_alone() {
        for line in ["--crate-name a -", "a.rs -o x", "@args"] {
            assert!(call(line, "/one").is_none(), "{line}");
        }
    }

    #[test]
    fn outputs_are_told_by_how_their_names_begin() {
        let call = call(LINE, "/one").unwrap();
        for mine in ["a-1", "a-1.d", "liba-1.rlib", "liba-1.rmeta", "a-1.x.rcgu.dwo"] {
            assert!(call.wrote(mine, "a-1"), "{mine}");
        }
        for other in ["a-12.d", "liba-12.rlib", "ba-1", "libba-1.rlib", "a"] {
            assert!(!call.wrote(other, "a-1"), "{other}");
        }
    }

    #[test]
    fn what_was_recorded_is_replayed_elsewhere() {
        let temp = tempfile::tempdir().unwrap();
        let store = Store::new(temp.path().join("store"));
        let roots = ["one", "two"].map(|name| temp.path().join(name));
        for root in &roots {
            fs::create_dir_all(root.join("target/debug/deps")).unwrap();
        }
        let [one, two] = roots.map(|root| root.to_str().unwrap().to_owned());
        let deps = |root: &str| Path::new(root).join("target/debug/deps");
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(
            "echo rlib > target/debug/deps/liba-1.rlib; echo $PWD/a: > target/debug/deps/a-1.d;\
             echo $PWD out; echo $PWD err >&2; exit 3",
        );
        shell.current_dir(&one);
        let printed = store.record(&call(LINE, &one).unwrap(), &mut shell).unwrap().unwrap();
        assert_eq!(printed.stdout, format!("{one} out\n").as_bytes());

        let printed = store.replay(&call(LINE, &two).unwrap()).unwrap().unwrap();
        assert_eq!((printed.code, printed.stderr), (3, format!("{two} err\n").into_bytes()));
        assert_eq!(fs::read_to_string(deps(&two).join("liba-1.rlib")).unwrap(), "rlib\n");
        assert_eq!(fs::read_to_string(deps(&two).join("a-1.d")).unwrap(), format!("{two}/a:\n"));

        let unknown = call("--crate-name b", &two).unwrap();
        assert!(store.replay(&unknown).unwrap().is_none());
        assert_eq!(fs::read_to_string(store.folder.join(UNKNOWN)).unwrap().lines().count(), 1);
    }
}
