//! The bytes of one message, read where they lie.
//!
//! In: a part of a chunk that came. Out: its bytes, or a share of the chunk for a message that keeps some of them. Not
//! here: where a message begins and ends (`frame`).

use bytes::{Buf, Bytes};

/// The payload of a frame, whole and uncompressed.
///
/// As a [`Buf`] it is a slice; only [`Buf::copy_to_bytes`] shares the chunk instead of copying, so a message of numbers and
/// strings costs no reference count, and a large field of type [`Bytes`] no copy.
#[derive(Debug)]
pub struct Payload<'a> {
    /// What was not read yet; lies in `chunk`.
    rest: &'a [u8],
    chunk: &'a Bytes,
}

impl<'a> Payload<'a> {
    /// `part` of `chunk`.
    #[inline]
    pub(super) fn within(chunk: &'a Bytes, part: &'a [u8]) -> Self {
        Self { rest: part, chunk }
    }

    /// The bytes that were not read yet, sharing the chunk that they came in.
    pub fn into_bytes(self) -> Bytes {
        self.chunk.slice_ref(self.rest)
    }
}

/// All of these bytes.
impl<'a> From<&'a Bytes> for Payload<'a> {
    #[inline]
    fn from(payload: &'a Bytes) -> Self {
        Self::within(payload, payload)
    }
}

impl Buf for Payload<'_> {
    #[inline]
    fn remaining(&self) -> usize {
        self.rest.len()
    }

    #[inline]
    fn chunk(&self) -> &[u8] {
        self.rest
    }

    #[inline]
    fn advance(&mut self, n: usize) {
        self.rest.advance(n);
    }

    fn copy_to_bytes(&mut self, n: usize) -> Bytes {
        let (taken, rest) = self.rest.split_at(n);
        self.rest = rest;
        self.chunk.slice_ref(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_a_message_keeps_are_shared_and_no_others() {
        let chunk = Bytes::from(vec![0, 1, 2, 3, 4, 5]);
        let mut payload = Payload::within(&chunk, &chunk[1..5]);
        assert_eq!(payload.get_u8(), 1);
        let kept = payload.copy_to_bytes(2);
        assert_eq!(kept.as_ptr(), chunk[2..].as_ptr());
        assert_eq!(kept, [2, 3][..]);
        assert_eq!(payload.remaining(), 1);
        assert_eq!(payload.into_bytes(), [4][..]);
    }
}
