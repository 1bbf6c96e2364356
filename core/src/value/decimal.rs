//! Integers of any size from and to decimal digits. Both take time that grows with the square of the length,
//! so the length is bounded.

use super::Value;

/// How many digits are read at most.
const MAX_DIGITS: usize = 4096;

/// How many bytes of magnitude are written at most.
const MAX_BYTES: usize = 2048;

/// Digits are worked on nine at a time, which is what fits 32 bits.
const CHUNK: usize = 9;
const CHUNK_BASE: u64 = 1_000_000_000;

/// The integer with these digits; `None` when they are none, or too many.
pub(super) fn parse(negative: bool, digits: &str) -> Option<Value> {
    if digits.is_empty() || digits.len() > MAX_DIGITS || !digits.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let mut limbs: Vec<u32> = Vec::new();
    let (head, tail) = digits.split_at(digits.len() % CHUNK);
    let chunks = tail.as_bytes().chunks(CHUNK);
    for chunk in std::iter::once(head.as_bytes()).chain(chunks) {
        let mut carry = chunk.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
        for limb in &mut limbs {
            carry += u64::from(*limb) * CHUNK_BASE;
            *limb = low(carry);
            carry >>= 32;
        }
        if carry > 0 {
            limbs.push(low(carry));
        }
    }
    // A negative integer's magnitude is one less than its absolute value; minus zero is zero.
    let negative = negative && !limbs.is_empty();
    if negative {
        for limb in &mut limbs {
            let (difference, borrow) = limb.overflowing_sub(1);
            *limb = difference;
            if !borrow {
                break;
            }
        }
    }
    let magnitude: Vec<u8> = limbs.iter().rev().flat_map(|limb| limb.to_be_bytes()).collect();
    Some(Value::from_magnitude(negative, &magnitude))
}

/// The digits of the integer with that magnitude; `None` when it is too long.
pub(super) fn format(negative: bool, magnitude: &[u8]) -> Option<String> {
    if magnitude.len() > MAX_BYTES {
        return None;
    }
    let mut limbs: Vec<u32> = magnitude
        .rchunks(4)
        .map(|bytes| bytes.iter().fold(0, |limb: u32, byte| limb << 8 | u32::from(*byte)))
        .collect();
    if negative {
        increment(&mut limbs);
    }
    let mut chunks = Vec::new();
    while limbs.iter().any(|limb| *limb != 0) {
        let mut remainder = 0;
        for limb in limbs.iter_mut().rev() {
            let dividend = remainder << 32 | u64::from(*limb);
            *limb = low(dividend / CHUNK_BASE);
            remainder = dividend % CHUNK_BASE;
        }
        chunks.push(remainder);
    }
    let mut text = String::from(if negative { "-" } else { "" });
    text += &chunks.pop().unwrap_or(0).to_string();
    for chunk in chunks.iter().rev() {
        text += &format!("{chunk:0CHUNK$}");
    }
    Some(text)
}

fn increment(limbs: &mut Vec<u32>) {
    for limb in limbs.iter_mut() {
        let (sum, carry) = limb.overflowing_add(1);
        *limb = sum;
        if !carry {
            return;
        }
    }
    limbs.push(1);
}

/// The lower 32 bits.
fn low(wide: u64) -> u32 {
    (wide & u64::from(u32::MAX)) as u32
}
