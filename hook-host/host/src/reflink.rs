//! Copies that share blocks, where the file system can make them.
//!
//! Known gap: only on Linux (`FICLONE`); elsewhere files are copied.

#[cfg(target_os = "linux")]
pub(crate) use linux::Reflinks;
#[cfg(not(target_os = "linux"))]
pub(crate) use other::Reflinks;

#[cfg(target_os = "linux")]
mod linux {
    use std::fs::File;
    use std::io;
    use std::os::unix::fs::MetadataExt;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// No device has this number.
    const NO_DEVICE: u64 = u64::MAX;

    /// Remembers the device where cloning has failed.
    #[derive(Debug)]
    pub(crate) struct Reflinks {
        unavailable_on: AtomicU64,
    }

    impl Default for Reflinks {
        fn default() -> Self {
            Self { unavailable_on: AtomicU64::new(NO_DEVICE) }
        }
    }

    impl Reflinks {
        /// Makes the new, empty `target` share the blocks of `source`; false where that is
        /// not possible.
        pub(crate) fn clone_into(&self, source: &File, target: &File) -> io::Result<bool> {
            let device = target.metadata()?.dev();
            if self.unavailable_on.load(Ordering::Relaxed) == device {
                return Ok(false);
            }
            if rustix::fs::ioctl_ficlone(target, source).is_ok() {
                return Ok(true);
            }
            // Whatever the reason: copying tells whether it is a lasting one.
            self.unavailable_on.store(device, Ordering::Relaxed);
            Ok(false)
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    use std::fs::File;
    use std::io;

    /// Never possible here.
    #[derive(Debug, Default)]
    pub(crate) struct Reflinks;

    impl Reflinks {
        /// Always false.
        pub(crate) fn clone_into(&self, _: &File, _: &File) -> io::Result<bool> {
            Ok(false)
        }
    }
}
