//! The runner: the process in which guests run, and the only one that holds wasmtime.
//!
//! `buildhook-wasm`, the supervisor, starts it with an empty environment and three descriptors;
//! people never do. It makes its engine while the supervisor still reads and checks. The first
//! line on its standard input is its [`Spec`]; everything after it is the guest's. It loads the
//! compiled module, gives up what it does not need any more, and runs the guest, whose standard
//! input and output are its own.
//!
//! It is trusted to do that, and to nothing else: when the guest has it in its hands, what is
//! left are the limits in [`confine`] and the supervisor, which kills it at the deadline.
//!
//! When a guest ends by anything but its end of input, the last line on standard output is an
//! `error` of scope `session` with id 0 that says why.

mod confine;
mod guard;
mod imports;
mod stdio;

use std::os::fd::{AsFd as _, BorrowedFd};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use buildhook_protocol::{Answer, ErrorBody, ErrorKind};
use buildhook_wasm_engine::{BEGIN, ENDED, IMPORTS, Kept, SERVE, Spec, engine, load};
use wasmtime::{
    Engine, InstancePre, Linker, Module, Store, StoreLimits, StoreLimitsBuilder, Trap,
    UpdateDeadline,
};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{FsPerms, HostMonotonicClock, HostWallClock, I32Exit, WasiCtxBuilder};

use guard::{Left, Quota, refusal};
use stdio::{Answers, Busy, Complaints, End, Input, Output};

/// How often the clock looks, as a part of the time that a guest has.
const LOOKS_PER_LIMIT: u64 = 8;
/// Bytes that one WASI call may make the process copy; wasmtime's own default. A guest that
/// writes a larger file has to do so in pieces.
const HOSTCALL_BYTES: usize = 128 << 20;
/// Tables: a Rust plugin has some thousand functions in one.
const MAX_TABLE_ELEMENTS: usize = 100_000;

/// What belongs to one instance.
pub(crate) struct Guest {
    wasi: WasiP1Ctx,
    limits: StoreLimits,
    left: Left,
    busy: Arc<Busy>,
    /// It has closed a standard stream: a file may be in its place.
    lost_stream: bool,
}

fn main() -> ExitCode {
    let outcome = confine::leave().and_then(|()| match std::env::args().nth(1).as_deref() {
        Some(SERVE) => serve(),
        Some(IMPORTS) => imports::answer(),
        _ => Err("`buildhook-wasm` starts it; by itself it does nothing".to_owned()),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("buildhook-wasm-run: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Runs guests until standard input ends. The error is for people.
fn serve() -> Result<(), String> {
    let stdio = |fd: BorrowedFd<'_>| {
        fd.try_clone_to_owned().map(Into::into).map_err(|error| format!("the streams: {error}"))
    };
    let busy = Arc::new(Busy::new());
    let input = Input::new(stdio(std::io::stdin().as_fd())?, Arc::clone(&busy));
    let output = Answers::new(stdio(std::io::stdout().as_fd())?, input.clone());
    let errors = Complaints::new(stdio(std::io::stderr().as_fd())?);

    let host = Host::new();
    let line = input.line().map_err(|error| format!("reading the specification: {error}"))?;
    let line = line.ok_or("there is no specification")?;
    let spec: Spec = serde_json::from_slice(&line).map_err(|error| error.to_string())?;
    input.is_told(spec.is_filter.into());
    let outcome = host
        .and_then(|host| Runner::start(host, spec, busy, input, output.clone(), errors))
        .and_then(|runner| runner.run_all());
    if let Err(why) = &outcome {
        let error = ErrorBody::session(ErrorKind::Other, why.clone());
        let line = serde_json::to_string(&Answer::Error { id: 0, error })
            .map_err(|error| error.to_string())?;
        // Whoever does not listen any more has noticed.
        let _ = output.say(&line);
    }
    // The supervisor has it from that line.
    Ok(())
}

/// What is the same for all guests.
struct Host {
    engine: Engine,
    linker: Linker<Guest>,
}

impl Host {
    fn new() -> Result<Self, String> {
        let engine = engine().map_err(|error| format!("the engine: {error:#}"))?;
        let mut linker = Linker::new(&engine);
        guard::add_to_linker(&mut linker).map_err(|error| format!("linking: {error:#}"))?;
        // It gets random numbers from the system, in a program that is linked statically out of
        // a file: later there is no way to that.
        let _ = WasiCtxBuilder::new();
        Ok(Self { engine, linker })
    }
}

struct Runner {
    spec: Spec,
    engine: Engine,
    pre: InstancePre<Guest>,
    busy: Arc<Busy>,
    input: Input,
    output: Answers,
    errors: Complaints,
}

impl Runner {
    fn start(
        host: Host,
        spec: Spec,
        busy: Arc<Busy>,
        input: Input,
        output: Answers,
        errors: Complaints,
    ) -> Result<Self, String> {
        let Host { engine, linker } = host;
        let module = load_kept(&engine, &spec.compiled)?;
        for import in module.imports() {
            if let Some(why) = refusal(import.module(), import.name()) {
                return Err(why);
            }
        }
        let pre = linker.instantiate_pre(&module).map_err(|error| format!("linking: {error:#}"))?;
        confine::confine(&spec)?;
        Ok(Self { spec, engine, pre, busy, input, output, errors })
    }

    /// One instance after the other, until standard input ends.
    fn run_all(&self) -> Result<(), String> {
        // Each call of WASI is a future that is ready at once. Without a runtime of ours,
        // wasmtime-wasi polls it on one with threads, which costs more than most calls.
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.map_err(|error| format!("the runtime: {error}"))?;
        let _entered = runtime.enter();
        self.busy.begin();
        self.start_clock()?;
        loop {
            self.busy.begin();
            self.run_one()?;
            match self.input.next_instance() {
                End::Input => return Ok(()),
                End::Guest => return Err("the guest ended before its input did".to_owned()),
                // It can do nothing more: what comes now is for the next one.
                End::Instance => {
                    let told = self.output.say(ENDED).and_then(|()| self.input.line());
                    let told = told.map_err(|error| format!("between two instances: {error}"))?;
                    if told.as_deref() != Some(BEGIN.as_bytes()) {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn run_one(&self) -> Result<(), String> {
        let mut store = Store::new(&self.engine, self.guest()?);
        store.limiter(|guest| &mut guest.limits);
        store.set_hostcall_fuel(HOSTCALL_BYTES);
        store.set_epoch_deadline(1);
        let limit_ms = self.spec.time_ms;
        store.epoch_deadline_callback(move |context| {
            Ok(if context.data().busy.for_ms() > limit_ms {
                UpdateDeadline::Interrupt
            } else {
                UpdateDeadline::Continue(1)
            })
        });
        let ran = self
            .pre
            .instantiate(&mut store)
            .and_then(|instance| instance.get_typed_func::<(), ()>(&mut store, "_start"))
            .and_then(|start| start.call(&mut store, ()));
        match ran {
            Ok(()) => Ok(()),
            Err(error) => why_ended(&error, &self.spec),
        }
    }

    fn guest(&self) -> Result<Guest, String> {
        let spec = &self.spec;
        let mut wasi = WasiCtxBuilder::new();
        wasi.allow_blocking_current_thread(true)
            .args(&spec.arguments)
            .envs(&spec.env)
            .stdin(self.input.clone())
            .stdout(Output(self.output.clone()))
            .stderr(Output(self.errors.clone()))
            .max_random_size(HOSTCALL_BYTES as u64)
            .allow_tcp(false)
            .allow_udp(false);
        if !spec.real_clock {
            wasi.wall_clock(FixedClock).monotonic_clock(Ticks::default());
        }
        if !spec.real_random {
            // The same for every instance: that is what was asked for.
            wasi.secure_random(wasmtime_wasi::Deterministic::new(vec![0x9e, 0x37, 0x79, 0xb9]))
                .insecure_random(wasmtime_wasi::Deterministic::new(vec![0x7f, 0x4a, 0x7c, 0x15]))
                .insecure_random_seed(0);
        }
        for folder in &spec.folders {
            let rights = if folder.writable { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
            wasi.preopened_dir(&folder.host, &folder.guest, rights)
                .map_err(|error| format!("{}: {error:#}", folder.host.display()))?;
        }
        let memory = usize::try_from(spec.memory_bytes).unwrap_or(usize::MAX);
        let limits = StoreLimitsBuilder::new()
            .memory_size(memory)
            .table_elements(MAX_TABLE_ELEMENTS)
            .instances(1)
            .tables(4)
            .memories(1)
            .build();
        let quota = Quota { files: spec.max_files, bytes: spec.max_written_bytes };
        let left = Left::new(quota);
        Ok(Guest {
            wasi: wasi.build_p1(),
            limits,
            left,
            busy: Arc::clone(&self.busy),
            lost_stream: false,
        })
    }

    /// A thread that moves the engine's epoch, at which a running guest looks at the time.
    fn start_clock(&self) -> Result<(), String> {
        let engine = self.engine.clone();
        let pause = Duration::from_millis((self.spec.time_ms / LOOKS_PER_LIMIT).clamp(5, 1000));
        std::thread::Builder::new()
            .stack_size(64 << 10)
            .spawn(move || {
                loop {
                    std::thread::sleep(pause);
                    engine.increment_epoch();
                }
            })
            .map_err(|error| format!("starting the clock: {error}"))?;
        Ok(())
    }
}

fn load_kept(engine: &Engine, kept: &Kept) -> Result<Module, String> {
    let sound = kept.find().map_err(|error| format!("the compiled module: {error}"))?;
    load(engine, sound).map_err(|error| format!("loading the module: {error:#}"))
}

/// Whether the way an instance ended is none to speak of, or why it is.
fn why_ended(error: &wasmtime::Error, spec: &Spec) -> Result<(), String> {
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return match exit.0 {
            0 => Ok(()),
            code => Err(format!("the guest exited with code {code}")),
        };
    }
    Err(match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => {
            format!("the guest took longer than {} ms and was stopped", spec.time_ms)
        }
        Some(Trap::StackOverflow) => "the guest's stack is deeper than it may be".to_owned(),
        Some(trap) => format!("the guest trapped: {trap}"),
        None => format!("the guest cannot run: {error:#}"),
    })
}

/// 2001-09-09 01:46:40 UTC, for ever.
struct FixedClock;

impl HostWallClock for FixedClock {
    fn resolution(&self) -> Duration {
        Duration::from_secs(1)
    }
    fn now(&self) -> Duration {
        Duration::from_secs(1_000_000_000)
    }
}

/// A microsecond each time it is looked at: it never stands still, and tells nothing.
#[derive(Default)]
struct Ticks(AtomicU64);

impl HostMonotonicClock for Ticks {
    fn resolution(&self) -> u64 {
        1000
    }
    fn now(&self) -> u64 {
        self.0.fetch_add(1000, Ordering::Relaxed)
    }
}
