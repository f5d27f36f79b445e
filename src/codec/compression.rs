//! Message compression (grpc/doc/compression.md): each message on its own, with the stream's `grpc-encoding`.
//!
//! In: a payload and an [`Encoding`]. Out: the other form, never more than the limit. Not here: which encoding a
//! call uses (`protocol`).

use std::fmt;
use std::io::{self, Read};

use bytes::Bytes;

use crate::status::Status;

macro_rules! encodings {
    ($($(#[doc = $doc:literal])* #[cfg($cfg:meta)] $name:ident = $text:literal;)*) => {
        /// How the messages of a stream may be compressed, as `grpc-encoding` names it.
        ///
        /// What a build supports is chosen by the features `gzip` and its like.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Encoding {
            /// Not at all.
            #[default]
            Identity,
            $($(#[doc = $doc])* #[cfg($cfg)] $name,)*
        }

        impl Encoding {
            /// Every encoding that this build supports, in the order in which it prefers them.
            pub const SUPPORTED: &[Self] = &[Self::Identity, $(#[cfg($cfg)] Self::$name,)*];

            /// The name on the wire.
            pub const fn name(self) -> &'static str {
                match self {
                    Self::Identity => "identity",
                    $(#[cfg($cfg)] Self::$name => $text,)*
                }
            }
        }
    };
}

encodings! {
    /// RFC 1952.
    #[cfg(feature = "gzip")]
    Gzip = "gzip";
}

impl Encoding {
    /// The supported encoding with this name on the wire.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::SUPPORTED
            .iter()
            .copied()
            .find(|encoding| encoding.name().as_bytes() == name)
    }
}

/// The encodings that a peer says it reads: a set, as `grpc-accept-encoding` carries it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AcceptEncoding(u8);

impl AcceptEncoding {
    /// Reads a comma-separated list; names that are not supported here are passed over.
    pub(crate) fn parse(list: &[u8]) -> Self {
        let known = list
            .split(|&byte| byte == b',')
            .filter_map(|name| Encoding::from_name(name.trim_ascii()));
        Self(known.fold(0, |bits, encoding| bits | Self::bit(encoding)))
    }

    pub(crate) fn contains(self, encoding: Encoding) -> bool {
        encoding == Encoding::Identity || self.0 & Self::bit(encoding) != 0
    }

    pub(crate) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn bit(encoding: Encoding) -> u8 {
        1 << encoding as u8
    }
}

/// Every encoding that this build reads, as `grpc-accept-encoding` lists them; `None` when only identity.
pub(crate) const fn supported_list() -> Option<&'static str> {
    if cfg!(feature = "gzip") {
        Some("identity,gzip")
    } else {
        None
    }
}

/// The failure of a compressor, which is this side's own.
#[derive(Debug)]
pub struct CompressError(io::Error);

/// Why a compressed payload cannot be read.
#[derive(Debug)]
pub(crate) enum DecompressError {
    Corrupt(Encoding, io::Error),
    TooLarge { limit: usize },
}

/// Compresses one message; a new context for every message (PROTOCOL-HTTP2.md, "Message-Encoding").
pub(crate) fn compress(encoding: Encoding, plain: &[u8]) -> Result<Bytes, CompressError> {
    match encoding {
        Encoding::Identity => Ok(Bytes::copy_from_slice(plain)),
        #[cfg(feature = "gzip")]
        Encoding::Gzip => {
            let mut packed = Vec::new();
            let mut reader = flate2::bufread::GzEncoder::new(plain, flate2::Compression::fast());
            reader.read_to_end(&mut packed).map_err(CompressError)?;
            Ok(packed.into())
        }
    }
}

/// Decompresses one message to at most `limit` bytes; what is beyond is never produced.
pub(crate) fn decompress(
    encoding: Encoding,
    packed: &Bytes,
    limit: usize,
) -> Result<Bytes, DecompressError> {
    match encoding {
        Encoding::Identity if packed.len() > limit => Err(DecompressError::TooLarge { limit }),
        Encoding::Identity => Ok(packed.clone()),
        #[cfg(feature = "gzip")]
        Encoding::Gzip => read_bounded(
            encoding,
            flate2::bufread::MultiGzDecoder::new(packed.as_ref()),
            limit,
        ),
    }
}

#[cfg_attr(
    not(feature = "gzip"),
    expect(dead_code, reason = "every encoding but identity uses it")
)]
fn read_bounded(
    encoding: Encoding,
    reader: impl Read,
    limit: usize,
) -> Result<Bytes, DecompressError> {
    let mut plain = Vec::new();
    let one_more = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    reader
        .take(one_more)
        .read_to_end(&mut plain)
        .map_err(|error| DecompressError::Corrupt(encoding, error))?;
    if plain.len() > limit {
        return Err(DecompressError::TooLarge { limit });
    }
    Ok(plain.into())
}

impl fmt::Display for CompressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot compress the message: {}", self.0)
    }
}

impl std::error::Error for CompressError {}

/// Codes: statuscodes.md; the size counts after decompression.
impl From<DecompressError> for Status {
    fn from(error: DecompressError) -> Self {
        match error {
            DecompressError::Corrupt(encoding, error) => Self::internal(format!(
                "cannot decompress the message as {}: {error}",
                encoding.name()
            )),
            DecompressError::TooLarge { limit } => Self::resource_exhausted(format!(
                "received message larger than max (over {limit} after decompression vs. {limit})"
            )),
        }
    }
}

#[cfg(all(test, feature = "gzip"))]
mod tests {
    use super::*;

    #[test]
    fn a_message_survives_every_encoding() {
        let plain = Bytes::from("a message, ".repeat(1000));
        for &encoding in Encoding::SUPPORTED {
            let packed = compress(encoding, &plain).expect("in memory");
            let back = decompress(encoding, &packed, plain.len()).expect("just compressed");
            assert_eq!(back, plain, "{encoding:?}");
            assert!(encoding == Encoding::Identity || packed.len() < plain.len());
        }
    }

    #[test]
    fn a_bomb_is_cut_at_the_limit() {
        let packed = compress(Encoding::Gzip, &vec![0; 1 << 20]).expect("in memory");
        assert!(packed.len() < 10_000);
        let error =
            decompress(Encoding::Gzip, &packed, (1 << 20) - 1).expect_err("one byte too many");
        assert!(matches!(error, DecompressError::TooLarge { .. }));
        assert!(decompress(Encoding::Gzip, &packed, 1 << 20).is_ok());
    }

    #[test]
    fn corrupt_and_cut_data_are_errors() {
        let packed = compress(Encoding::Gzip, b"some message").expect("in memory");
        for bad in [
            Bytes::from_static(b"no gzip"),
            packed.slice(..packed.len() - 1),
            Bytes::new(),
        ] {
            assert!(
                matches!(
                    decompress(Encoding::Gzip, &bad, 100),
                    Err(DecompressError::Corrupt(..))
                ),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn a_list_of_encodings_is_read_leniently() {
        let accept = AcceptEncoding::parse(b"br, gzip ,,identity");
        assert!(accept.contains(Encoding::Gzip) && accept.contains(Encoding::Identity));
        assert!(!AcceptEncoding::parse(b"gzipx").contains(Encoding::Gzip));
    }
}
