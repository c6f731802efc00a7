//! Whether a shared library of Linux is all there.
//!
//! The loader maps what the file's header describes and writes into it; where the file is shorter, as after a copy that
//! broke off, that ends the process.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Enough for the header of a library and the table of its segments, which stands right behind it.
const HEADER_BYTES: u64 = 1 << 16;
/// Marks a segment that is loaded.
const LOADED: u32 = 1;

/// How long the file has to be for its segments to be in it, and how long it is, where that is too little.
///
/// `None` for a whole library, and for what is no library of 64 bits in this machine's byte order: the loader refuses that
/// by itself.
pub fn missing_part(path: &Path) -> Option<(u64, u64)> {
    let file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    let mut header = Vec::new();
    file.take(HEADER_BYTES).read_to_end(&mut header).ok()?;
    let needed = needed_length(&header)?;
    (needed > length).then_some((needed, length))
}

/// Where the last of the segments ends.
fn needed_length(header: &[u8]) -> Option<u64> {
    // The magic number, 64 bits; bytes in the order of this machine.
    let order = if cfg!(target_endian = "little") { 1 } else { 2 };
    if !header.starts_with(&[0x7f, b'E', b'L', b'F', 2, order]) {
        return None;
    }
    let table = number::<8>(header, 0x20).map(u64::from_ne_bytes)?;
    let size = number::<2>(header, 0x36).map(u16::from_ne_bytes)?;
    let count = number::<2>(header, 0x38).map(u16::from_ne_bytes)?;
    let mut needed = table.saturating_add(u64::from(size) * u64::from(count));
    for index in 0..u64::from(count) {
        let start = usize::try_from(table.saturating_add(index * u64::from(size))).ok()?;
        let Some(segment) = header.get(start..) else { break };
        let Some(kind) = number::<4>(segment, 0).map(u32::from_ne_bytes) else { break };
        let (Some(offset), Some(length)) = (number::<8>(segment, 8), number::<8>(segment, 32)) else { break };
        if kind == LOADED {
            needed = needed.max(u64::from_ne_bytes(offset).saturating_add(u64::from_ne_bytes(length)));
        }
    }
    Some(needed)
}

fn number<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;
    use std::path::{Path, PathBuf};

    use super::missing_part;

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn this_program() -> PathBuf {
        std::env::current_exe().unwrap()
    }

    #[test]
    fn a_whole_one_lacks_nothing() {
        assert_eq!(missing_part(&this_program()), None);
    }

    #[test]
    fn one_that_was_cut_anywhere_before_the_end_of_its_segments_does() {
        let whole = std::fs::read(this_program()).unwrap();
        for length in [64, 4096, whole.len() / 4] {
            let (needed, found) = missing_part(file(&whole[..length]).path()).unwrap();
            assert_eq!(found, length as u64);
            assert!(needed > found && needed <= whole.len() as u64, "{needed}");
        }
    }

    #[test]
    fn what_is_no_library_is_left_to_the_loader() {
        for bytes in [&b""[..], b"\x7fELF", b"text", b"\x7fELF\x01\x01"] {
            assert_eq!(missing_part(file(bytes).path()), None);
        }
        assert_eq!(missing_part(Path::new("/no/such/file")), None);
    }
}
