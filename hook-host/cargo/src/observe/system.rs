//! Paths that the kernel makes up: devices, what it says of processes, and what only looks so.

use std::path::{Component, Path};

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
    let mut parts = path.components().peekable();
    if parts.clone().any(|part| part == Component::ParentDir) {
        return true;
    }
    let is = |part: Option<&Component<'_>>, name: &str| {
        part.is_some_and(|part| part.as_os_str() == name)
    };
    let process = |part: &Component<'_>| {
        let name = part.as_os_str().as_encoded_bytes();
        name == b"self" || name == b"thread-self" || name.iter().all(u8::is_ascii_digit)
    };
    // The root and `proc` or `dev`.
    parts.nth(1);
    while parts.next_if(process).is_some() {
        let _ = parts.next_if(|part| part.as_os_str() == "task");
    }
    // The file that is open under a number is known from when it was opened; not what is below.
    let open = is(parts.peek(), "fd") && parts.clone().count() > 2;
    open || ["cwd", "root", "map_files"].iter().any(|name| is(parts.peek(), name))
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
