//! `late MS -- next-plugin args…`: each answer is so many milliseconds late, as one of a cache
//! that is far away: what a bad second tier costs is measured with it.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use buildhook_sdk::filter::{Depth, Next};
use buildhook_sdk::protocol::Hook;
use buildhook_sdk::{About, Built, Call, Done, Error, Plugin, StartError, Want};

struct Late {
    next: Next,
    late: Duration,
}

impl Plugin for Late {
    fn about(&self) -> About {
        self.next.about("late", "1", &[Hook::WantToBuild, Hook::BuiltAThing])
    }

    fn want_to_build(&self, call: &Call) -> Result<Want, Error> {
        std::thread::sleep(self.late);
        self.next.want(call)
    }

    fn built_a_thing(&self, call: &Call, _: &Built) -> Result<Done, Error> {
        std::thread::sleep(self.late);
        self.next.done(call)
    }

    fn drain(&self) {
        self.next.close();
    }
}

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    buildhook_sdk::main("late", "1", || {
        let usage = || StartError::Config("late MS -- NEXT".to_owned());
        let [ms, _, next @ ..] = &words[..] else { return Err(usage()) };
        let ms = ms.to_str().and_then(|ms| ms.parse().ok()).ok_or_else(usage)?;
        let next = Next::start(next, Depth::new(None)?)?;
        Ok(Late { next, late: Duration::from_millis(ms) })
    })
}
