//! What a case is: a tiny workspace, a change to one input, and the verdicts
//! that are acceptable. Cases are data; [`super::runner`] interprets them.

/// The result of one case, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Every result equals that of an uncached build.
    Correct,
    /// The machine lacks what the case needs, or the cache cannot be asked.
    NotApplicable,
    /// The result is right, but a unit was compiled again although the same
    /// unit was a hit before and no input of it had changed.
    MissedHit,
    /// A second build with nothing changed had something to do.
    PerpetuallyDirty,
    /// A build failed, or did not end in time, where an uncached one succeeds.
    FailedBuild,
    /// The result differs from that of an uncached build.
    WrongHit,
    /// The case could not be carried out, or its change has no effect here:
    /// nothing is said of the cache.
    SuiteError,
}

impl Verdict {
    /// The name used in reports, in kebab case.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Correct => "correct",
            Verdict::NotApplicable => "not-applicable",
            Verdict::MissedHit => "missed-hit",
            Verdict::PerpetuallyDirty => "perpetually-dirty",
            Verdict::FailedBuild => "failed-build",
            Verdict::WrongHit => "wrong-hit",
            Verdict::SuiteError => "suite-error",
        }
    }
}

/// One case.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Unique name, `zoo/…`.
    pub id: &'static str,
    /// The family of inputs it belongs to.
    pub family: &'static str,
    /// One sentence that is true of a correct cache.
    pub claim: &'static str,
    /// The workspace it starts from.
    pub base: Base,
    /// Files added to or replacing those of the base, relative to the
    /// workspace; `../x` lands beside it. See [`super::sandbox`] for the
    /// placeholders in contents.
    pub files: &'static [(&'static str, &'static str)],
    /// Done before the first build.
    pub setup: &'static [Step],
    /// The change, or the whole story.
    pub script: Script,
    /// Whether the change alters what an uncached build does.
    pub effect: Effect,
    /// The crate whose hits are watched.
    pub subject: &'static str,
    /// What is observed of a build, besides its success and diagnostics.
    pub look: Look,
    /// Arguments of cargo.
    pub cargo: &'static [&'static str],
    /// Variables of every build.
    pub env: &'static [(&'static str, &'static str)],
    /// What the machine must have.
    pub needs: &'static [Need],
    /// Verdicts that do not count against the cache.
    pub accept: &'static [Verdict],
}

/// The workspace a case starts from; [`super::template`] has the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// The binary `app` alone.
    App,
    /// `app` prints `part::value()`.
    Lib,
    /// `app` prints `part::value()`, which expands `mac::value!()`.
    Macro,
}

/// The story of a case.
#[derive(Clone, Copy, Debug)]
pub enum Script {
    /// Build; build again in an empty target folder (the control); make this
    /// change; build in an empty target folder; expect a further build to do
    /// nothing; compare with an uncached build.
    Change(&'static [Step]),
    /// These steps, as they are.
    Steps(&'static [Step]),
}

/// One step of a story. Paths are relative to the workspace.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// A build with the cache, in the target folder as it is.
    Build,
    /// A build with the cache in an empty target folder, which must equal the
    /// build before it.
    Twin,
    /// A build without the cache in the target folder as it is.
    Plain,
    /// A further build with the cache must have nothing to do.
    Fresh,
    /// Compare the last build with an uncached one in an empty target folder.
    Check,
    /// Empty the target folder.
    Empty,
    /// Write a file with a current modification time.
    Write(&'static str, &'static str),
    /// Replace a file's content; size and modification time stay as they were.
    Forge(&'static str, &'static str),
    /// Remove a file or a folder.
    Remove(&'static str),
    /// Rename a file or a folder.
    Rename(&'static str, &'static str),
    /// Copy a tree, modification times included, target folders excluded.
    Copy(&'static str, &'static str),
    /// Point a symbolic link somewhere, replacing it.
    Link {
        /// The link.
        at: &'static str,
        /// What it points to, verbatim.
        to: &'static str,
    },
    /// Set a variable of the builds that follow.
    Env(&'static str, &'static str),
    /// Unset a variable of the builds that follow.
    Unset(&'static str),
    /// Replace cargo's arguments in the builds that follow.
    Cargo(&'static [&'static str]),
    /// A cargo command with the cache, not observed (`clean -p part`).
    Run(&'static [&'static str]),
    /// Go to another workspace folder.
    In(&'static str),
    /// Use another target folder.
    Target(&'static str),
    /// Run a shell command without the cache: tools that make inputs.
    Sh(&'static str),
    /// Have the compiler run a shell script, once, around one compilation.
    Hook(When, &'static str, &'static str),
    /// A build with the cache that is expected to fail; nothing is observed.
    Broken,
    /// Builds with the cache at the same time in these workspace folders, each
    /// of which must succeed. A folder named twice shares its target folder.
    Together(&'static [&'static str]),
    /// Harm what the cache has stored.
    Damage(Damage),
    /// Stop the cache's server, if there is a command for it, or start it.
    Server(bool),
    /// From here on, the cache folder of each build is a file system with next
    /// to no space, empty at the start of the build.
    SmallCache,
}

/// When a [`Step::Hook`] runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// After the cache has called the compiler, before it reads anything.
    Before,
    /// When the compiler has written everything, before it exits.
    After,
}

/// Harm done to everything below the cache folder and the home folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// Invert bytes all over each file of some size.
    Flip,
    /// Cut each file of some size in half.
    Truncate,
    /// Make each file empty.
    Blank,
    /// Remove every second file.
    Thin,
    /// Put a regular file where the cache folder was.
    Unusable,
}

/// Whether a change alters what an uncached build does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It does: a build that looks like the first one is a wrong hit.
    Changes,
    /// It does not: a hit is legal, and a miss is a missed hit.
    Same,
}

/// What is observed of a build, besides its success and diagnostics.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Run every program that was built.
    pub run: bool,
    /// List the files in the target folder whose names end so, with their
    /// executable bit and whether they are empty.
    pub files: &'static [&'static str],
    /// What this shell command prints, run in the workspace with `$TARGET`.
    pub sh: Option<&'static str>,
    /// What the build wrote to stderr, but for Cargo's own progress.
    pub stderr: bool,
}

/// What the machine must have for a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// This program on PATH.
    Tool(&'static str),
    /// `clippy-driver` in the toolchain.
    Clippy,
    /// This target triple.
    Host(&'static str),
    /// Private mounts (`unshare --mount`).
    Mount,
}

/// Runs programs and nothing else.
pub(super) const RUN: Look = Look { run: true, files: &[], sh: None, stderr: false };

/// A case whose change alters the result.
pub(super) const CHANGES: Case = Case {
    id: "",
    family: "",
    claim: "",
    base: Base::Lib,
    files: &[],
    setup: &[],
    script: Script::Change(&[]),
    effect: Effect::Changes,
    subject: "part",
    look: RUN,
    cargo: &["build"],
    env: &[],
    needs: &[],
    accept: &[Verdict::Correct],
};

/// A case whose change alters nothing, so that a hit is legal.
pub(super) const SAME: Case =
    Case { effect: Effect::Same, accept: &[Verdict::Correct, Verdict::MissedHit], ..CHANGES };
