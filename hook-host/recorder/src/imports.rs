//! What a program or library can reach that the recorder cannot see, from the
//! symbols it imports.

use std::io;
use std::path::Path;

use fs_err as fs;
use object::Endianness;
use object::elf;
use object::read::ReadCache;
use object::read::elf::{ElfFile64, ProgramHeader};
use object::{Object, ObjectSymbol};

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
    let mut imports = Imports { environment: false, syscall: false, loader };
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
