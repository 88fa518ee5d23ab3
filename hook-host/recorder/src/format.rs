//! The bytes of one log. The writer, and the layout's reasons, are in
//! `preload/recorder.h` and `preload/log.c`.
//!
//! A log may be cut short by a crash or forged: parsing reads no further than
//! what is given, never panics, and says what did not parse.

/// The mapping's size: a log holds no more, whatever its header says.
pub(crate) const LOG_BYTES: u64 = 64 << 20;

pub(crate) const HEADER_BYTES: usize = 64;
const EVENT_BYTES: usize = 32;
const MAGIC: &[u8; 8] = b"BHREC01\0";
const VERSION: u32 = 1;

const FLAG_OVERFLOW: u32 = 1;
const FLAG_DROPPED: u32 = 2;
const COMMITTED: u32 = 1;

/// Why a log is not the whole story.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Defect {
    Malformed,
    Overflow,
    Dropped,
    Unfinished,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) pid: u32,
    pub(crate) parent_pid: u32,
    pub(crate) flags: u32,
    /// Bytes of the log in use, header included, bounded by [`LOG_BYTES`].
    pub(crate) used_bytes: u64,
    pub(crate) started_ns: u64,
}

/// One event as it lies in the log; numbers are not yet checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RawEvent<'a> {
    pub(crate) op: u16,
    pub(crate) outcome: u16,
    pub(crate) module: u32,
    pub(crate) value: u32,
    pub(crate) time_ns: u64,
    pub(crate) text: &'a [u8],
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(offset..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(offset..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.get(offset..)?.first_chunk()?))
}

impl Header {
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.get(..8)? != MAGIC || u32_at(bytes, 8)? != VERSION {
            return None;
        }
        Some(Self {
            pid: u32_at(bytes, 12)?,
            parent_pid: u32_at(bytes, 16)?,
            flags: u32_at(bytes, 20)?,
            used_bytes: u64_at(bytes, 24)?.min(LOG_BYTES),
            started_ns: u64_at(bytes, 40)?,
        })
    }

    pub(crate) fn defects(&self) -> impl Iterator<Item = Defect> {
        [(FLAG_OVERFLOW, Defect::Overflow), (FLAG_DROPPED, Defect::Dropped)]
            .into_iter()
            .filter(|(flag, _)| self.flags & flag != 0)
            .map(|(_, defect)| defect)
    }
}

/// Walks the events in `bytes`, which start after the header. Ends at the first
/// defect, except for an event that was not finished, which is stepped over.
pub(crate) struct Events<'a> {
    rest: &'a [u8],
}

impl<'a> Events<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn event(&mut self) -> Option<Result<RawEvent<'a>, Defect>> {
        let state = u32_at(self.rest, 0)?;
        let size = (state & !COMMITTED) as usize;
        if size == 0 {
            // Handed out, and its writer killed before it wrote how long it is.
            return Some(Err(Defect::Unfinished));
        }
        if size < EVENT_BYTES || !size.is_multiple_of(8) {
            return None;
        }
        let (event, rest) = self.rest.split_at_checked(size)?;
        self.rest = rest;
        if state & COMMITTED == 0 {
            return Some(Err(Defect::Unfinished));
        }
        let text_bytes = u32_at(event, 24)? as usize;
        Some(Ok(RawEvent {
            op: u16_at(event, 4)?,
            outcome: u16_at(event, 6)?,
            module: u32_at(event, 8)?,
            value: u32_at(event, 12)?,
            time_ns: u64_at(event, 16)?,
            text: event.get(EVENT_BYTES..EVENT_BYTES.checked_add(text_bytes)?)?,
        }))
    }
}

impl<'a> Iterator for Events<'a> {
    type Item = Result<RawEvent<'a>, Defect>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let before = self.rest.len();
        let event = self.event().unwrap_or(Err(Defect::Malformed));
        if event == Err(Defect::Malformed) || self.rest.len() == before {
            self.rest = &[];
        }
        Some(event)
    }
}

/// A finished event, as the library writes it.
#[cfg(test)]
pub(crate) fn encode(op: u16, outcome: u16, module: u32, value: u32, text: &[u8]) -> Vec<u8> {
    let size = (EVENT_BYTES + text.len()).next_multiple_of(8);
    let mut bytes = Vec::new();
    bytes.extend((size as u32 | COMMITTED).to_ne_bytes());
    bytes.extend(op.to_ne_bytes());
    bytes.extend(outcome.to_ne_bytes());
    bytes.extend(module.to_ne_bytes());
    bytes.extend(value.to_ne_bytes());
    bytes.extend(9u64.to_ne_bytes());
    bytes.extend((text.len() as u32).to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(text);
    bytes.resize(size, 0);
    bytes
}

/// A header, as the library writes it.
#[cfg(test)]
pub(crate) fn encode_header(pid: u32, parent_pid: u32, used_bytes: u64) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    for number in [VERSION, pid, parent_pid, 0] {
        bytes.extend(number.to_ne_bytes());
    }
    bytes.extend(used_bytes.to_ne_bytes());
    bytes.resize(HEADER_BYTES, 0);
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(text: &[u8], committed: bool) -> Vec<u8> {
        let mut bytes = encode(3, 1, 7, 2, text);
        bytes[0] -= u8::from(!committed);
        bytes
    }

    #[test]
    fn an_unfinished_event_is_stepped_over() {
        let mut bytes = event(b"/a", true);
        bytes.extend(event(b"/torn", false));
        bytes.extend(event(b"/b", true));
        let events: Vec<_> = Events::new(&bytes).map(|event| event.map(|e| e.text)).collect();
        assert_eq!(events, [Ok(&b"/a"[..]), Err(Defect::Unfinished), Ok(&b"/b"[..])]);
    }

    #[test]
    fn a_hole_ends_the_log() {
        let mut bytes = event(b"/a", true);
        bytes.extend([0; 64]);
        let events: Vec<_> = Events::new(&bytes).map(|event| event.map(|e| e.text)).collect();
        assert_eq!(events, [Ok(&b"/a"[..]), Err(Defect::Unfinished)]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_within_bounds(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            let _ = Header::parse(&bytes);
            prop_assert!(Events::new(&bytes).count() <= bytes.len() / EVENT_BYTES + 1);
        }

        #[test]
        fn a_damaged_log_is_read_within_bounds(
            texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let mut bytes: Vec<u8> =
                texts.iter().flat_map(|text| event(text, true)).collect();
            let whole: Vec<_> = Events::new(&bytes).map(|e| e.unwrap().text.to_vec()).collect();
            prop_assert_eq!(whole, texts);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            prop_assert!(Events::new(&bytes).count() <= bytes.len() / EVENT_BYTES + 1);
        }
    }
}
