//! The broken plugins: each has one fault and one requirement that it breaks.

use clap::ValueEnum;

/// What a broken plugin is made as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A directory store.
    Store,
    /// A filter that forwards.
    Filter,
    /// A filter that changes bytes.
    Transformer,
}

macro_rules! mutations {
    ($($(#[doc = $text:literal])+ $name:ident: $role:ident $requirement:literal,)*) => {
        /// One fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
        pub(crate) enum Mutation {
            $($(#[doc = $text])+ $name,)*
        }

        impl Mutation {
            /// What it is a fault of.
            pub(crate) fn role(self) -> Role {
                match self { $(Self::$name => Role::$role,)* }
            }

            /// The requirement it is made to break.
            pub(crate) fn requirement(self) -> &'static str {
                match self { $(Self::$name => $requirement,)* }
            }
        }
    };
}

mutations! {
    /// Greets on standard output.
    Banner: Store "BH-WIRE-003",
    /// Answers with arrays.
    ArrayAnswers: Store "BH-WIRE-001",
    /// Writes two documents on one line.
    TwoDocumentsOnOneLine: Store "BH-WIRE-001",
    /// Writes bytes that are not UTF-8.
    InvalidUtf8: Store "BH-WIRE-001",
    /// Spreads a message over several lines.
    PrettyJson: Store "BH-WIRE-001",
    /// Nests deeper than allowed.
    DeepAnswers: Store "BH-WIRE-002",
    /// Keeps answers in a buffer until the end.
    NoFlush: Store "BH-WIRE-004",
    /// Refuses members that it does not know.
    RejectsUnknownFields: Store "BH-WIRE-005",
    /// Writes a member twice.
    DuplicateMembers: Store "BH-WIRE-006",
    /// Writes sizes with a fraction.
    FractionalIntegers: Store "BH-WIRE-007",
    /// Writes a lone surrogate.
    LoneSurrogates: Store "BH-WIRE-008",
    /// Answers a request that is cut off.
    AnswersUnreadableLines: Store "BH-WIRE-010",
    /// Declines what is too long without reading it to its end.
    DeclinesEndlessLines: Store "BH-WIRE-010",
    /// Passes over lines that it cannot read.
    IgnoresUnreadableLines: Store "BH-WIRE-011",
    /// Looks for the key in the text of the request.
    IgnoresEscapes: Store "BH-WIRE-013",
    /// Writes members that are null.
    WritesNulls: Store "BH-WIRE-014",
    /// Refuses optional members that are null.
    NullIsAValue: Store "BH-WIRE-015",
    /// Adds members of its own.
    AddsMembers: Store "BH-WIRE-016",
    /// Takes the last of two members with one name.
    LastDuplicateWins: Store "BH-WIRE-017",
    /// Says hello after the first request.
    WaitsForInput: Store "BH-HELLO-001",
    /// Answers before it says hello.
    AnswersBeforeHello: Store "BH-HELLO-001",
    /// Has no name.
    Nameless: Store "BH-HELLO-002",
    /// Says hello with hooks and an error.
    HooksAndError: Store "BH-HELLO-003",
    /// Does not know a kind that it announces.
    AnnouncesTooMuch: Store "BH-HELLO-004",
    /// Does not look at its arguments.
    IgnoresWrongArguments: Store "BH-HELLO-008",
    /// Ends with code 0 after wrong arguments.
    Exits0OnError: Store "BH-END-008",
    /// Answers with another id.
    WrongId: Store "BH-REQ-001",
    /// Answers twice.
    AnswersTwice: Store "BH-REQ-001",
    /// Keeps 16 digits of a key.
    TruncatedKey: Store "BH-REQ-002",
    /// Makes no difference between purposes.
    IgnoresPurpose: Store "BH-REQ-003",
    /// Lets the unit decide.
    UnitInKey: Store "BH-REQ-004",
    /// Answers when the deadline is over.
    IgnoresDeadline: Store "BH-REQ-005",
    /// Answers a kind that it does not know with a miss.
    UnknownKindIsAMiss: Store "BH-REQ-007",
    /// Takes a purpose that it does not know.
    UnknownPurposeIsTaken: Store "BH-REQ-007",
    /// Ends on a request that lacks something.
    DiesOnBadRequest: Store "BH-REQ-008",
    /// Takes requests that lack something.
    LenientTypes: Store "BH-REQ-008",
    /// Answers with names that begin with `/`.
    AbsoluteNames: Store "BH-FILE-001",
    /// Answers with names that climb.
    DotdotNames: Store "BH-FILE-001",
    /// Names one file twice, in another case.
    ClashingNames: Store "BH-FILE-002",
    /// Answers with relative paths.
    RelativePaths: Store "BH-FILE-003",
    /// Answers with symbolic links.
    SymlinkOutput: Store "BH-FILE-003",
    /// Answers with a FIFO.
    FifoOutput: Store "BH-FILE-003",
    /// Links borrowed files instead of copying them.
    HardLinksBorrowed: Store "BH-FILE-006",
    /// Makes shared files of requests read-only.
    TouchesShared: Store "BH-FILE-007",
    /// Gives files away that are not in `scratch`.
    OwnedOutsideScratch: Store "BH-FILE-009",
    /// Deletes what it lent with the next request.
    ShortLease: Store "BH-FILE-010",
    /// Writes new content into files that it shared.
    RewritesShared: Store "BH-FILE-011",
    /// Moves the files of a request away.
    DeletesOriginals: Store "BH-FILE-012",
    /// Changes the files of a request.
    ChangesInputs: Store "BH-FILE-012",
    /// Uses the key as a path.
    KeyAsPath: Store "BH-FILE-013",
    /// Writes a log into the working folder.
    WritesToWorkingFolder: Store "BH-FILE-013",
    /// Leaves empty files out.
    DropsEmptyFiles: Store "BH-FILE-014",
    /// Forgets the executable bit.
    LosesExecutableBit: Store "BH-FILE-014",
    /// Replaces spaces in names.
    ManglesSpaces: Store "BH-FILE-014",
    /// Replaces non-ASCII letters in names.
    ManglesLetters: Store "BH-FILE-014",
    /// Shortens long names.
    ShortensNames: Store "BH-FILE-014",
    /// Counts bytes with 32 bits.
    CountsWith32Bits: Store "BH-FILE-014",
    /// Leaves one of several files out.
    ForgetsAFile: Store "BH-WANT-001",
    /// Forgets seals.
    ForgetsSeals: Store "BH-WANT-001",
    /// Returns other bytes.
    WrongBytes: Store "BH-WANT-001",
    /// Stores 64 KiB of a file at most.
    TruncatesAt64Kib: Store "BH-WANT-001",
    /// Keeps a thousand files of an entry at most.
    KeepsAThousandFiles: Store "BH-WANT-001",
    /// Always has something.
    AlwaysAHit: Store "BH-WANT-002",
    /// Does not look at the files it answers with.
    TrustsItsStore: Store "BH-WANT-003",
    /// Looks at sizes, not at content.
    TrustsDigests: Store "BH-WANT-004",
    /// Calls a damaged entry absent.
    CorruptIsNotFound: Store "BH-WANT-005",
    /// Gives no reason.
    MissWithoutReason: Store "BH-WANT-009",
    /// Removes what it answers with.
    HitConsumes: Store "BH-WANT-010",
    /// Says yes and stores nothing.
    StoresNothing: Store "BH-BUILT-001",
    /// Keeps entries in memory.
    ForgetsAtExit: Store "BH-BUILT-001",
    /// Stores paths instead of content.
    StoresPaths: Store "BH-BUILT-002",
    /// Links the build's own file into the store.
    HardLinksSource: Store "BH-BUILT-002",
    /// Writes stored files in place.
    WritesInPlace: Store "BH-BUILT-003",
    /// Does not replace.
    IgnoresReplace: Store "BH-BUILT-005",
    /// Uses one temporary name.
    OneTemporaryName: Store "BH-BUILT-006",
    /// Keeps files that contradict their size.
    KeepsWrongSizes: Store "BH-BUILT-008",
    /// Says yes although it failed.
    YesOnError: Store "BH-BUILT-009",
    /// Relocates to files that are not there.
    RelocatedVanishes: Store "BH-BUILT-010",
    /// Adds the same files again.
    SecondStoreBreaks: Store "BH-BUILT-012",
    /// Writes its environment into the store.
    LeaksEnvironment: Store "BH-BUILT-013",
    /// Has its own idea of `stored`.
    InventsStored: Store "BH-BUILT-014",
    /// Makes errors without a message.
    SilentErrors: Store "BH-ERR-003",
    /// Shows its environment in errors.
    LeaksIntoErrors: Store "BH-ERR-004",
    /// Makes errors without a scope.
    ScopelessErrors: Store "BH-ERR-007",
    /// Goes on when standard input has ended.
    HangsAtEnd: Store "BH-END-001",
    /// Forgets requests when standard input has ended.
    DropsPending: Store "BH-END-001",
    /// Leaves a process behind.
    LeavesADaemon: Store "BH-END-004",
    /// Lets one session use the store.
    LocksTheStore: Store "BH-END-005",
    /// Writes the entry before its files.
    EntryBeforeFiles: Store "BH-END-006",
    /// Cannot store any more after it was killed.
    StaleLock: Store "BH-END-006",
    /// Ends with code 126.
    Exits126: Store "BH-END-008",
    /// Computes seals anew.
    RecomputesSeal: Store "BH-SEAL-002",
    /// Says hello before its child does.
    HelloBeforeChild: Filter "BH-FILT-001",
    /// Announces hooks that its child lacks.
    AnnouncesForChild: Filter "BH-FILT-001",
    /// Accepts more requests than its child.
    MoreInFlight: Filter "BH-FILT-002",
    /// Drops unknown members of requests.
    DropsUnknownDown: Filter "BH-FILT-003",
    /// Drops unknown members of answers.
    DropsUnknownUp: Filter "BH-FILT-003",
    /// Takes its time and passes the deadline on.
    ForwardsDeadline: Filter "BH-FILT-004",
    /// Kills its child.
    KillsChild: Filter "BH-FILT-005",
    /// Ends before its child.
    DoesNotWait: Filter "BH-FILT-006",
    /// Ends when its child does.
    DiesWithChild: Filter "BH-FILT-007",
    /// Forwards what it does not know.
    ForwardsUnknownKinds: Filter "BH-FILT-009",
    /// Says nothing of a child that is missing.
    HidesMissingChild: Filter "BH-FILT-010",
    /// Says of a child that is late that it has nothing.
    MistakesLateForAbsent: Filter "BH-FILT-011",
    /// Waits for its child however long that takes.
    WaitsForChild: Filter "BH-REQ-005",
    /// Answers in the order of the requests.
    InOrder: Filter "BH-END-007",
    /// Gives what it makes the original's name.
    AddsPlainNames: Transformer "BH-FILE-004",
    /// Leaves a file of its own in hits.
    LeavesItsFiles: Transformer "BH-FILE-005",
    /// Changes bytes that it did not verify.
    Launders: Transformer "BH-BUILT-007",
    /// Passes `relocated` on.
    PassesRelocated: Transformer "BH-BUILT-011",
    /// Undoes a change of bytes that it does not verify.
    TrustsChild: Transformer "BH-FILT-008",
}

impl Mutation {
    /// Every one, in the order above.
    pub(crate) fn all() -> &'static [Self] {
        Self::value_variants()
    }

    /// The name on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}
