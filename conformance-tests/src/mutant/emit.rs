//! Writes messages, rightly or not.

use std::io::{self, Write as _};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use super::catalog::Mutation;

/// Standard output of a plugin.
#[derive(Debug)]
pub(super) struct Out {
    mutation: Option<Mutation>,
    held: Mutex<Vec<u8>>,
}

impl Out {
    pub(super) fn new(mutation: Option<Mutation>) -> Self {
        Self { mutation, held: Mutex::default() }
    }

    /// Writes one message.
    pub(super) fn message(&self, message: &Value) -> io::Result<()> {
        let bytes = self.render(message);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.extend_from_slice(&bytes);
        if self.mutation == Some(Mutation::NoFlush) && message["v"].is_null() {
            return Ok(());
        }
        write(&mut held)
    }

    /// Writes what was held back.
    pub(super) fn finish(&self) -> io::Result<()> {
        write(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn render(&self, message: &Value) -> Vec<u8> {
        let mut message = message.clone();
        let answer = message["v"].is_null();
        match self.mutation {
            Some(Mutation::WritesNulls) => message["x-nothing"] = Value::Null,
            Some(Mutation::AddsMembers) => message["mutant-version"] = 3.into(),
            Some(Mutation::WrongId) if answer => {
                message["id"] = (message["id"].as_u64().unwrap_or(0) + 1).into();
            }
            Some(Mutation::DeepAnswers) if answer => {
                message["x-deep"] = (0..35).fold(json!(1), |inner, _| json!([inner]));
            }
            _ => {}
        }
        let text = message.to_string();
        let text = match self.mutation {
            Some(Mutation::PrettyJson) => serde_json::to_string_pretty(&message).unwrap_or(text),
            Some(Mutation::ArrayAnswers) if answer => format!("[{text}]"),
            Some(Mutation::TwoDocumentsOnOneLine) if answer => format!("{text} {{\"more\":1}}"),
            Some(Mutation::AnswersTwice) if answer => format!("{text}\n{text}"),
            Some(Mutation::DuplicateMembers) => text.replacen('{', "{\"kind\":\"hit\",", 1),
            Some(Mutation::FractionalIntegers) => text
                .replacen('{', "{\"x-cost\":1.5,", 1)
                .replace("\"max-in-flight\":4", "\"max-in-flight\":4.0"),
            Some(Mutation::LoneSurrogates) if answer => {
                text.replacen('{', "{\"x-text\":\"\\ud83d\",", 1)
            }
            _ => text,
        };
        let mut bytes = text.into_bytes();
        if self.mutation == Some(Mutation::InvalidUtf8) && answer {
            bytes.extend_from_slice(b"\xff");
        }
        bytes.push(b'\n');
        bytes
    }
}

fn write(held: &mut Vec<u8>) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(held)?;
    held.clear();
    stdout.flush()
}
