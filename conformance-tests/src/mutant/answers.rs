//! What the store answers: `done`, `hit` and `miss`, and how mutants get them wrong.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::catalog::Mutation;
use super::server::Server;
use super::store::Found;
use crate::plugin::bench::text;

impl Server {
    pub(super) fn answer(&mut self, request: &Value) -> io::Result<Value> {
        if request["kind"] == "built-a-thing" {
            Ok(self.built(request))
        } else {
            self.want(request)
        }
    }

    fn built(&mut self, request: &Value) -> Value {
        let id = &request["id"];
        let done = |stored: &str| json!({"id": id, "kind": "done", "stored": stored});
        if self.is(Mutation::IgnoresReplace) && self.store.has(request) {
            return done("already");
        }
        if self.is(Mutation::SecondStoreBreaks) && request["replace"] == true {
            return done("no");
        }
        match self.store.put(request) {
            Ok(kept) => {
                if self.is(Mutation::ForgetsAtExit) {
                    self.remember(request);
                }
                let mut answer =
                    done(if self.is(Mutation::InventsStored) { "certainly" } else { "yes" });
                answer["relocated"] = self.relocated(request, kept).into();
                answer
            }
            Err(_) if self.is(Mutation::YesOnError) => done("yes"),
            Err(error) => {
                let mut answer = done("no");
                answer["reason"] = json!({"code": "other", "message": error.to_string()});
                answer
            }
        }
    }

    /// Moves what was just stored from the folder to memory.
    fn remember(&mut self, request: &Value) {
        if let Found::Entry(record) = self.store.get(request) {
            let key = format!("{} {}", request["key"], request["purpose"]);
            self.memory.insert(key, record);
            // What stays is found by another session, which is no fault here.
            let _ = fs::remove_dir_all(self.store.folder().join("entries"));
        }
    }

    fn relocated(&self, request: &Value, kept: Vec<Value>) -> Vec<Value> {
        let sent = request["files"].as_array().map(Vec::as_slice).unwrap_or_default();
        let sent: BTreeMap<&str, &Value> =
            sent.iter().filter_map(|file| Some((file["name"].as_str()?, file))).collect();
        let moved = |record: &Value| {
            let Some(file) = sent.get(record["name"].as_str().unwrap_or_default()) else {
                return false;
            };
            let same = |name: &&str| file[*name] == record[*name];
            ["size", "digest", "executable"].iter().all(same) && file["path"] != record["path"]
        };
        let mut kept: Vec<Value> = kept.into_iter().filter(moved).collect();
        if self.is(Mutation::RelocatedVanishes) {
            for record in &mut kept {
                record["path"] = text(&self.store.folder().join("vanished")).into();
            }
        }
        kept
    }

    fn want(&mut self, request: &Value) -> io::Result<Value> {
        let id = &request["id"];
        let remembered = self.memory.get(&format!("{} {}", request["key"], request["purpose"]));
        let found = match remembered {
            Some(record) => Found::Entry(record.clone()),
            None => self.store.get(request),
        };
        let code = match found {
            Found::Entry(record) => {
                let scratch = PathBuf::from(request["scratch"].as_str().unwrap_or_default());
                let files = record["files"].as_array().cloned().unwrap_or_default();
                let mut files = files
                    .into_iter()
                    .enumerate()
                    .map(|(index, file)| self.lend(file, &scratch, index))
                    .collect::<io::Result<Vec<_>>>()?;
                self.spoil_hit(&mut files);
                let cost = record["cost-ms"].as_u64().unwrap_or(0);
                let mut hit = json!({"id": id, "kind": "hit", "files": files, "cost-ms": cost});
                if !self.is(Mutation::ForgetsSeals) {
                    hit["seal"] = record["seal"].clone();
                }
                return Ok(hit);
            }
            Found::Damaged if self.is(Mutation::CorruptIsNotFound) => "not-found",
            Found::Damaged => "corrupt",
            Found::Nothing if self.is(Mutation::AlwaysAHit) => return self.invent(request),
            Found::Nothing => "not-found",
        };
        if self.is(Mutation::MissWithoutReason) {
            return Ok(json!({"id": id, "kind": "miss"}));
        }
        Ok(json!({"id": id, "kind": "miss", "reason": {"code": code}}))
    }

    /// A file record of a hit, under the lease this plugin gives.
    fn lend(&mut self, mut file: Value, scratch: &Path, index: usize) -> io::Result<Value> {
        let stored = PathBuf::from(file["path"].as_str().unwrap_or_default());
        let copy = scratch.join(format!("file-{index}"));
        file["lease"] = self.lease.as_str().into();
        match self.mutation {
            Some(Mutation::OwnedOutsideScratch) => file["lease"] = "owned".into(),
            Some(Mutation::SymlinkOutput) => {
                std::os::unix::fs::symlink(&stored, &copy)?;
                file["path"] = text(&copy).into();
            }
            Some(Mutation::FifoOutput) => {
                use rustix::fs::{CWD, FileType, Mode, mknodat};
                mknodat(CWD, &copy, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
                file["path"] = text(&copy).into();
            }
            Some(Mutation::RelativePaths) => {
                let here = std::env::current_dir()?;
                let up = "../".repeat(here.components().count());
                file["path"] = format!("{up}{}", text(&stored).trim_start_matches('/')).into();
            }
            Some(Mutation::WrongBytes) => {
                let mut content = fs::read(&stored)?;
                content.iter_mut().for_each(|byte| *byte = byte.wrapping_add(1));
                fs::write(&copy, content)?;
                file["path"] = text(&copy).into();
            }
            Some(Mutation::ShortLease) => {
                fs::copy(&stored, &copy)?;
                file["path"] = text(&copy).into();
                self.lent.push(copy);
            }
            _ if self.lease == "owned" => {
                fs::copy(&stored, &copy)?;
                file["path"] = text(&copy).into();
            }
            _ => {}
        }
        Ok(file)
    }

    fn spoil_hit(&self, files: &mut Vec<Value>) {
        match self.mutation {
            Some(Mutation::ForgetsAFile) if files.len() > 1 => {
                files.pop();
            }
            Some(Mutation::KeepsAThousandFiles) => files.truncate(1_000),
            Some(Mutation::ClashingNames) => {
                let mut again = files[0].clone();
                again["name"] = again["name"].as_str().unwrap_or_default().to_uppercase().into();
                files.push(again);
            }
            Some(Mutation::AbsoluteNames | Mutation::DotdotNames) => {
                let prefix = if self.is(Mutation::AbsoluteNames) { "/" } else { "../" };
                for file in files {
                    file["name"] =
                        format!("{prefix}{}", file["name"].as_str().unwrap_or_default()).into();
                }
            }
            _ => {}
        }
    }

    /// A hit for something nobody stored.
    fn invent(&self, request: &Value) -> io::Result<Value> {
        let path = PathBuf::from(request["scratch"].as_str().unwrap_or_default()).join("invented");
        fs::write(&path, b"invented")?;
        let file = json!({"name": "out/libfoo.rlib", "path": path, "size": 8, "executable": false,
                          "digest": crate::wire::digest(b"invented"), "lease": "owned"});
        let seal = crate::wire::seal(
            request["key"].as_str().unwrap_or_default(),
            std::slice::from_ref(&file),
        );
        Ok(json!({"id": request["id"], "kind": "hit", "seal": seal, "files": [file]}))
    }
}
