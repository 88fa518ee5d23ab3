//! Small workspaces that several tests use.

/// Packages `leaf`, `mid` (uses leaf), `other` and the program `app` (uses mid and other).
pub const CHAIN: &[(&str, &str)] = &[
    ("Cargo.toml", "[workspace]\nresolver = '3'\nmembers = ['leaf', 'mid', 'other', 'app']\n"),
    ("leaf/Cargo.toml", "[package]\nname = 'leaf'\nedition = '2024'\n"),
    ("leaf/src/lib.rs", "pub fn leaf() -> u32 {\n    1\n}\n"),
    (
        "mid/Cargo.toml",
        "[package]\nname = 'mid'\nedition = '2024'\n[dependencies]\nleaf = { path = '../leaf' }\n",
    ),
    ("mid/src/lib.rs", "pub fn mid() -> u32 {\n    leaf::leaf() + 10\n}\n"),
    ("other/Cargo.toml", "[package]\nname = 'other'\nedition = '2024'\n"),
    ("other/src/lib.rs", "pub fn other() -> u32 {\n    100\n}\n"),
    (
        "app/Cargo.toml",
        "[package]\nname = 'app'\nedition = '2024'\n\
         [dependencies]\nmid = { path = '../mid' }\nother = { path = '../other' }\n",
    ),
    ("app/src/main.rs", "fn main() {\n    println!(\"{}\", mid::mid() + other::other());\n}\n"),
];

/// What `app` of [`CHAIN`] prints.
pub const CHAIN_OUTPUT: &str = "111\n";
