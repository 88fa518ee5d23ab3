//! What stands in front of WASI: the imports that a module may have, and those of them that
//! are counted or refused.
//!
//! wasmtime-wasi keeps a guest inside its folders. It does not count what is made there, and
//! it lets a writable folder get links, which would be for *others* to follow. So five
//! functions are stood in front of, and three are replaced by a refusal. Counting calls the
//! very functions that are registered by wasmtime-wasi; they are called that way by its own
//! glue code only, which is why the versions are pinned together.

use wasmtime::{AsContextMut as _, Caller, Extern, Linker, Result, bail};
use wasmtime_wasi::p1::wasi_snapshot_preview1::{self as wasi, WasiSnapshotPreview1 as _};
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wiggle::GuestMemory;

use super::Guest;

/// The one module that guests may import from.
pub(crate) const WASI: &str = "wasi_snapshot_preview1";

/// The functions of it that guests may import: all but sockets, signals and what is never
/// needed. Sorted.
pub(crate) const ALLOWED: &[&str] = &[
    "args_get",
    "args_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_advise",
    "fd_allocate",
    "fd_close",
    "fd_datasync",
    "fd_fdstat_get",
    "fd_fdstat_set_flags",
    "fd_filestat_get",
    "fd_filestat_set_size",
    "fd_filestat_set_times",
    "fd_pread",
    "fd_prestat_dir_name",
    "fd_prestat_get",
    "fd_pwrite",
    "fd_read",
    "fd_readdir",
    "fd_renumber",
    "fd_seek",
    "fd_sync",
    "fd_tell",
    "fd_write",
    "path_create_directory",
    "path_filestat_get",
    "path_filestat_set_times",
    "path_link",
    "path_open",
    "path_readlink",
    "path_remove_directory",
    "path_rename",
    "path_symlink",
    "path_unlink_file",
    "poll_oneoff",
    "proc_exit",
    "random_get",
    "sched_yield",
];

/// `errno` of preview 1: the disk quota is used up.
const DQUOT: i32 = 19;
/// `errno` of preview 1: not permitted.
const PERM: i32 = 63;
/// Descriptors of the standard streams.
const STREAMS: std::ops::RangeInclusive<i32> = 0..=2;
/// `oflags` of preview 1: make the file if it is not there.
const CREAT: i32 = 1;

/// What may be made and written between two lines of standard output: in one call, or a part of a
/// filter's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quota {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

/// What is left of a [`Quota`], and of which turn.
#[derive(Debug)]
pub(crate) struct Left {
    whole: Quota,
    left: Quota,
    turn: u64,
}

impl Left {
    pub(crate) fn new(whole: Quota) -> Self {
        Self { whole, left: whole, turn: 0 }
    }

    fn in_turn(&mut self, turn: u64) -> &mut Quota {
        if self.turn != turn {
            self.turn = turn;
            self.left = self.whole;
        }
        &mut self.left
    }
}

/// Why a module with this import is not run; `None`: it may be.
pub(crate) fn refusal(module: &str, name: &str) -> Option<String> {
    let allowed = module == WASI && ALLOWED.binary_search(&name).is_ok();
    (!allowed).then(|| format!("the module imports `{module}::{name}`, which no guest is given"))
}

/// Everything that guests may import.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> Result<()> {
    p1::add_to_linker_sync(linker, |guest| &mut guest.wasi)?;
    linker.allow_shadowing(true);
    add_refusals(linker)?;
    add_counted_making(linker)?;
    add_counted_writing(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Links in a granted folder would be followed by programs outside of the sandbox; a stream
/// given another number is of use to nobody.
fn add_refusals(linker: &mut Linker<Guest>) -> Result<()> {
    linker.func_wrap(WASI, "path_symlink", |_: i32, _: i32, _: i32, _: i32, _: i32| PERM)?;
    linker.func_wrap(
        WASI,
        "path_link",
        |_: i32, _: i32, _: i32, _: i32, _: i32, _: i32, _: i32| PERM,
    )?;
    linker.func_wrap(WASI, "fd_renumber", |_: i32, _: i32| PERM)?;
    Ok(())
}

fn add_counted_making(linker: &mut Linker<Guest>) -> Result<()> {
    linker.func_wrap(
        WASI,
        "path_create_directory",
        |mut caller: Caller<'_, Guest>, fd: i32, path: i32, len: i32| {
            if !take_file(&mut caller) {
                return Ok(DQUOT);
            }
            with_memory(&mut caller, |wasi, memory| {
                pollster::block_on(wasi::path_create_directory(wasi, memory, fd, path, len))
            })
        },
    )?;
    linker.func_wrap(
        WASI,
        "path_open",
        |mut caller: Caller<'_, Guest>,
         fd: i32,
         lookup: i32,
         path: i32,
         len: i32,
         oflags: i32,
         rights: i64,
         inheriting: i64,
         flags: i32,
         opened: i32| {
            if oflags & CREAT != 0 && !take_file(&mut caller) {
                return Ok(DQUOT);
            }
            with_memory(&mut caller, |wasi, memory| {
                pollster::block_on(wasi::path_open(
                    wasi, memory, fd, lookup, path, len, oflags, rights, inheriting, flags, opened,
                ))
            })
        },
    )?;
    Ok(())
}

fn add_counted_writing(linker: &mut Linker<Guest>) -> Result<()> {
    linker.func_wrap(
        WASI,
        "fd_write",
        |mut caller: Caller<'_, Guest>, fd: i32, iovs: i32, len: i32, written: i32| {
            let write = |wasi: &mut WasiP1Ctx, memory: &mut GuestMemory<'_>| {
                pollster::block_on(wasi::fd_write(wasi, memory, fd, iovs, len, written))
            };
            if STREAMS.contains(&fd) && !caller.data().lost_stream {
                // Bounded by whoever reads it; and it is how a guest says that it may write no more.
                return with_memory(&mut caller, write);
            }
            counted(&mut caller, written, write)
        },
    )?;
    linker.func_wrap(WASI, "fd_close", |mut caller: Caller<'_, Guest>, fd: i32| {
        // What gets its number next is a file.
        caller.data_mut().lost_stream |= STREAMS.contains(&fd);
        with_memory(&mut caller, |wasi, memory| {
            pollster::block_on(wasi::fd_close(wasi, memory, fd))
        })
    })?;
    linker.func_wrap(
        WASI,
        "fd_pwrite",
        |mut caller: Caller<'_, Guest>, fd: i32, iovs: i32, len: i32, offset: i64, written: i32| {
            counted(&mut caller, written, |wasi, memory| {
                pollster::block_on(wasi::fd_pwrite(wasi, memory, fd, iovs, len, offset, written))
            })
        },
    )?;
    Ok(())
}

fn left<'a>(caller: &'a mut Caller<'_, Guest>) -> &'a mut Quota {
    let guest = caller.data_mut();
    guest.left.in_turn(guest.busy.turn())
}

fn take_file(caller: &mut Caller<'_, Guest>) -> bool {
    let left = left(caller);
    let some = left.files > 0;
    left.files = left.files.saturating_sub(1);
    some
}

/// Writes, unless what may be written is used up, and counts what was written: the last
/// write may go beyond by its own length.
fn counted(
    caller: &mut Caller<'_, Guest>,
    written: i32,
    write: impl FnOnce(&mut WasiP1Ctx, &mut GuestMemory<'_>) -> Result<i32>,
) -> Result<i32> {
    if left(caller).bytes == 0 {
        return Ok(DQUOT);
    }
    let outcome = with_memory(caller, write)?;
    if outcome == 0 {
        let mut count = [0; 4];
        if let Some(Extern::Memory(memory)) = caller.get_export("memory") {
            memory.read(&mut *caller, written as u32 as usize, &mut count)?;
        }
        let left = left(caller);
        left.bytes = left.bytes.saturating_sub(u32::from_le_bytes(count).into());
    }
    Ok(outcome)
}

fn with_memory(
    caller: &mut Caller<'_, Guest>,
    call: impl FnOnce(&mut WasiP1Ctx, &mut GuestMemory<'_>) -> Result<i32>,
) -> Result<i32> {
    let fuel = caller.as_context_mut().hostcall_fuel();
    let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
        bail!("the module exports no memory");
    };
    let (memory, guest) = memory.data_and_store_mut(caller);
    guest.wasi.set_hostcall_fuel(fuel);
    call(&mut guest.wasi, &mut GuestMemory::Unshared(memory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_allowed_names_are_sorted_and_hold_no_sockets() {
        assert!(ALLOWED.is_sorted());
        assert!(ALLOWED.iter().all(|name| !name.starts_with("sock_")));
        assert_eq!(refusal(WASI, "fd_read"), None);
        assert!(refusal(WASI, "sock_accept").is_some());
        assert!(refusal("env", "fd_read").is_some());
    }
}
