//! The content of several files as one stream, compressed or not, and back.
//!
//! Files of an entry are alike: an `.rlib` begins with the whole of its `.rmeta`. One after the
//! other in one stream, what a file has in common with those before it takes next to nothing.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use fs_err::File;

use super::Trouble;
use crate::Deadline;
use crate::entry::{Encoding, StoredFile};
use crate::files::Hashed;

/// How far back what two files have in common is found: 16 MiB, longer than nearly every
/// `.rmeta`, and at most the memory that reading an entry takes. Of 101.6 MB that the files of
/// such a build left one by one, entries as one left 77.1 MB, with 8 MiB 80.2 MB, and with
/// level 3's own window (2 MiB, and no search for what is far away) 89.8 MB; the search takes
/// 40 % more of the processor.
const WINDOW_LOG: u32 = 24;
/// What is read at a time.
const BUFFER_BYTES: usize = 64 * 1024;
/// The most that the files of an entry hold, in bytes: a few kilobytes can be made to hold any
/// number. The largest program of a debug build has some 2 GB.
pub(super) const MAX_CONTENT_BYTES: u64 = 16_000_000_000;

/// Whether files may be so large, whatever they are stored as.
pub(super) fn is_bounded<'f>(files: impl Iterator<Item = &'f StoredFile>) -> bool {
    let sizes = files.map(|file| file.size);
    sizes.fold(0, u64::saturating_add) <= MAX_CONTENT_BYTES
}

/// Gives `sink` the `size` bytes that `write` writes, compressed when there is a level.
pub(super) fn encode(
    mut sink: impl Write,
    size: u64,
    level: Option<i32>,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let Some(level) = level else { return write(&mut sink) };
    let mut encoder = zstd::stream::Encoder::new(sink, level)?;
    encoder.set_pledged_src_size(Some(size))?;
    encoder.window_log(WINDOW_LOG)?;
    encoder.long_distance_matching(true)?;
    write(&mut encoder)?;
    encoder.finish().map(drop)
}

/// Writes what `content` holds to the paths of these files by the deadline: their content in this
/// order, the same content once, and nothing more.
pub(super) fn extract(
    content: &mut dyn Read,
    encoding: Encoding,
    files: &[(&StoredFile, PathBuf)],
    deadline: Deadline,
) -> Result<(), Trouble> {
    let mut decoder;
    let content: &mut dyn Read = match encoding {
        Encoding::Plain => content,
        Encoding::Zstd => {
            decoder = zstd::stream::read::Decoder::new(content).map_err(unusable)?;
            // Whoever wrote it does not say how much memory reading takes.
            decoder.window_log_max(WINDOW_LOG).map_err(unusable)?;
            &mut decoder
        }
    };
    let mut before: Option<&(&StoredFile, PathBuf)> = None;
    for entry @ (file, path) in files {
        match before {
            Some((same, there)) if same.digest == file.digest => {
                if same.size != file.size {
                    return Err(Trouble::Content("one content has two sizes".to_owned()));
                }
                in_time(deadline)?;
                fs_err::copy(there, path).map_err(Trouble::Sink)?;
            }
            _ => {
                let sink = File::create(path).map_err(Trouble::Sink)?;
                copy_verified(content, file, sink, deadline)?;
            }
        }
        before = Some(entry);
    }
    match content.read(&mut [0]).map_err(unusable)? {
        0 => Ok(()),
        _ => Err(Trouble::Content("it holds more than its files".to_owned())),
    }
}

/// Copies what must be the content of `file`.
fn copy_verified(
    source: &mut dyn Read,
    file: &StoredFile,
    sink: File,
    deadline: Deadline,
) -> Result<(), Trouble> {
    let mut source = source.take(file.size);
    let mut sink = Hashed::new(sink);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        in_time(deadline)?;
        match source.read(&mut buffer).map_err(unusable)? {
            0 => break,
            read => sink.write_all(&buffer[..read]).map_err(Trouble::Sink)?,
        }
    }
    if sink.finish() != (file.digest, file.size) {
        return Err(Trouble::Content(format!("{}: its content is not what was stored", file.name)));
    }
    Ok(())
}

fn in_time(deadline: Deadline) -> Result<(), Trouble> {
    if deadline.has_passed() { Err(Trouble::Late) } else { Ok(()) }
}

fn unusable(error: io::Error) -> Trouble {
    Trouble::Content(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use buildhook_protocol::{Digest, EntryName};

    fn files(folder: &std::path::Path, contents: &[&[u8]]) -> Vec<(StoredFile, PathBuf)> {
        let file = |(at, content): (usize, &&[u8])| {
            let name = format!("out/{at}");
            let (size, digest) = (content.len() as u64, Digest::of(content));
            let path = folder.join(at.to_string());
            (
                StoredFile { name: EntryName::new(name).unwrap(), size, digest, executable: false },
                path,
            )
        };
        contents.iter().enumerate().map(file).collect()
    }

    fn packed(pieces: &[&[u8]], level: Option<i32>) -> Vec<u8> {
        let mut packed = Vec::new();
        for piece in pieces {
            let size = piece.len() as u64;
            encode(&mut packed, size, level, |sink| sink.write_all(piece)).unwrap();
        }
        packed
    }

    fn extracted(mut content: &[u8], encoding: Encoding, files: &[(StoredFile, PathBuf)]) -> bool {
        let files: Vec<_> = files.iter().map(|(file, path)| (file, path.clone())).collect();
        let deadline = Deadline::within(Duration::from_secs(600));
        match extract(&mut content, encoding, &files, deadline) {
            Ok(()) => true,
            Err(Trouble::Content(_)) => false,
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_holds_more_than_it_may_or_takes_longer_is_not_extracted() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(dir.path(), &[b"a", b"a"]);
        let whole = packed(&[b"a"], None);
        let pairs = |files: &[(StoredFile, PathBuf)]| -> Vec<(StoredFile, PathBuf)> {
            files.iter().map(|(file, path)| (file.clone(), path.clone())).collect()
        };
        assert!(extracted(&whole, Encoding::Plain, &files));
        let mut unlike = pairs(&files);
        unlike[1].0.size = 2;
        assert!(!extracted(&whole, Encoding::Plain, &unlike));
        let named: Vec<_> = files.iter().map(|(file, path)| (file, path.clone())).collect();
        let over = Deadline::within(Duration::ZERO);
        let outcome = extract(&mut &whole[..], Encoding::Plain, &named, over);
        assert!(matches!(outcome, Err(Trouble::Late)), "{outcome:?}");

        let mut huge = pairs(&files);
        assert!(is_bounded(huge.iter().map(|(file, _)| file)));
        huge[0].0.size = MAX_CONTENT_BYTES;
        assert!(!is_bounded(huge.iter().map(|(file, _)| file)));
        huge[1].0.size = u64::MAX;
        assert!(!is_bounded(huge.iter().map(|(file, _)| file)));
    }

    #[test]
    fn files_come_out_of_one_stream_as_they_went_in() {
        let dir = tempfile::tempdir().unwrap();
        let long = [7; 200_000];
        let files = files(dir.path(), &[b"", b"a", b"bc", b"bc", &long]);
        for (encoding, level) in [(Encoding::Plain, None), (Encoding::Zstd, Some(3))] {
            // What stands behind a record may have been put there in two pieces.
            for pieces in
                [&[&b"abc"[..], &long][..], &[b"", b"abc", &long], &[&[b"abc", &long[..]].concat()]]
            {
                let whole = packed(pieces, level);
                assert!(extracted(&whole, encoding, &files));
                for (at, content) in [&b""[..], b"a", b"bc", b"bc", &long].iter().enumerate() {
                    assert_eq!(fs_err::read(dir.path().join(at.to_string())).unwrap(), *content);
                }
                let more = [&whole[..], b"x"].concat();
                for wrong in
                    [&whole[..whole.len() - 1], &more, b"", &packed(&[b"acb", &long], level)]
                {
                    assert!(!extracted(wrong, encoding, &files), "{encoding:?} {}", wrong.len());
                }
            }
        }
    }

    #[test]
    fn what_takes_more_memory_than_it_may_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let content = vec![7; (2 << WINDOW_LOG) + 1];
        let files = files(dir.path(), &[&content]);
        for (window_log, may) in [(WINDOW_LOG, true), (WINDOW_LOG + 1, false)] {
            let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
            encoder.window_log(window_log).unwrap();
            encoder.write_all(&content).unwrap();
            let whole = encoder.finish().unwrap();
            assert_eq!(extracted(&whole, Encoding::Zstd, &files), may);
        }
    }

    #[test]
    fn what_two_files_have_in_common_takes_no_room() {
        // Does not compress, and is further back than the usual window of this level.
        let mut noise = vec![0; 3_000_000];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        let once = packed(&[&noise], Some(3)).len();
        let twice = packed(&[&[&noise[..], b"between", &noise].concat()], Some(3)).len();
        assert!(twice < once + once / 100, "{once} and {twice}");
    }
}
