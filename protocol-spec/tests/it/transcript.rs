//! Reads the transcripts of `golden/`; its README.md describes the format.

use std::fs;
use std::path::{Path, PathBuf};

use buildhook_protocol::{Answer, Checked, Hello, Message, Request, frame};
use serde::de::DeserializeOwned;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Speaker {
    Plugin,
    Host,
}

/// One transcript.
pub(crate) struct Transcript {
    pub(crate) name: String,
    pub(crate) text: String,
    /// Messages with their speakers, in order.
    pub(crate) messages: Vec<(Speaker, String)>,
    pub(crate) events: Vec<(Speaker, String)>,
}

/// A message as its typed view.
#[derive(Debug, PartialEq)]
pub(crate) enum Typed {
    Hello(Hello),
    Request(Box<Request>),
    Answer(Answer),
}

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

pub(crate) fn all() -> Vec<Transcript> {
    let mut paths: Vec<_> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "transcript"))
        .collect();
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

pub(crate) fn named(name: &str) -> Transcript {
    read(&folder().join(name).with_extension("transcript"))
}

fn read(path: &Path) -> Transcript {
    let text = fs::read_to_string(path).unwrap();
    let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
    let (mut messages, mut events) = (Vec::new(), Vec::new());
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (speaker, rest) = match line.split_once("  ") {
            Some(("plugin", rest)) => (Speaker::Plugin, rest.trim_start()),
            Some(("host", rest)) => (Speaker::Host, rest.trim_start()),
            _ => panic!("{name}: who says {line:?}?"),
        };
        let list = if rest.starts_with('(') { &mut events } else { &mut messages };
        list.push((speaker, rest.to_owned()));
    }
    Transcript { name, text, messages, events }
}

impl Transcript {
    /// Each message with its place: its speaker, and whether it is the first one.
    pub(crate) fn typed(&self) -> Vec<(&str, Result<Typed, String>)> {
        let view = |(index, (speaker, line)): (usize, &(Speaker, String))| match speaker {
            Speaker::Host => parse(line).map(|request| Typed::Request(Box::new(request))),
            Speaker::Plugin if index == 0 => parse(line).map(Typed::Hello),
            Speaker::Plugin => parse(line).map(Typed::Answer),
        };
        let lines = self.messages.iter().map(|(_, line)| line.as_str());
        lines.zip(self.messages.iter().enumerate().map(view)).collect()
    }
}

fn parse<T: Checked + DeserializeOwned>(line: &str) -> Result<T, String> {
    let message = frame::parse(line.as_bytes()).map_err(|error| error.to_string())?;
    message.parse().map_err(|error| error.to_string())
}

/// The message of a line that is one.
pub(crate) fn message(line: &str) -> Message {
    frame::parse(line.as_bytes()).unwrap_or_else(|error| panic!("{error}: {line}"))
}
