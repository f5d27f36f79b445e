//! The Huffman code of header strings (RFC 7541, appendix B), read only: what we write is never coded.

/// How many bits each byte takes. The code is canonical: shorter ones first, bytes of one length in their order, each one more
/// than the last; so the lengths are all of it.
#[rustfmt::skip]
const BITS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28,
    28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6,
    6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23,
    23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21,
    23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19,
    22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27,
    27, 27, 27, 26,
];

const MAX_BITS: u8 = 30;

/// The bytes behind `coded`; `None` when it is no such code.
pub(super) fn decode(coded: &[u8]) -> Option<Vec<u8>> {
    let mut bits = coded
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |shift| u32::from(byte >> shift & 1)));
    let mut plain = Vec::new();
    loop {
        let (mut code, mut first) = (0, 0);
        let found = (1..=MAX_BITS).find_map(|length| {
            let Some(bit) = bits.next() else {
                // What fills the last byte: fewer than eight ones.
                let padding = length <= 8 && code + 1 == 1 << (length - 1);
                return Some(padding.then_some(None));
            };
            code = code << 1 | bit;
            first <<= 1;
            let of_length = (0..=u8::MAX).filter(|byte| BITS[usize::from(*byte)] == length);
            let byte = of_length.clone().nth(usize::try_from(code - first).ok()?);
            first += u32::try_from(of_length.count()).ok()?;
            byte.map(|byte| Some(Some(byte)))
        });
        match found?? {
            Some(byte) => plain.push(byte),
            None => return Some(plain),
        }
    }
}
