//! `hold HELD GO -- next-plugin args…`: at each `built-a-thing` makes the file HELD, and passes
//! the request on when the file GO is there: for tests of what others do meanwhile.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use buildhook_sdk::filter::{self, Depth, Filter, Next};
use buildhook_sdk::protocol::{Hook, Reason};
use buildhook_sdk::{About, Built, Call};

struct Hold {
    held: PathBuf,
    go: PathBuf,
}

impl Filter for Hold {
    fn about(&self, next: &Next) -> About {
        next.about("hold", "1", &[Hook::WantToBuild, Hook::BuiltAThing])
    }

    fn refuse(&mut self, _: &Call, built: Option<&Built>) -> Option<Reason> {
        built?;
        fs_err::write(&self.held, "").expect("the test has made the folder");
        while !self.go.exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
        None
    }
}

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    filter::main("hold", "1", || {
        let [held, go, _, next @ ..] = &words[..] else { panic!("hold HELD GO -- NEXT") };
        let hold = Hold { held: held.into(), go: go.into() };
        Ok((hold, Next::start(next, Depth::new(None)?)?))
    })
}
