//! What a program or library can reach that the recorder cannot see, from the
//! symbols it imports and the instructions it holds.
//!
//! Known gaps: code that is written at run time; instructions of other processors than
//! x86-64 and AArch64.

use std::io;
use std::path::Path;

use fs_err as fs;
use object::Endianness;
use object::elf;
use object::read::ReadCache;
use object::read::elf::{ElfFile64, ProgramHeader};
use object::{Architecture, Object, ObjectSegment, ObjectSymbol};

/// The names that libc gives the whole environment.
const ENVIRONMENT_NAMES: [&[u8]; 3] = [b"environ", b"__environ", b"_environ"];

/// What a 64-bit ELF file imports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Imports {
    /// It can read all variables without the recorder noticing. Every Rust object
    /// that iterates variables or starts programs has this.
    pub environment: bool,
    /// It makes system calls by number. The recorder sees those that go through
    /// libc's `syscall`, which is what this says; every Rust object has it.
    pub syscall: bool,
    /// It seems to hold an instruction that calls the kernel, past libc: crates like
    /// `rustix` have it.
    pub kernel: bool,
    /// It names a loader. A program that does not is static: nothing can be
    /// preloaded into it. Libraries mostly do not.
    pub loader: bool,
}

/// Reads what the file at `path` imports. Only the parts needed are read.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidData`] when it is no 64-bit ELF file, a damaged one, or
/// one whose table of dynamic symbols was cut off; treat it as one that imports
/// everything.
pub fn imports_of(path: &Path) -> io::Result<Imports> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let cache = ReadCache::new(fs::File::open(path)?);
    let file = ElfFile64::<Endianness, _>::parse(&cache).map_err(invalid)?;
    let has_segment =
        |kind| file.elf_program_headers().iter().any(|header| header.p_type(file.endian()) == kind);
    let loader = has_segment(elf::PT_INTERP);
    // Position independent, yet static: the one kind without symbols to import.
    let is_static_program = !loader && file.entry() != 0;
    let kernel = calls_kernel(&file).map_err(invalid)?;
    let mut imports = Imports { environment: false, syscall: false, kernel, loader };
    if !has_segment(elf::PT_DYNAMIC) {
        return Ok(imports);
    }
    // Even a library that imports nothing defines something.
    if file.dynamic_symbols().next().is_none() && !is_static_program {
        return Err(io::ErrorKind::InvalidData.into());
    }
    for symbol in file.dynamic_symbols().filter(ObjectSymbol::is_undefined) {
        let name = symbol.name_bytes().map_err(invalid)?;
        imports.environment |= ENVIRONMENT_NAMES.contains(&name);
        imports.syscall |= name == b"syscall";
    }
    Ok(imports)
}

/// Whether the code of `file` calls the kernel by itself.
fn calls_kernel<'a>(
    file: &ElfFile64<'a, Endianness, &'a ReadCache<fs::File>>,
) -> object::Result<bool> {
    let has_call: fn(&[u8]) -> bool = match file.architecture() {
        Architecture::X86_64 => |code| code.windows(4).any(is_syscall),
        Architecture::Aarch64 => |code| code.chunks_exact(4).any(|word| word == SVC),
        _ => return Ok(false),
    };
    for segment in file.segments() {
        if segment.permissions().executable() && has_call(segment.data()?) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// `svc #0`, in the order of bytes that all instructions have there.
const SVC: [u8; 4] = 0xd400_0001_u32.to_le_bytes();

/// Whether code is the instruction `syscall` (`0f 05`) and what follows it. The same bytes stand
/// in the middle of others: nearly always in a distance or a number of four bytes, whose upper
/// ones are all zeros or ones (none of 280 macros that do not call the kernel was taken for one
/// that does).
fn is_syscall(code: &[u8]) -> bool {
    let [0x0f, 0x05, next @ ..] = code else { return false };
    !next.iter().any(|byte| matches!(byte, 0x00 | 0xff))
}
