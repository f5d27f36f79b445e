//! Message compression (grpc/doc/compression.md): each message on its own, with the stream's `grpc-encoding`.
//!
//! In: a payload and an [`Encoding`]. Out: the other form, never more than the limit. Not here: which encoding a
//! call uses (`protocol`).

use std::fmt;
use std::io::{self, Read};

use bytes::Bytes;
use http::header::HeaderValue;

use crate::status::Status;

macro_rules! encodings {
    ($($(#[doc = $doc:literal])* #[cfg($cfg:meta)] $name:ident = $text:literal, $algorithm:ident;)*) => {
        /// How the messages of a stream may be compressed, as `grpc-encoding` names it.
        ///
        /// What a build supports is chosen by the features of the same names.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Encoding {
            /// Not at all.
            #[default]
            Identity,
            $($(#[doc = $doc])* #[cfg($cfg)] $name,)*
        }

        impl Encoding {
            /// Every encoding that this build supports, as `grpc-accept-encoding` lists them.
            pub const SUPPORTED: &[Self] = &[Self::Identity, $(#[cfg($cfg)] Self::$name,)*];

            /// The name on the wire.
            pub const fn name(self) -> &'static str {
                match self {
                    Self::Identity => "identity",
                    $(#[cfg($cfg)] Self::$name => $text,)*
                }
            }
        }

        /// Compresses one message; a new context for every message (PROTOCOL-HTTP2.md, "Message-Encoding").
        pub(crate) fn compress(encoding: Encoding, plain: &[u8]) -> Result<Bytes, CompressError> {
            match encoding {
                Encoding::Identity => Ok(Bytes::copy_from_slice(plain)),
                $(
                    #[cfg($cfg)]
                    Encoding::$name => super::algorithms::$algorithm::compress(plain)
                        .map(Bytes::from)
                        .map_err(CompressError),
                )*
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
                $(
                    #[cfg($cfg)]
                    Encoding::$name => read_bounded(
                        encoding,
                        super::algorithms::$algorithm::reader(packed),
                        limit,
                    ),
                )*
            }
        }
    };
}

encodings! {
    /// RFC 1952.
    #[cfg(feature = "gzip")]
    Gzip = "gzip", gzip;
    /// The zlib format, RFC 1950, as HTTP means the word.
    #[cfg(feature = "deflate")]
    Deflate = "deflate", deflate;
    /// RFC 8878.
    #[cfg(feature = "zstd")]
    Zstd = "zstd", zstd;
    /// RFC 7932.
    #[cfg(feature = "brotli")]
    Brotli = "br", brotli;
    /// Snappy's framing format.
    #[cfg(feature = "snappy")]
    Snappy = "snappy", snappy;
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
pub(crate) fn supported_list() -> Option<HeaderValue> {
    match Encoding::SUPPORTED {
        [_] => None,
        _ => Some(HeaderValue::from_static(SUPPORTED_LIST)),
    }
}

/// The names of [`Encoding::SUPPORTED`], joined when the crate is compiled.
const SUPPORTED_LIST: &str = match std::str::from_utf8(&joined::<{ joined_len() }>()) {
    Ok(list) => list,
    Err(_) => "",
};

#[expect(
    clippy::arithmetic_side_effects,
    reason = "evaluated by the compiler, which refuses an overflow"
)]
const fn joined_len() -> usize {
    let (mut len, mut rest) = (0usize, Encoding::SUPPORTED);
    while let [encoding, more @ ..] = rest {
        len += encoding.name().len() + 1;
        rest = more;
    }
    len - 1
}

#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "evaluated by the compiler, which refuses what is out of bounds"
)]
const fn joined<const LEN: usize>() -> [u8; LEN] {
    let mut list = [b','; LEN];
    let (mut at, mut rest) = (0, Encoding::SUPPORTED);
    while let [encoding, more @ ..] = rest {
        let mut name = encoding.name().as_bytes();
        while let [byte, tail @ ..] = name {
            list[at] = *byte;
            at += 1;
            name = tail;
        }
        at += 1;
        rest = more;
    }
    list
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

#[cfg_attr(
    not(any(
        feature = "gzip",
        feature = "deflate",
        feature = "zstd",
        feature = "brotli",
        feature = "snappy"
    )),
    expect(dead_code, reason = "every encoding but identity uses it")
)]
fn read_bounded(
    encoding: Encoding,
    reader: io::Result<impl Read>,
    limit: usize,
) -> Result<Bytes, DecompressError> {
    let mut plain = Vec::new();
    let one_more = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    reader
        .and_then(|reader| reader.take(one_more).read_to_end(&mut plain))
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
                "received message after decompression larger than max {limit}"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{DefaultHasher, Hasher};

    use bytes::BytesMut;

    use super::super::frame::{FrameDecoder, encode_frame};
    use super::super::{MessageLimits, RawMessage};
    use super::*;

    fn compressing() -> impl Iterator<Item = Encoding> {
        let all = Encoding::SUPPORTED.iter().copied();
        all.filter(|encoding| *encoding != Encoding::Identity)
    }

    #[test]
    fn a_message_survives_every_encoding() {
        let plain = Bytes::from("a message, ".repeat(20_000));
        for encoding in compressing() {
            for plain in [plain.clone(), plain.slice(..1), Bytes::new()] {
                let packed = compress(encoding, &plain).expect("in memory");
                let back = decompress(encoding, &packed, plain.len()).expect("just compressed");
                assert_eq!(back, plain, "{encoding:?}");
            }
            let packed = compress(encoding, &plain).expect("in memory");
            assert!(packed.len() < plain.len() / 10, "{encoding:?}");
        }
    }

    #[test]
    fn a_bomb_is_cut_at_the_limit() {
        for encoding in compressing() {
            let packed = compress(encoding, &vec![0; 1 << 20]).expect("in memory");
            assert!(packed.len() < 60_000, "{encoding:?}");
            for limit in [0, 1000, (1 << 20) - 1] {
                let error = decompress(encoding, &packed, limit).expect_err("too many");
                assert!(
                    matches!(error, DecompressError::TooLarge { .. }),
                    "{encoding:?} {error:?}"
                );
            }
            assert!(decompress(encoding, &packed, 1 << 20).is_ok());
        }
    }

    #[test]
    fn what_does_not_compress_fits_in_a_frame_for_a_message_of_its_size() {
        // Any hash of a counter looks random to a compressor.
        let noise = (0..30_000u64).flat_map(|n| {
            let mut hasher = DefaultHasher::new();
            hasher.write_u64(n);
            hasher.finish().to_ne_bytes()
        });
        let noise: Vec<u8> = noise.collect();
        for encoding in compressing() {
            for len in [1, 100, noise.len()] {
                let message = RawMessage(Bytes::copy_from_slice(&noise[..len]));
                let mut wire = BytesMut::new();
                encode_frame(&message, encoding, MessageLimits::default(), &mut wire)
                    .expect("in memory");
                let mut decoder = FrameDecoder::new(len);
                decoder.push(wire.freeze());
                let frame = decoder.next_frame().expect("within the limit");
                assert!(frame.is_some(), "{encoding:?} {len}");
            }
        }
    }

    #[test]
    fn corrupt_and_cut_data_are_errors() {
        let plain = Bytes::from("some message, ".repeat(10));
        for encoding in compressing() {
            let corrupt = |bad: Bytes| {
                let read = decompress(encoding, &bad, 1000);
                match read {
                    Err(DecompressError::Corrupt(..)) => true,
                    // No byte, no frame: some encoders' form of an empty message.
                    Ok(plain) => plain.is_empty() && bad.is_empty(),
                    Err(DecompressError::TooLarge { .. }) => false,
                }
            };
            assert!(corrupt(Bytes::from_static(b"never compressed")));
            let packed = compress(encoding, &plain).expect("in memory");
            for cut in 0..packed.len() {
                let whole_chunks = encoding.name() == "snappy" && cut == SNAPPY_HEADER_LEN;
                assert!(
                    whole_chunks || corrupt(packed.slice(..cut)),
                    "{encoding:?} cut at {cut} of {}",
                    packed.len()
                );
            }
        }
    }

    /// Between two chunks of the framing format, a stream without an end is a whole one.
    const SNAPPY_HEADER_LEN: usize = 10;

    #[cfg(feature = "zstd")]
    #[test]
    fn a_zstd_frame_that_asks_for_a_large_window_is_refused_before_it_has_it() {
        // Magic number, a header with a window descriptor of 2^31 bytes, one last raw block of a byte.
        let wire =
            Bytes::from_static(&[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x09, 0x00, 0x00, b'x']);
        let read = decompress(Encoding::Zstd, &wire, 100);
        assert!(
            matches!(read, Err(DecompressError::Corrupt(..))),
            "{read:?}"
        );
    }

    #[test]
    fn the_list_has_every_encoding_of_the_build() {
        let names: Vec<_> = Encoding::SUPPORTED.iter().map(|one| one.name()).collect();
        assert_eq!(SUPPORTED_LIST, names.join(","));
        assert_eq!(supported_list().is_some(), names.len() > 1);
    }

    #[test]
    fn a_list_of_encodings_is_read_leniently() {
        for encoding in compressing() {
            let name = encoding.name();
            let accept = AcceptEncoding::parse(format!("lzma, {name} ,,identity").as_bytes());
            assert!(accept.contains(encoding) && accept.contains(Encoding::Identity));
            let accept = AcceptEncoding::parse(format!("{name}x").as_bytes());
            assert!(!accept.contains(encoding));
        }
    }
}
