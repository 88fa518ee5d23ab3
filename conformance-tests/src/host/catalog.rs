//! The broken hosts: each has one fault and one requirement that it breaks.

use clap::ValueEnum;

macro_rules! host_mutations {
    ($($(#[doc = $text:literal])+ $name:ident $requirement:literal,)*) => {
        /// One fault of a host.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
        pub(crate) enum HostMutation {
            $($(#[doc = $text])+ $name,)*
        }

        impl HostMutation {
            /// The requirement it is made to break.
            pub(crate) fn requirement(self) -> &'static str {
                match self { $(Self::$name => $requirement,)* }
            }
        }
    };
}

host_mutations! {
    /// Sends arrays.
    ArrayRequests "BH-WIRE-001",
    /// Nests too deep.
    DeepRequests "BH-WIRE-002",
    /// Refuses hits with unknown members.
    RejectsUnknown "BH-WIRE-005",
    /// Repeats a member.
    RepeatsMembers "BH-WIRE-006",
    /// Sends fractions.
    SendsFractions "BH-WIRE-007",
    /// Sends lone surrogates.
    SendsSurrogates "BH-WIRE-008",
    /// Reads leniently.
    ReadsLeniently "BH-WIRE-009",
    /// Passes the plugin's noise on.
    PassesNoise "BH-WIRE-012",
    /// Sends nulls.
    SendsNulls "BH-WIRE-014",
    /// Takes null for a value.
    NullIsAValue "BH-WIRE-015",
    /// Sends members of its own.
    SendsOwnMembers "BH-WIRE-016",
    /// Sends kinds that were not announced.
    IgnoresHooks "BH-HELLO-005",
    /// Sends two requests at once.
    SendsTwoAtOnce "BH-HELLO-005",
    /// Does not look at versions.
    IgnoresVersions "BH-HELLO-006",
    /// Sends the first version that the plugin names.
    SendsFirstVersion "BH-HELLO-007",
    /// Sends requests before a hello.
    DoesNotAwaitHello "BH-HELLO-009",
    /// Waits for late answers.
    WaitsForLate "BH-REQ-006",
    /// Uses one id for all.
    OneId "BH-REQ-009",
    /// Sends requests without a deadline.
    NoDeadline "BH-REQ-010",
    /// Names a file like a device of Windows.
    DeviceNames "BH-FILE-001",
    /// Names two files the same.
    SameNames "BH-FILE-002",
    /// Uses up all that a name may have.
    LongNames "BH-FILE-015",
    /// Sends relative paths.
    RelativePaths "BH-FILE-003",
    /// Links borrowed files into the build.
    LinksBorrowed "BH-FILE-006",
    /// Touches shared files.
    TouchesShared "BH-FILE-007",
    /// Gives away files that are not in `scratch`.
    OwnedOutside "BH-FILE-009",
    /// Changes files while a request is in flight.
    ChangesInFlight "BH-FILE-010",
    /// Changes files that it shared.
    ChangesShared "BH-FILE-011",
    /// Does not verify content.
    TrustsDigests "BH-WANT-006",
    /// Does not verify the seal.
    TrustsSeals "BH-WANT-007",
    /// Restores file by file.
    RestoresPartly "BH-WANT-008",
    /// Computes seals over names only.
    WrongSeals "BH-SEAL-001",
    /// Sends no manifest.
    NoManifest "BH-FEAT-001",
    /// Writes its environment into the manifest.
    LeaksIntoManifest "BH-FEAT-001",
    /// Does not use plugins with features that it does not know.
    RejectsFeatures "BH-FEAT-002",
    /// Writes manifests with white space.
    LooseManifest "BH-KEY-001",
    /// Fails when the plugin answers with an error.
    FailsOnError "BH-ERR-001",
    /// Goes on after an error of scope session.
    IgnoresScope "BH-ERR-002",
    /// Fails when the plugin cannot be started.
    FailsWithoutPlugin "BH-ERR-005",
    /// Starts a dead plugin again and again.
    NeverGivesUp "BH-ERR-006",
    /// Kills the plugin instead of closing standard input.
    KillsAtOnce "BH-END-002",
    /// Leaves a plugin that hangs behind.
    LeavesPlugin "BH-END-003",
    /// Passes descriptors on.
    PassesDescriptors "BH-END-009",
}

impl HostMutation {
    /// Every one, in the order above.
    pub(crate) fn all() -> &'static [Self] {
        Self::value_variants()
    }

    /// The name on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}
