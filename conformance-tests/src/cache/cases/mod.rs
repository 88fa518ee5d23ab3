//! The cases, one file a family of inputs.

mod checkout;
mod codegen;
mod diagnostics;
mod freshness;
mod identity;
mod macros;
mod native;
mod registry;
mod source;
mod store;
mod targets;
mod toolchain;

use std::sync::LazyLock;

use super::case::Case;

/// All cases, in the order they are reported.
pub fn cases() -> &'static [Case] {
    static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
        [
            macros::CASES,
            source::CASES,
            identity::CASES,
            native::CASES,
            codegen::CASES,
            toolchain::CASES,
            diagnostics::CASES,
            checkout::CASES,
            registry::CASES,
            targets::CASES,
            freshness::CASES,
            store::CASES,
        ]
        .concat()
    });
    &CASES
}
