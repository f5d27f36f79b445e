//! The compression algorithms, one module for each, all of one form.
//!
//! In: a whole message. Out: its compressed form, or a reader that decompresses as far as it is read. Not here: the
//! limit on what is read (`compression`).
//!
//! What a decompressor may allocate before it gives a byte is bounded too: a peer's promise buys no memory.

/// Of zlib's 1 to 9. With the first, what does not compress becomes a twentieth longer, and text a third.
#[cfg(any(feature = "gzip", feature = "deflate"))]
const LEVEL: flate2::Compression = flate2::Compression::new(2);

/// RFC 1952.
#[cfg(feature = "gzip")]
pub(super) mod gzip {
    use std::io::{self, Read};

    use flate2::bufread::{GzEncoder, MultiGzDecoder};

    use super::LEVEL;

    pub(in super::super) fn compress(plain: &[u8]) -> io::Result<Vec<u8>> {
        let mut packed = Vec::new();
        GzEncoder::new(plain, LEVEL).read_to_end(&mut packed)?;
        Ok(packed)
    }

    pub(in super::super) fn reader(packed: &[u8]) -> io::Result<impl Read> {
        Ok(MultiGzDecoder::new(packed))
    }
}

/// What HTTP calls "deflate": the zlib format, RFC 1950.
#[cfg(feature = "deflate")]
pub(super) mod deflate {
    use std::io::{self, Read};

    use flate2::bufread::{ZlibDecoder, ZlibEncoder};

    use super::LEVEL;

    pub(in super::super) fn compress(plain: &[u8]) -> io::Result<Vec<u8>> {
        let mut packed = Vec::new();
        ZlibEncoder::new(plain, LEVEL).read_to_end(&mut packed)?;
        Ok(packed)
    }

    pub(in super::super) fn reader(packed: &[u8]) -> io::Result<impl Read> {
        Ok(ZlibDecoder::new(packed))
    }
}

/// RFC 8878.
#[cfg(feature = "zstd")]
pub(super) mod zstd {
    use std::io::{self, Read};

    use zstd::stream::read::Decoder;

    /// The library's own default: near gzip's size at several times its speed.
    const LEVEL: i32 = 3;

    /// The largest window that a frame may ask for, as a power of two: 8 MiB, what RFC 8878 recommends every decoder to
    /// support and RFC 9659 every encoder to keep to.
    const MAX_WINDOW_LOG: u32 = 23;

    /// A frame of no bytes: magic number, a header that says so, one last block without content.
    const EMPTY: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x00, 0x01, 0x00, 0x00];

    pub(in super::super) fn compress(plain: &[u8]) -> io::Result<Vec<u8>> {
        zstd::bulk::compress(plain, LEVEL)
    }

    pub(in super::super) fn reader(packed: &[u8]) -> io::Result<impl Read> {
        // Some encoders write no frame at all for an empty message, which the decoder takes for a cut one.
        let packed = if packed.is_empty() { EMPTY } else { packed };
        let mut decoder = Decoder::with_buffer(packed)?;
        decoder.window_log_max(MAX_WINDOW_LOG)?;
        Ok(decoder)
    }
}

/// RFC 7932. Its window grows with what it holds, so that the limit on the message bounds it.
#[cfg(feature = "brotli")]
pub(super) mod brotli {
    use std::io::{self, Read};

    use brotli::{CompressorReader, Decompressor};

    /// Bytes that the readers take at once; they ask for a buffer of their own.
    const BUFFER_BYTES: usize = 4096;

    /// Of 0 to 11: about as fast as gzip and smaller. From 10 on it takes a hundred times as long.
    const QUALITY: u32 = 4;

    /// As a power of two: 256 KiB, so that a small message does not pay for a large one's window.
    const WINDOW_LOG: u32 = 18;

    pub(in super::super) fn compress(plain: &[u8]) -> io::Result<Vec<u8>> {
        let mut packed = Vec::new();
        CompressorReader::new(plain, BUFFER_BYTES, QUALITY, WINDOW_LOG).read_to_end(&mut packed)?;
        Ok(packed)
    }

    pub(in super::super) fn reader(packed: &[u8]) -> io::Result<impl Read> {
        Ok(Decompressor::new(packed, BUFFER_BYTES))
    }
}

/// Snappy's framing format, whose chunks are at most 64 KiB. It has no mark of its end.
#[cfg(feature = "snappy")]
pub(super) mod snappy {
    use std::io::{self, Read};

    use snap::read::{FrameDecoder, FrameEncoder};

    pub(in super::super) fn compress(plain: &[u8]) -> io::Result<Vec<u8>> {
        let mut packed = Vec::new();
        FrameEncoder::new(plain).read_to_end(&mut packed)?;
        Ok(packed)
    }

    pub(in super::super) fn reader(packed: &[u8]) -> io::Result<impl Read> {
        Ok(FrameDecoder::new(packed))
    }
}
