//! A sum over one order, kept beside it.
//!
//! In: an order. Out: 64 bits. SQLite finds damage to its own structures, but a byte of text that changed on the disk
//! is only another text to it. Not here: what is done about a sum that does not match (`reader`).

/// Odd, so that multiplying by it loses nothing; its bits are those of the golden ratio.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// The sum over an order, in SQLite's integer type.
///
/// Damage goes unseen about once in 2^64. It is no defence against someone who wants to deceive.
pub(super) fn checksum(id: i64, order_sn: &[u8], date: &[u8]) -> i64 {
    let sum = step(step(0, id.cast_unsigned()), order_sn.len() as u64);
    add(add(sum, order_sn), date).cast_signed()
}

fn add(mut sum: u64, text: &[u8]) -> u64 {
    let (words, rest) = text.as_chunks::<8>();
    for word in words {
        sum = step(sum, u64::from_le_bytes(*word));
    }
    if rest.is_empty() {
        return sum;
    }
    // The last word overlaps the one before, where there is one: cheaper than a copy of what is left over.
    let last = text.last_chunk::<8>().copied().unwrap_or_else(|| {
        let mut padded = [0; 8];
        padded[..rest.len()].copy_from_slice(rest);
        padded
    });
    step(sum, u64::from_le_bytes(last))
}

fn step(sum: u64, word: u64) -> u64 {
    (sum.rotate_left(29) ^ word).wrapping_mul(SPREAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_bit_changes_the_sum() {
        let (order_sn, date) = (b"20240101000000order_sn", b"2024-01-01 00:00:00");
        let sum = checksum(7, order_sn, date);
        for bit in 0..32 {
            assert_ne!(checksum(7 ^ (1 << bit), order_sn, date), sum);
        }
        for bit in 0..order_sn.len() * 8 {
            let mut changed = *order_sn;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(checksum(7, &changed, date), sum);
        }
        for bit in 0..date.len() * 8 {
            let mut changed = *date;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(checksum(7, order_sn, &changed), sum);
        }
    }

    #[test]
    fn text_that_moves_from_one_column_to_the_other_changes_the_sum() {
        assert_ne!(checksum(7, b"ab", b"c"), checksum(7, b"a", b"bc"));
        assert_ne!(checksum(7, b"12345678", b""), checksum(7, b"", b"12345678"));
        assert_ne!(checksum(7, b"a\0", b""), checksum(7, b"a", b""));
    }

    #[test]
    fn the_sum_is_the_one_in_stores_made_before() {
        let sum = checksum(0, b"20240101000000order_sn", b"2024-01-01 00:00:00");
        assert_eq!(sum, 2_839_879_528_840_639_052);
    }
}
