//! Inputs derived from other inputs, by a seed.

use fastrand::Rng;

/// Tokens that the parsers look for.
const WORDS: [&[u8]; 28] = [
    b"null",
    b"true",
    b"{}",
    b"[]",
    b"[[",
    b"\"\"",
    b"-0",
    b"1e400",
    b"0.5",
    b"-9223372036854775808",
    b"18446744073709551616",
    b"\"\\ud800\"",
    b"\\u0000",
    b"\xed\xa0\x80",
    b"\xff",
    b"\0",
    b"\x80",
    b"\r\n\r\n",
    b"event: ",
    b"data: ",
    b"9999-12-31T23:59:60Z",
    b"0000-00-00T00:00:00.000000Z",
    b"\"rejoin\":{",
    b"\\x00",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\x80\x80\x80\x80\x10",
    b"\xff\xff\xff\x7f",
    b",",
];

/// Longer inputs find nothing more than shorter ones.
const LONGEST: usize = 4_096;

/// One of `inputs`, changed at a few places.
pub fn mutated(rng: &mut Rng, inputs: &[Vec<u8>]) -> Vec<u8> {
    let any =
        |rng: &mut Rng| inputs.get(rng.usize(..inputs.len().max(1))).cloned().unwrap_or_default();
    let mut input = any(rng);
    for _ in 0..rng.usize(1..5) {
        let at = rng.usize(..=input.len());
        let end = (at + rng.usize(..16)).min(input.len());
        match rng.u8(..8) {
            0 if at < input.len() => input[at] ^= 1 << rng.u8(..8),
            1 if at < input.len() => input[at] = rng.u8(..),
            2 => drop(input.drain(at..end)),
            3 => input.truncate(at),
            4 => {
                let piece = input[at..end].to_vec();
                drop(input.splice(at..at, piece));
            }
            5 => {
                let other = any(rng);
                let from = rng.usize(..=other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            _ => {
                let word = WORDS[rng.usize(..WORDS.len())];
                let end = if rng.bool() { at } else { end };
                drop(input.splice(at..end, word.iter().copied()));
            }
        }
    }
    input.truncate(LONGEST);
    input
}
