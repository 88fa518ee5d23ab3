//! A plugin for tests: keeps entries in a folder, notes every line it gets, and lies about
//! one thing when told to. It uses the standard library only and is compiled by the test
//! that uses it, as anybody's plugin in any language would be.
//!
//! `plugin FOLDER LIE`: see `lie` below for the lies; `none` is honest.

use std::fs;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let (folder, lie) = (PathBuf::from(&args[1]), args[2].as_str());
    fs::create_dir_all(&folder).unwrap();
    let name = format!("liar-{lie}");
    say(&format!(
        r#"{{"v":[1],"plugin":{{"name":"{name}","version":"1"}},"hooks":["want-to-build","built-a-thing"],"features":["manifest"]}}"#
    ));
    for line in io::stdin().lock().lines() {
        let line = line.unwrap();
        note(&folder, &line);
        let id = number(&line, "id");
        if text(&line, "kind") == "built-a-thing" {
            store(&folder, &line);
            say(&format!(r#"{{"id":{id},"kind":"done","stored":"yes"}}"#));
        } else {
            match find(&folder, &line, lie) {
                Some(hit) => say(&format!(r#"{{"id":{id},"kind":"hit",{hit}}}"#)),
                None => say(&format!(r#"{{"id":{id},"kind":"miss","reason":{{"code":"not-found"}}}}"#)),
            }
        }
    }
}

fn say(line: &str) {
    let mut stdout = io::stdout().lock();
    stdout.write_all(format!("{line}\n").as_bytes()).unwrap();
    stdout.flush().unwrap();
}

/// Keeps what came over the wire.
fn note(folder: &Path, line: &str) {
    let mut wire =
        fs::OpenOptions::new().create(true).append(true).open(folder.join("wire")).unwrap();
    wire.write_all(format!("{line}\n").as_bytes()).unwrap();
    if let Some(at) = line.find("\"manifest\":") {
        let manifest = fs::read(text(&line[at..], "path")).unwrap();
        wire.write_all(&manifest).unwrap();
    }
}

/// One folder for an entry: `seal`, and for each file its content, and what is said of it.
fn entry(folder: &Path, line: &str) -> PathBuf {
    let purpose = if line.contains(r#""purpose":"inputs""#) { "inputs" } else { "outputs" };
    folder.join(purpose).join(text(line, "key").replace(':', "-"))
}

fn store(folder: &Path, line: &str) {
    let entry = entry(folder, line);
    let _ = fs::remove_dir_all(&entry);
    fs::create_dir_all(&entry).unwrap();
    for (index, file) in files(line).iter().enumerate() {
        fs::copy(text(file, "path"), entry.join(format!("{index:03}"))).unwrap();
        let rest = ["name", "digest"].map(|name| format!("\"{name}\":\"{}\"", text(file, name)));
        let executable = file.contains("\"executable\":true");
        let size = number(file, "size");
        let said = format!("{},{},\"size\":{size},\"executable\":{executable}", rest[0], rest[1]);
        fs::write(entry.join(format!("{index:03}.said")), said).unwrap();
    }
    fs::write(entry.join("seal"), text(line, "seal")).unwrap();
}

fn find(folder: &Path, line: &str, lie: &str) -> Option<String> {
    let mut entry = entry(folder, line);
    let outputs = entry.starts_with(folder.join("outputs"));
    if !entry.join("seal").exists() {
        return None;
    }
    if lie == "other-entry" && outputs {
        let mut others: Vec<_> =
            fs::read_dir(entry.parent().unwrap()).unwrap().map(|e| e.unwrap().path()).collect();
        others.sort();
        entry = others.into_iter().find(|other| *other != entry)?;
    }
    let mut seal = fs::read_to_string(entry.join("seal")).unwrap();
    let mut files = Vec::new();
    for index in 0.. {
        let content = entry.join(format!("{index:03}"));
        if !content.exists() {
            break;
        }
        let said = fs::read_to_string(content.with_extension("said")).unwrap();
        files.push((content, said));
    }
    if outputs {
        self::lie(lie, &mut seal, &mut files);
    }
    let files: Vec<_> = files
        .iter()
        .map(|(path, said)| format!("{{\"path\":\"{}\",\"lease\":\"borrowed\",{said}}}", path.display()))
        .collect();
    Some(format!("\"seal\":\"{seal}\",\"files\":[{}]", files.join(",")))
}

fn lie(lie: &str, seal: &mut String, files: &mut Vec<(PathBuf, String)>) {
    match lie {
        "digest" => {
            let said = &mut files[0].1;
            let at = said.find("blake3:").unwrap() + 7;
            let other = if said.as_bytes()[at] == b'0' { "1" } else { "0" };
            said.replace_range(at..=at, other);
        }
        "seal" => {
            let other = if seal.ends_with('0') { "1" } else { "0" };
            seal.replace_range(seal.len() - 1.., other);
        }
        "missing-file" => drop(files.pop()),
        "extra-file" => {
            let (path, said) = files[0].clone();
            let name = text(&format!("{{{said}}}"), "name").to_owned();
            files.push((path, said.replace(&name, "out/extra")));
        }
        // The same size, another content.
        "content" => {
            let path = &files[0].0;
            let mut content = fs::read(path).unwrap();
            match content.first_mut() {
                Some(first) => *first ^= 1,
                None => content.push(1),
            }
            fs::write(path, content).unwrap();
        }
        _ => {}
    }
}

/// The objects in `files`.
fn files(line: &str) -> Vec<&str> {
    let start = line.find("\"files\":[").unwrap() + 9;
    let end = start + line[start..].find(']').unwrap();
    let objects = line[start..end].split("},{");
    objects.filter(|object| !object.is_empty()).collect()
}

/// The text of a member; the host escapes nothing in the paths that tests use.
fn text<'l>(line: &'l str, name: &str) -> &'l str {
    let start = line.find(&format!("\"{name}\":\"")).unwrap() + name.len() + 4;
    let end = start + line[start..].find('"').unwrap();
    &line[start..end]
}

fn number(line: &str, name: &str) -> u64 {
    let start = line.find(&format!("\"{name}\":")).unwrap() + name.len() + 3;
    let end = line[start..].find(|c: char| !c.is_ascii_digit()).unwrap_or(line.len() - start);
    line[start..start + end].parse().unwrap()
}
