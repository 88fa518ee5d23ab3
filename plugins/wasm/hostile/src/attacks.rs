//! The attacks that are made while a request is answered.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::CWD;
use serde_json::Value;

/// More than any sandbox should allow.
const MANY: u64 = 1_000_000;

/// Makes the attack `name`; `Err`: it was refused.
pub(crate) fn run(name: &str, arguments: &[String], request: &Value) -> io::Result<String> {
    let path = arguments.first().map_or("", String::as_str);
    let second = arguments.get(1).map_or("", String::as_str);
    match name {
        "read" => Ok(fs::read_to_string(path)?),
        "read-request" => Ok(fs::read_to_string(text(&request["files"][0]["path"]))?),
        #[cfg(target_os = "linux")]
        "openat2" => openat2(path),
        "write" => fs::write(path, "hostile").map(none),
        "write-request" => {
            let path = text(&request["files"][0]["path"]).to_owned();
            OpenOptions::new().write(true).open(path)?.write_all(b"hostile").map(none)
        }
        "truncate" => OpenOptions::new().write(true).truncate(true).open(path).map(none),
        "rename" => fs::rename(path, second).map(none),
        "link" => fs::hard_link(path, second).map(none),
        "symlink" => rustix::fs::symlinkat(path, CWD, second).map(none).map_err(Into::into),
        "remove" => fs::remove_file(path).map(none),
        "mkdir" => fs::create_dir(path).map(none),
        "rmdir" => fs::remove_dir(path).map(none),
        "touch" => File::open(path)?.set_modified(SystemTime::UNIX_EPOCH).map(none),
        "list" => Ok(format!(
            "{:?}",
            fs::read_dir(path)?.flatten().map(|e| e.file_name()).collect::<Vec<_>>()
        )),
        "loop" => spin(),
        "sleep" => {
            if !second.is_empty() {
                File::create(second)?;
            }
            std::thread::sleep(Duration::from_secs(number(path)));
            Ok(String::new())
        }
        "memory" => Ok(hold(number(path))),
        "recursion" => Ok(deeper(number(path)).to_string()),
        "flood" => flood(),
        "stderr" => {
            io::stderr().write_all(&vec![b'x'; number(path) as usize])?;
            Ok(String::new())
        }
        "descriptors" => descriptors(path),
        "sparse" => File::create(path)?.set_len(1 << 40).map(none),
        "fill" => fill(path, number(second)),
        "pour" => pour(path, number(second)),
        "files" => files(path, number(second)),
        "folders" => nest(path, number(second)),
        "storm" => storm(),
        "buffer" => buffer(path, number(second)),
        "replace-stdout" => {
            close_stdout();
            // It gets the number that is free.
            std::mem::forget(File::create(path)?);
            for _ in 0..number(second) >> 16 {
                let _ = io::stdout().write_all(&[b'x'; 64 << 10]);
            }
            Ok(String::new())
        }
        "clock" => Ok(format!("{:?}", SystemTime::now())),
        "random" => Ok(random()),
        "panic" => panic!("as asked"),
        _ => Err(io::Error::other("an attack that nobody knows")),
    }
}

/// Opens a file with the system call that keeps paths inside of a folder: not an attack, but
/// what says whether there is such a call.
#[cfg(target_os = "linux")]
fn openat2(path: &str) -> io::Result<String> {
    use rustix::fs::{Mode, OFlags, ResolveFlags};
    rustix::fs::openat2(CWD, path, OFlags::RDONLY, Mode::empty(), ResolveFlags::empty())?;
    Ok("opened".to_owned())
}

fn none<T>(_: T) -> String {
    String::new()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or(0)
}

fn spin() -> ! {
    let mut x = 1_u64;
    loop {
        x = std::hint::black_box(x.wrapping_mul(6_364_136_223_846_793_005));
    }
}

/// Holds as many bytes, every page of them written to.
fn hold(bytes: u64) -> String {
    let held = vec![1_u8; bytes as usize];
    std::hint::black_box(&held).len().to_string()
}

fn deeper(levels: u64) -> u64 {
    let frame = std::hint::black_box([levels; 32]);
    if levels == 0 { 0 } else { frame[0] - frame[1] + 1 + deeper(levels - 1) }
}

fn flood() -> io::Result<String> {
    let block = vec![b'x'; 64 << 10];
    loop {
        io::stdout().write_all(&block)?;
    }
}

fn descriptors(path: &str) -> io::Result<String> {
    let mut open = Vec::new();
    for _ in 0..1000 {
        match File::open(path) {
            Ok(file) => open.push(file),
            Err(error) => return Err(io::Error::other(format!("after {}: {error}", open.len()))),
        }
    }
    Ok(open.len().to_string())
}

fn fill(path: &str, bytes: u64) -> io::Result<String> {
    let mut file = File::create(path)?;
    let block = vec![b'x'; 64 << 10];
    let mut written = 0;
    while written < bytes {
        file.write_all(&block)
            .map_err(|error| io::Error::other(format!("after {written}: {error}")))?;
        written += block.len() as u64;
    }
    Ok(written.to_string())
}

/// Files of 1 MiB.
fn pour(folder: &str, count: u64) -> io::Result<String> {
    for number in 0..count {
        fill(&format!("{folder}/{number}"), 1 << 20)
            .map_err(|error| io::Error::other(format!("file {number}: {error}")))?;
    }
    Ok(count.to_string())
}

fn files(folder: &str, count: u64) -> io::Result<String> {
    for number in 0..count {
        File::create(format!("{folder}/{number}"))
            .map_err(|error| io::Error::other(format!("after {number}: {error}")))?;
    }
    Ok(count.to_string())
}

fn nest(folder: &str, count: u64) -> io::Result<String> {
    let mut path = folder.to_owned();
    for number in 0..count {
        path.push_str("/d");
        fs::create_dir(&path)
            .map_err(|error| io::Error::other(format!("after {number}: {error}")))?;
    }
    Ok(count.to_string())
}

/// As many system calls as go into the time.
fn storm() -> io::Result<String> {
    let started = Instant::now();
    for _ in 0..MANY * MANY {
        let _ = fs::metadata("/scratch/nothing");
    }
    Ok(format!("{:?}", started.elapsed()))
}

/// One read with a buffer of so many bytes.
fn buffer(path: &str, bytes: u64) -> io::Result<String> {
    let mut buffer = vec![0; bytes as usize];
    let read = File::open(path)?.read(&mut buffer)?;
    Ok(read.to_string())
}

fn close_stdout() {
    #[expect(unsafe_code, reason = "an attack: nobody else would close what is not theirs")]
    // SAFETY: nothing in this program relies on descriptor 1 being open; what is printed
    // afterwards is lost or goes to whatever file is opened next, which is the attack.
    let stdout = unsafe { OwnedFd::from_raw_fd(1) };
    drop(stdout);
}

fn random() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    format!("{:016x}", RandomState::new().hash_one(1))
}
