//! What is known of a compile before anything is asked: folders, compiler, action.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use buildhook_host::DigestCache;
use buildhook_protocol::{Key, Unit};

use crate::args::Compile;
use crate::diagnostics::Translation;
use crate::environment::Environment;
use crate::inputs::Place;
use crate::manifest::Action;
use crate::roots::{Roots, TARGET};
use crate::toolchain::{Toolchain, Toolchains};
use crate::unit;

/// A compile in its surroundings.
#[derive(Debug)]
pub struct Prepared {
    /// The command line.
    pub compile: Compile,
    /// The folder that it runs in.
    pub cwd: PathBuf,
    /// Its variables.
    pub env: Environment,
    /// Its folders.
    pub roots: Roots,
    /// Its compiler.
    pub toolchain: Arc<Toolchain>,
    /// For plugins.
    pub unit: Unit,
}

impl Prepared {
    /// Finds folders and compiler.
    ///
    /// # Errors
    /// There is no `CARGO_HOME`, or the compiler cannot be examined.
    pub fn new(
        mut compile: Compile,
        cwd: PathBuf,
        env: Environment,
        toolchains: &Toolchains,
        digests: &DigestCache,
    ) -> io::Result<Self> {
        let toolchain = toolchains.of(&compile, &cwd, &env, digests)?;
        let home = env.cargo_home().ok_or_else(|| io::Error::other("there is no CARGO_HOME"))?;
        compile.out_dir = cwd.join(&compile.out_dir);
        let roots = Roots::new(&cwd, &home, &compile.out_dir, &toolchain.sysroot);
        let unit = unit::describe(&compile, &cwd, &env, &roots, &toolchain);
        Ok(Self { compile, cwd, env, roots, toolchain, unit })
    }

    /// The action, and the key of its record of inputs.
    ///
    /// # Errors
    /// A dependency cannot be read.
    pub fn action(&self, digests: &DigestCache) -> io::Result<(Action, Key)> {
        let Self { compile, cwd, env, roots, toolchain, .. } = self;
        let action = Action::new(compile, cwd, env, roots, toolchain, digests)?;
        let key = action.key();
        Ok((action, key))
    }

    /// Arguments that rustc is given before its own, cached or not: a crate that was
    /// compiled without them has another hash, and everything above it would differ.
    #[must_use]
    pub fn extra_arguments(&self) -> Vec<String> {
        if self.compile.keep_paths {
            return Vec::new();
        }
        self.roots.remap_arguments(self.toolchain.commit_hash.as_deref())
    }

    /// Turns tokens in diagnostics into this build's folders.
    #[must_use]
    pub fn translation(&self) -> Translation {
        Translation::new(&self.roots)
    }

    /// Where a set of inputs is evaluated.
    #[must_use]
    pub fn place<'a>(&'a self, digests: &'a DigestCache) -> Place<'a> {
        Place { roots: &self.roots, env: &self.env, cwd: &self.cwd, digests }
    }

    /// A folder of ours on the target's file system; need not exist yet.
    #[must_use]
    pub fn scratch_root(&self) -> PathBuf {
        let target = self.roots.get(TARGET).map_or(self.compile.out_dir.as_path(), |r| &r.path);
        target.join(".buildhook")
    }

    /// Whether an output may be called `name`: it must carry the crate's name and hash, so
    /// that no entry can write over another crate's files.
    #[must_use]
    pub fn is_own_output(&self, name: &str) -> bool {
        !name.contains('/') && name.contains(&self.compile.stem())
    }

    /// The dep-info file.
    #[must_use]
    pub fn dep_info(&self) -> PathBuf {
        self.compile.out_dir.join(format!("{}.d", self.compile.stem()))
    }
}

/// The name of `path` within an entry, if it has one.
#[must_use]
pub fn output_name(path: &Path) -> Option<String> {
    Some(format!("out/{}", path.file_name()?.to_str()?))
}
