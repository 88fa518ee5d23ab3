//! The plugin: asks in order, gives to all that write, fills back.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use buildhook_sdk::protocol::{
    Answer, FEATURE_MANIFEST, FileRecord, Hook, Lease, Message, Purpose, Reason, ReasonCode, Seal,
    Stored,
};
use buildhook_sdk::{About, Built, Call, Done, Error, Plugin, Want};
use serde_json::Value;

use crate::member::Member;
use crate::queue::{Copies, Job, Queue};
use crate::spool::{Note, Spool};
use crate::{NAME, VERSION};

/// What closing the tiers adds to the time for writing.
const CLOSE_MARGIN_MS: u64 = 1500;

pub(crate) struct Tiers {
    /// Each with its queue, first to last.
    tiers: Vec<(Arc<Member>, Queue)>,
    spool: Arc<Spool>,
    drain_ms: u64,
}

impl Tiers {
    pub(crate) fn new(members: Vec<Arc<Member>>, spool: PathBuf, drain_ms: u64) -> Self {
        let tiers = members.into_iter().map(|member| (Arc::clone(&member), Queue::new(member)));
        let tiers: Vec<_> = tiers.collect();
        for left_over in Spool::left_over(&spool) {
            take_over(&Arc::new(left_over), &tiers);
        }
        Self { tiers, spool: Arc::new(Spool::new(spool)), drain_ms }
    }

    /// Whether a build waits for this tier. For the first one it always does: that it is slow is
    /// the machine's doing, and nothing is gained by going past it.
    fn is_waited_for(&self, index: usize) -> bool {
        index == 0 || self.tiers[index].0.is_worth_waiting()
    }

    /// Whether this tier is written after the build has gone on.
    fn is_background(&self, index: usize) -> bool {
        let tier = &self.tiers[index].0.tier;
        tier.write && (tier.background || !self.is_waited_for(index))
    }

    /// Gives the entry of a hit to the earlier tiers that are to be filled.
    fn back_fill(&self, call: &Call, hit: &Hit, earlier: &[Asked]) {
        let wanting: Vec<_> = earlier
            .iter()
            .filter(|asked| {
                let member = &self.tiers[asked.index].0;
                member.tier.back_fill && member.is_usable(Hook::BuiltAThing)
            })
            .collect();
        if wanting.is_empty() {
            return;
        }
        let Some(copies) = self.copies(&hit.files, true) else { return };
        let mut request = call.message.clone();
        let members = request.members_mut();
        members.insert("kind".to_owned(), Hook::BuiltAThing.as_str().into());
        members.insert("seal".to_owned(), hit.seal.0.as_str().into());
        // Lent for the time of this request only.
        members.remove("manifest");
        if let Some(cost_ms) = hit.cost_ms {
            members.insert("cost-ms".to_owned(), cost_ms.into());
        }
        for asked in wanting {
            let mut request = request.clone();
            if asked.is_damaged {
                request.members_mut().insert("replace".to_owned(), true.into());
            }
            let files = Arc::clone(&copies);
            self.tiers[asked.index].1.push(Job { request, files, note: None });
        }
    }

    /// Durable copies; `None` when they cannot be made: told, and nothing is written then.
    fn copies(&self, files: &[FileRecord], is_answer: bool) -> Option<Arc<Copies>> {
        let mut copies = Copies { files: Vec::new(), spool: Arc::clone(&self.spool) };
        for file in files {
            match self.spool.keep(file, is_answer) {
                Ok(kept) => copies.files.push(kept),
                Err(error) => {
                    eprintln!("buildhook-tier: an entry is not written on: {error}");
                    return None;
                }
            }
        }
        Some(Arc::new(copies))
    }

    /// Writes to the tiers that the build waits for; returns the first good answer, or why
    /// there is none.
    fn write_now(
        &self,
        call: &Call,
        built: &Built,
        background: &[bool],
    ) -> Result<Message, Vec<String>> {
        let writers = self.tiers.iter().filter(|(member, _)| member.tier.write).count();
        let (mut first, mut whys) = (None, Vec::new());
        for (index, (member, _)) in self.tiers.iter().enumerate() {
            let tier = &member.tier;
            let is_now = tier.write && !background[index];
            if !is_now || !member.is_usable(Hook::BuiltAThing) {
                continue;
            }
            let mut request = call.message.clone();
            if writers > 1 {
                lend(&mut request);
            }
            let outcome = scratch_for(call, index)
                .and_then(|scratch| {
                    request.members_mut().insert("scratch".to_owned(), scratch.into());
                    member.give(request, &built.files, call.deadline.sooner())
                })
                .and_then(|answer| match answer.parse() {
                    Ok(Answer::Done { stored: Stored::No, reason, .. }) => {
                        Err(reason.and_then(|r| r.message).unwrap_or("it declines".to_owned()))
                    }
                    Ok(Answer::Done { .. }) => {
                        member.praise();
                        Ok(answer)
                    }
                    _ => Err("it answers something else".to_owned()),
                });
            match outcome {
                Ok(answer) => {
                    first.get_or_insert(answer);
                }
                Err(why) => whys.push(format!("{}: {why}", tier.name)),
            }
        }
        first.ok_or(whys)
    }

    /// Queues for the tiers that are written in the background; whether there are any.
    fn write_later(&self, call: &Call, files: &[FileRecord], background: &[bool]) -> bool {
        let writers: Vec<_> = (self.tiers.iter().zip(background))
            .filter(|((member, _), later)| **later && member.is_usable(Hook::BuiltAThing))
            .map(|(tier, _)| tier)
            .collect();
        if writers.is_empty() {
            return false;
        }
        let Some(copies) = self.copies(files, false) else { return false };
        let mut request = call.message.clone();
        request.members_mut().remove("manifest");
        for (_, queue) in writers {
            let note = Note::new(queue.tier(), request.members(), &copies.files);
            // Without a note the entry is lost when this process is killed, and only then.
            let note = copies.spool.write_note(&note).ok();
            queue.push(Job { request: request.clone(), files: Arc::clone(&copies), note });
        }
        true
    }
}

impl Plugin for Tiers {
    fn about(&self) -> About {
        let mut about = About::new(NAME, VERSION);
        let members = || self.tiers.iter().map(|(member, _)| member);
        if members().any(|member| member.tier.read) {
            about = about.hook(Hook::WantToBuild);
        }
        if members().any(|member| member.tier.write) {
            about = about.hook(Hook::BuiltAThing);
        }
        let hellos = || members().filter_map(|member| member.next()).map(|next| next.hello());
        if hellos().any(|hello| hello.has_feature(FEATURE_MANIFEST)) {
            about = about.feature(FEATURE_MANIFEST);
        }
        let longest = hellos().map(|hello| hello.drain_ms).max().unwrap_or(0);
        about
            .max_in_flight(hellos().map(|hello| hello.max_in_flight).min().unwrap_or(1))
            .drain_ms(self.drain_ms.saturating_add(longest).saturating_add(CLOSE_MARGIN_MS))
    }

    fn want_to_build(&self, call: &Call) -> Result<Want, Error> {
        let (mut asked, mut reason) = (Vec::new(), Reason::code(ReasonCode::NOT_FOUND));
        for (index, (member, _)) in self.tiers.iter().enumerate() {
            if !member.tier.read
                || !member.is_usable(Hook::WantToBuild)
                || !self.is_waited_for(index)
            {
                asked.push(Asked { index, is_damaged: false });
                continue;
            }
            match ask(member, call, index) {
                Found::Hit(answer, hit) => {
                    self.back_fill(call, &hit, &asked);
                    return Ok(Want::Forwarded(answer));
                }
                Found::Miss(why) => {
                    let is_damaged = why.code == ReasonCode::CORRUPT;
                    asked.push(Asked { index, is_damaged });
                    // The first thing that is out of the ordinary is what people want to know.
                    if reason.code == ReasonCode::NOT_FOUND {
                        let message = why.message.unwrap_or_default();
                        let name = &member.tier.name;
                        reason =
                            Reason { code: why.code, message: Some(format!("{name}: {message}")) };
                    }
                }
            }
        }
        if reason.code == ReasonCode::NOT_FOUND {
            reason.message = None;
        }
        Ok(Want::Miss(reason))
    }

    fn built_a_thing(&self, call: &Call, built: &Built) -> Result<Done, Error> {
        let background: Vec<_> = (0..self.tiers.len()).map(|at| self.is_background(at)).collect();
        let write_later = |files: &[FileRecord]| self.write_later(call, files, &background);
        // Copies first: a tier may take `owned` files away.
        let owned = built.files.iter().any(|file| file.lease == Lease::Owned);
        let before = owned && write_later(&built.files);
        let now = self.write_now(call, built, &background);
        let relocated = now.as_ref().ok().and_then(|answer| relocated(answer, &built.files));
        let later = before || (!owned && write_later(relocated.as_deref().unwrap_or(&built.files)));
        Ok(match now {
            Ok(answer) => Done::Forwarded(answer),
            Err(_) if later => Done::stored(Stored::Later),
            Err(whys) if whys.is_empty() => {
                Done::declined(ReasonCode::UNAVAILABLE, "no tier can be written")
            }
            Err(whys) => Done::declined(ReasonCode::UNAVAILABLE, whys.join("; ")),
        })
    }

    fn drain(&self) {
        let until = Instant::now() + Duration::from_millis(self.drain_ms);
        let threads: Vec<_> = self.tiers.iter().filter_map(|(_, queue)| queue.close()).collect();
        for thread in &threads {
            thread.wait(until);
        }
        // A thread that still waits for an answer gets none once its plugin is gone.
        std::thread::scope(|scope| {
            for next in self.tiers.iter().filter_map(|(member, _)| member.next()) {
                scope.spawn(|| next.close());
            }
        });
        for thread in threads {
            thread.join();
        }
        for (_, queue) in &self.tiers {
            queue.report();
        }
    }
}

/// Writes what a process that was killed had still to write, to tiers that are there.
fn take_over(spool: &Arc<Spool>, tiers: &[(Arc<Member>, Queue)]) {
    let (mut taken, mut dropped) = (0, 0);
    for (path, note) in spool.notes() {
        let queue = tiers.iter().map(|(_, queue)| queue).find(|queue| note.is_for(queue.tier()));
        match queue.and_then(|queue| Some((queue, Job::of_note(spool, path, note)?))) {
            Some((queue, job)) => {
                queue.push(job);
                taken += 1;
            }
            None => dropped += 1,
        }
    }
    if taken + dropped == 0 {
        return;
    }
    eprintln!(
        "buildhook-tier: an earlier session was killed: {taken} entries of it are written now, \
         {dropped} are dropped"
    );
}

/// A tier that had nothing.
struct Asked {
    index: usize,
    /// What it has must be replaced.
    is_damaged: bool,
}

struct Hit {
    seal: Seal,
    files: Vec<FileRecord>,
    cost_ms: Option<u64>,
}

enum Found {
    Hit(Message, Hit),
    Miss(Reason),
}

fn ask(member: &Member, call: &Call, index: usize) -> Found {
    let started = Instant::now();
    let found = find(member, call, index);
    match &found {
        // What a record of inputs says is no build spared.
        Found::Hit(_, hit) => {
            member.earn(hit.cost_ms.filter(|_| call.purpose == Purpose::Outputs));
        }
        Found::Miss(_) => member.lose(started),
    }
    found
}

fn find(member: &Member, call: &Call, index: usize) -> Found {
    let outcome = scratch_for(call, index).and_then(|scratch| {
        let mut request = call.message.clone();
        request.members_mut().insert("scratch".to_owned(), scratch.into());
        member.ask(request, call.deadline.sooner())
    });
    let answer = match outcome {
        Ok(answer) => answer,
        Err(why) => return Found::Miss(Reason::new(ReasonCode::UNAVAILABLE, why)),
    };
    match answer.parse() {
        Ok(Answer::Hit { seal, files, cost_ms, .. }) => match files.iter().find(|f| !is_there(f)) {
            None => {
                member.praise();
                Found::Hit(answer, Hit { seal, files, cost_ms })
            }
            Some(file) => {
                let why = format!("{} is not at {}", file.name, file.path.display());
                member.blame(&why);
                Found::Miss(Reason::new(ReasonCode::CORRUPT, why))
            }
        },
        Ok(Answer::Miss { reason, .. }) => {
            member.praise();
            Found::Miss(reason.unwrap_or_else(|| Reason::code(ReasonCode::NOT_FOUND)))
        }
        _ => Found::Miss(Reason::new(ReasonCode::OTHER, "it answers something else")),
    }
}

fn is_there(file: &FileRecord) -> bool {
    fs_err::symlink_metadata(&file.path).is_ok_and(|meta| meta.is_file() && meta.len() == file.size)
}

/// The request's own folder for the first tier, which most often is the only one asked; a
/// folder in it for each other one, since an earlier tier may be late and still write.
fn scratch_for(call: &Call, index: usize) -> Result<String, String> {
    let path = if index == 0 {
        call.scratch.clone()
    } else {
        let path = call.scratch.join(format!("tier-{index}"));
        fs_err::create_dir(&path).map_err(|error| error.to_string())?;
        path
    };
    let unicode = |path: &Path| path.to_str().map(str::to_owned);
    unicode(&path).ok_or_else(|| "the scratch folder's path is not Unicode".to_owned())
}

/// Makes `owned` files `borrowed`: several tiers are to have them.
fn lend(request: &mut Message) {
    let Some(Value::Array(files)) = request.members_mut().get_mut("files") else { return };
    for file in files {
        if file["lease"] == "owned" {
            file["lease"] = "borrowed".into();
        }
    }
}

/// The places where a tier now keeps all of `files`, for good.
fn relocated(answer: &Message, files: &[FileRecord]) -> Option<Vec<FileRecord>> {
    let Ok(Answer::Done { relocated, .. }) = answer.parse() else { return None };
    let kept = |file: &FileRecord| {
        let same = |other: &&FileRecord| {
            other.name == file.name
                && other.size == file.size
                && other.digest == file.digest
                && other.executable == file.executable
                && other.lease == Lease::Shared
        };
        relocated.iter().find(same).cloned()
    };
    files.iter().map(kept).collect()
}
