//! What the write-ahead log says of itself, read before SQLite does. When a frame of it does not have its
//! checksum, SQLite takes that for the torn end of a transaction that never became durable, and silently
//! forgets all that follows. That is right at the end of the log, and only there: a transaction is synced
//! before the next one is written, so one that others follow was durable. Nothing of this is kept.
//!
//! The format is that of <https://www.sqlite.org/fileformat2.html#walformat>.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use super::rows::corrupt;
use crate::StoreError;

const HEADER_LEN: usize = 32;
const FRAME_HEADER_LEN: usize = 24;
/// The magic number without its lowest bit, which says that checksums are computed over big-endian words.
const MAGIC: u32 = 0x377f_0682;

/// The checksum of a log: two sums over words of 32 bits.
type Checksum = (u32, u32);

/// Fails when transactions that were durable are damaged. A log that is not there, or that is torn in its
/// last transaction, is as a crash leaves it.
pub(super) fn check(path: &Path) -> Result<(), StoreError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(super::io_refused)?,
    };
    let mut log = BufReader::new(file);
    let Some(header) = read(&mut log, HEADER_LEN)? else { return Ok(()) };
    let Some(format) = Format::parse(&header) else {
        return match read(&mut log, FRAME_HEADER_LEN)? {
            Some(_) => Err(corrupt("the header of the write-ahead log is not sound")),
            None => Ok(()),
        };
    };
    let mut scan = Scan { sum: format.seed, broken: false, after_commit: None };
    let frame_len = FRAME_HEADER_LEN + format.page_len;
    let mut number = 0_u64;
    while let Some(frame) = read(&mut log, frame_len)? {
        number += 1;
        if scan.is_followed_by(&format, &frame) {
            return Err(corrupt(format!(
                "the write-ahead log is damaged before frame {number}, which belongs to a later transaction"
            )));
        }
    }
    Ok(())
}

/// What the header says of the frames.
struct Format {
    big_endian: bool,
    page_len: usize,
    salt: [u8; 8],
    /// The checksum of the header, which the first frame's goes on from.
    seed: Checksum,
}

impl Format {
    fn parse(header: &[u8]) -> Option<Self> {
        let magic = word(header, 0)?;
        let big_endian = magic & 1 == 1;
        let page_len = usize::try_from(word(header, 8)?).ok()?;
        let (summed, sum) = header.split_at_checked(HEADER_LEN - 8)?;
        let seed = checksum(big_endian, (0, 0), summed);
        let sound = magic & !1 == MAGIC
            && (512..=65536).contains(&page_len)
            && page_len.is_power_of_two()
            && seed == (word(sum, 0)?, word(sum, 4)?);
        let salt = header.get(16..24)?.try_into().ok()?;
        sound.then_some(Self { big_endian, page_len, salt, seed })
    }
}

/// How far the frames are sound, and what comes after.
struct Scan {
    /// The checksum of the last frame while all are sound.
    sum: Checksum,
    /// Whether a frame did not have its checksum.
    broken: bool,
    /// When the last frame ends a transaction and is behind the break: the checksums that a frame after it
    /// may go on from. The frame at the break has two, since either itself or its checksum may be damaged.
    after_commit: Option<[Checksum; 2]>,
}

impl Scan {
    /// Takes a frame. True when it goes on from a transaction that is behind the break: then that was
    /// durable.
    fn is_followed_by(&mut self, format: &Format, frame: &[u8]) -> bool {
        let Some((head, page)) = frame.split_at_checked(FRAME_HEADER_LEN) else { return false };
        let (Some(summed), Some(salt)) = (head.get(..8), head.get(8..16)) else { return false };
        let (Some(commit), Some(first), Some(second)) = (word(head, 4), word(head, 16), word(head, 20))
        else {
            return false;
        };
        let stored = (first, second);
        let sum_from = |seed| checksum(format.big_endian, checksum(format.big_endian, seed, summed), page);
        let is_current = salt == format.salt;
        if !self.broken {
            let computed = sum_from(self.sum);
            if is_current && computed == stored {
                self.sum = stored;
                return false;
            }
            self.broken = true;
            self.after_commit = (commit > 0).then_some([stored, computed]);
            return false;
        }
        let goes_on = is_current
            && self.after_commit.is_some_and(|seeds| seeds.into_iter().any(|seed| sum_from(seed) == stored));
        self.after_commit = (is_current && commit > 0).then_some([stored, stored]);
        goes_on
    }
}

/// Continues a checksum over bytes whose number is a multiple of 8.
fn checksum(big_endian: bool, seed: Checksum, bytes: &[u8]) -> Checksum {
    let (words, _) = bytes.as_chunks::<4>();
    let (pairs, _) = words.as_chunks::<2>();
    let number = |word: [u8; 4]| if big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) };
    pairs.iter().fold(seed, |(first, second), [even, odd]| {
        let first = first.wrapping_add(number(*even)).wrapping_add(second);
        (first, second.wrapping_add(number(*odd)).wrapping_add(first))
    })
}

/// The big-endian word at an offset.
fn word(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().map(|word| u32::from_be_bytes(*word))
}

/// So many bytes; `None` when fewer are left.
fn read(log: &mut impl Read, len: usize) -> Result<Option<Vec<u8>>, StoreError> {
    let mut bytes = vec![0; len];
    match log.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(super::io_refused(error)),
    }
}
