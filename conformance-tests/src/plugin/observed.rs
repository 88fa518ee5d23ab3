//! Requirements that are decided by watching: every message, every file of
//! every answer and every end of a process in all other checks.

use super::Check;
use crate::suite::observed;

pub(super) const CHECKS: &[Check] = observed! {
    "seen-messages" "BH-WIRE-001" "every line is one JSON object in UTF-8 with a line feed";
    "seen-bounds" "BH-WIRE-002" "no message is too long, too deep or has too many files";
    "seen-noise" "BH-WIRE-003" "nothing but messages on standard output";
    "seen-duplicates" "BH-WIRE-006" "no member name is repeated";
    "seen-integers" "BH-WIRE-007" "numbers are integers from 0 to 2^53 - 1";
    "seen-characters" "BH-WIRE-008" "no lone surrogate, no U+0000 in paths and names";
    "seen-nulls" "BH-WIRE-014" "no member is null";
    "seen-unknown-members" "BH-WIRE-016" "no member that the specification does not define";
    "seen-first-message" "BH-HELLO-001" "the first message is a hello";
    "seen-hello" "BH-HELLO-002" "the hello names versions, name and version of the plugin";
    "seen-hello-hooks" "BH-HELLO-003" "the hello has hooks or an error, not both";
    "seen-answers" "BH-REQ-001" "one answer per request, of a fitting kind";
    "seen-names" "BH-FILE-001" "names in answers are legal";
    "seen-unique-names" "BH-FILE-002" "names in one answer do not clash";
    "seen-paths" "BH-FILE-003" "paths in answers are absolute and of regular files";
    "seen-owned" "BH-FILE-009" "owned files of answers lie in `scratch`";
    "seen-borrowed-files" "BH-FILE-006" "borrowed files of requests get no hard link";
    "seen-shared-files" "BH-FILE-007" "shared files of requests stay as they are";
    "seen-answer-leases" "BH-FILE-010" "borrowed files of answers stay as they are";
    "seen-shared-answers" "BH-FILE-011" "shared files of answers do not change";
    "seen-originals" "BH-FILE-012" "files of requests are not changed, moved or deleted";
    "seen-strays" "BH-FILE-013" "nothing is written outside the store and `scratch`";
    "seen-hits" "BH-WANT-001" "hits are complete records";
    "seen-sizes" "BH-WANT-003" "files of hits exist and have the size that is said";
    "seen-reasons" "BH-WANT-009" "every miss has a reason";
    "seen-relocated" "BH-BUILT-010" "relocated files are those of the request, elsewhere, shared";
    "seen-secrets" "BH-BUILT-013" "no value of an environment variable is in the store";
    "seen-done" "BH-BUILT-014" "every done says what was stored";
    "seen-error-messages" "BH-ERR-003" "every error has a message";
    "seen-leaks" "BH-ERR-004" "no secret is in any message";
    "seen-errors" "BH-ERR-007" "every error has kind, message and scope";
    "seen-ends" "BH-END-001" "every session ends with code 0 in time";
    "seen-processes" "BH-END-004" "no session leaves a process";
    "seen-exit-codes" "BH-END-008" "no exit code above 2";
};
