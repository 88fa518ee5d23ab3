//! Paths that the kernel makes up: devices, what it says of processes, and what only looks so.

use std::ffi::OsStr;
use std::path::Path;

/// Some folders of `/dev` hold files like any other, `/dev/shm` for one, in which people build.
pub(super) fn is_device(path: &Path) -> bool {
    path.starts_with("/dev") && !path.starts_with("/dev/shm") && !path.is_file()
}

/// Whether a path goes through what the kernel says of a process, to a file that has another
/// name: whoever looks at it later is another process, and sees another file.
pub(super) fn leads_elsewhere(path: &Path) -> bool {
    if !starts_with_any(path, &["/proc", "/dev/fd"]) {
        return false;
    }
    let is_process = |part: &&OsStr| {
        let name = part.as_encoded_bytes();
        [&b"self"[..], b"thread-self", b"task"].contains(&name)
            || name.iter().all(u8::is_ascii_digit)
    };
    // Without the root and `proc` or `dev`.
    let rest: Vec<&OsStr> = path.iter().skip(2).skip_while(is_process).collect();
    let is_link = match rest.first().and_then(|part| part.to_str()) {
        Some("cwd" | "root" | "map_files") => true,
        // The file that is open under a number is known from when it was opened; not what is
        // below it.
        Some("fd") => rest.len() > 2,
        _ => false,
    };
    is_link || path.iter().any(|part| part == "..")
}

pub(super) fn starts_with_any(path: &Path, folders: &[&str]) -> bool {
    folders.iter().any(|folder| path.starts_with(folder))
}

/// What the standard library reads to learn how many threads to start.
pub(super) fn is_about_this_process(path: &Path) -> bool {
    starts_with_any(path, &["/proc/self", "/proc/stat", "/proc/cpuinfo", "/sys/fs/cgroup"])
        || path.starts_with("/sys/devices/system/cpu")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_names_of_files_are_found() {
        for path in [
            "/proc/self/cwd/x",
            "/proc/self/cwd",
            "/proc/self/root/etc/x",
            "/proc/thread-self/cwd/x",
            "/proc/12/task/13/cwd/x",
            "/proc/self/fd/3/x",
            "/proc/self/map_files/0-1",
            "/proc/self/../self/cwd/x",
            "/proc//self/./cwd/x",
            "/dev/fd/3/x",
        ] {
            assert!(leads_elsewhere(Path::new(path)), "{path}");
        }
        for path in [
            "/proc/self/maps",
            "/proc/self/fd",
            "/proc/self/fd/3",
            "/proc/self/exe",
            "/proc/cpuinfo",
            "/dev/fd/3",
            "/dev/null",
            "/home/proc/self/cwd/x",
        ] {
            assert!(!leads_elsewhere(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn a_folder_of_files_is_no_device() {
        for (path, is) in [("/dev/null", true), ("/dev/shm/x", false), ("/home/dev/null", false)] {
            assert_eq!(is_device(Path::new(path)), is, "{path}");
        }
    }
}
