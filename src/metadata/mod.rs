//! What travels beside the messages: names and values, in headers and in trailers.
//!
//! In: header blocks, or an application's own pairs. Out: the same, with the names that gRPC keeps for itself
//! left out. Not here: the reserved headers, which `protocol` and `status` read.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::fmt;
use std::mem;
use std::sync::{LazyLock, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD_NO_PAD};
use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};

const RETRY_PUSHBACK_MS: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// Custom metadata: an ordered multimap of ASCII values, and of bytes under names that end in `-bin`
/// (PROTOCOL-HTTP2.md, "Custom-Metadata").
///
/// Names are lower case. Repeated names keep the order of their values.
#[derive(Clone, Default)]
pub struct Metadata(
    // Usually there are none, and then it is a word in every call and status.
    Option<Box<HeaderMap>>,
);

static EMPTY: LazyLock<HeaderMap> = LazyLock::new(HeaderMap::new);

/// Why a pair cannot be metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetadataError {
    /// Not made of `0-9 a-z _ - .` (upper case is accepted and lowered).
    Name(String),
    /// Kept by gRPC or HTTP for itself, such as `grpc-…` and `content-type`.
    Reserved(String),
    /// An ASCII value with a byte outside 0x20–0x7E; such values belong under a name that ends in `-bin`.
    Value(String),
    /// A name that ends in `-bin` given text, or another name given bytes.
    Kind(String),
}

impl Metadata {
    /// No metadata; allocates nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The first value of `name`, when it is text.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.get_all(name).next()
    }

    /// All values of `name` that are text, in order.
    pub fn get_all(&self, name: &str) -> impl Iterator<Item = &str> {
        // A value may be legal HTTP and no legal ASCII-Value; that must not fail the call, so it is passed over.
        self.headers()
            .get_all(name)
            .into_iter()
            .filter_map(|value| value.to_str().ok())
    }

    /// All values of the `-bin` name, in order; those that are no base64 are passed over.
    ///
    /// One header can hold several values, joined by commas; padded and unpadded base64 are read.
    pub fn get_all_bin(&self, name: &str) -> impl Iterator<Item = Bytes> {
        let values = self.headers().get_all(name).into_iter();
        values
            .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
            .filter_map(decode_bin)
    }

    /// The first value of the `-bin` name.
    pub fn get_bin(&self, name: &str) -> Option<Bytes> {
        self.get_all_bin(name).next()
    }

    /// Adds a text value, after those that `name` has.
    ///
    /// # Errors
    /// See [`MetadataError`]; nothing is changed then.
    pub fn append(&mut self, name: &str, value: &str) -> Result<(), MetadataError> {
        let key = custom_name(name)?;
        if is_bin(&key) {
            return Err(MetadataError::Kind(name.to_owned()));
        }
        let visible = value.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
        match HeaderValue::from_str(value) {
            Ok(value) if visible => drop(self.headers_mut().append(key, value)),
            _ => return Err(MetadataError::Value(name.to_owned())),
        }
        Ok(())
    }

    /// Adds a value of bytes under a name that ends in `-bin`, after those that `name` has.
    ///
    /// # Errors
    /// See [`MetadataError`]; nothing is changed then.
    pub fn append_bin(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), MetadataError> {
        let key = custom_name(name)?;
        if !is_bin(&key) {
            return Err(MetadataError::Kind(name.to_owned()));
        }
        self.headers_mut()
            .append(key, base64_encode(value.as_ref()));
        Ok(())
    }

    /// Removes every value of `name`; tells whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        let headers = self.0.as_mut();
        headers.is_some_and(|headers| headers.remove(name).is_some())
    }

    /// Whether there is a value of `name`.
    pub fn contains(&self, name: &str) -> bool {
        self.headers().contains_key(name)
    }

    /// How many values there are, repeated names counted as often as they stand.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |headers| headers.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every name and value as on the wire (`-bin` values still in base64), the values of one name in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers()
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
    }

    /// Adds every value of `other`.
    pub fn extend(&mut self, other: &Self) {
        for (name, value) in other.headers() {
            self.headers_mut().append(name, value.clone());
        }
    }

    /// Takes a received header block: all of it but what gRPC and HTTP keep for themselves.
    pub(crate) fn from_headers(mut map: HeaderMap) -> Self {
        let reserved: Vec<HeaderName> = map
            .keys()
            .filter(|name| is_reserved(name.as_str()))
            .cloned()
            .collect();
        for name in reserved {
            map.remove(name);
        }
        Self::from(map)
    }

    /// Of a status that asks the client to try again, but not before `after` (gRFC A6, "Pushback").
    pub(crate) fn pushback(after: Duration) -> Self {
        let mut map = HeaderMap::new();
        let ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        map.insert(RETRY_PUSHBACK_MS, HeaderValue::from(ms));
        Self::from(map)
    }

    /// All of `headers`.
    fn from(headers: HeaderMap) -> Self {
        Self((!headers.is_empty()).then(|| Box::new(headers)))
    }

    pub(crate) fn into_headers(self) -> HeaderMap {
        self.0.map_or_else(HeaderMap::new, |headers| *headers)
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.0.as_ref().map_or(&EMPTY, |headers| headers)
    }

    fn headers_mut(&mut self) -> &mut HeaderMap {
        self.0.get_or_insert_default()
    }
}

impl PartialEq for Metadata {
    fn eq(&self, other: &Self) -> bool {
        self.headers() == other.headers()
    }
}

/// Metadata of a header block that has come, taken out of it when somebody asks: most handlers never do, and what is
/// reserved costs a call more to take out than to read.
pub(crate) struct LazyMetadata {
    headers: Mutex<HeaderMap>,
    metadata: OnceLock<Metadata>,
}

impl LazyMetadata {
    pub(crate) fn new(headers: HeaderMap) -> Self {
        Self {
            headers: Mutex::new(headers),
            metadata: OnceLock::new(),
        }
    }

    pub(crate) fn get(&self) -> &Metadata {
        self.metadata.get_or_init(|| {
            let mut headers = self.headers.lock().unwrap_or_else(PoisonError::into_inner);
            Metadata::from_headers(mem::take(&mut headers))
        })
    }
}

/// Takes it out, as whoever asks for it does.
impl fmt::Debug for LazyMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// What a header block counts (RFC 9113, section 6.5.2): names, values, and 32 bytes for each field.
pub(crate) fn header_list_bytes(headers: &HeaderMap) -> usize {
    headers.iter().fold(0, |bytes: usize, (name, value)| {
        bytes
            .saturating_add(name.as_str().len())
            .saturating_add(value.len())
            .saturating_add(32)
    })
}

/// Whether a name belongs to HTTP, to the call's definition, or to gRPC. Those of one HTTP/1 connection no HTTP/2 message may have
/// (RFC 9113, section 8.2.2): h2 does not send a block that has one.
fn is_reserved(name: &str) -> bool {
    matches!(
        name,
        "content-type"
            | "te"
            | "host"
            | "content-length"
            | "connection"
            | "keep-alive"
            | "proxy-connection"
            | "transfer-encoding"
            | "upgrade"
    ) || name.starts_with("grpc-")
}

fn custom_name(name: &str) -> Result<HeaderName, MetadataError> {
    let lower = name.to_ascii_lowercase();
    let legal = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'_' | b'-' | b'.');
    if lower.is_empty() || !lower.bytes().all(legal) {
        return Err(MetadataError::Name(name.to_owned()));
    }
    if is_reserved(&lower) {
        return Err(MetadataError::Reserved(name.to_owned()));
    }
    HeaderName::try_from(lower).map_err(|_| MetadataError::Name(name.to_owned()))
}

fn is_bin(name: &HeaderName) -> bool {
    name.as_str().ends_with("-bin")
}

/// "Implementations MUST accept padded and un-padded values and should emit un-padded values."
const LENIENT_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(crate) fn base64_encode(value: &[u8]) -> HeaderValue {
    HeaderValue::from_str(&STANDARD_NO_PAD.encode(value)).expect("base64 is visible ASCII")
}

pub(crate) fn decode_bin(value: &[u8]) -> Option<Bytes> {
    LENIENT_BASE64
        .decode(value.trim_ascii())
        .ok()
        .map(Bytes::from)
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.headers().fmt(f)
    }
}

impl fmt::Display for MetadataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "metadata name {name:?} is not made of 0-9 a-z _ - ."),
            Self::Reserved(name) => write!(f, "metadata name {name:?} is reserved"),
            Self::Value(name) => write!(f, "the value of metadata {name:?} is not printable ASCII"),
            Self::Kind(name) => write!(
                f,
                "metadata {name:?}: names that end in -bin hold bytes, all others text"
            ),
        }
    }
}

impl std::error::Error for MetadataError {}

/// The fuzz target `metadata`: any header block is read without a panic, and any bytes survive a `-bin` value.
#[cfg(any(test, fuzzing))]
pub fn fuzz(data: &[u8]) {
    let mut map = HeaderMap::new();
    for pair in data.split(|&byte| byte == b'\n') {
        let mut parts = pair.splitn(2, |&byte| byte == b':');
        let name = parts
            .next()
            .and_then(|name| HeaderName::from_bytes(name).ok());
        let value = parts
            .next()
            .and_then(|value| HeaderValue::from_bytes(value).ok());
        if let (Some(name), Some(value)) = (name, value) {
            map.append(name, value);
        }
    }
    let metadata = Metadata::from_headers(map);
    for (name, _) in metadata.iter() {
        assert!(!name.starts_with("grpc-"));
        let texts = metadata.get_all(name).count();
        assert!(texts <= metadata.len());
        metadata.get_all_bin(name).for_each(drop);
    }

    let mut metadata = Metadata::new();
    metadata
        .append_bin("x-bin", data)
        .expect("a -bin name holds any bytes");
    assert_eq!(metadata.get_bin("x-bin").as_deref(), Some(data));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn metadata_that_has_become_empty_is_as_metadata_that_never_had_any() {
        let mut metadata = Metadata::new();
        assert!(!metadata.remove("x-a"));
        metadata.append("x-a", "1").expect("legal");
        assert_ne!(metadata, Metadata::new());
        assert!(metadata.remove("x-a"));
        assert_eq!(metadata, Metadata::new());
        assert_eq!(Metadata::from_headers(HeaderMap::new()), metadata);
        assert!(metadata.is_empty() && metadata.iter().next().is_none());
        assert_eq!(metadata.into_headers(), HeaderMap::new());
    }

    #[test]
    fn repeated_names_keep_the_order_of_their_values() {
        let mut metadata = Metadata::new();
        for value in ["one", "two", "three"] {
            metadata.append("X-Count", value).expect("legal");
        }
        assert_eq!(
            metadata.get_all("x-count").collect::<Vec<_>>(),
            ["one", "two", "three"]
        );
        assert_eq!(metadata.len(), 3);
    }

    #[test]
    fn bytes_are_read_padded_and_unpadded_and_joined_by_commas() {
        let mut map = HeaderMap::new();
        map.append("x-bin", HeaderValue::from_static("AQ==,AgM"));
        map.append("x-bin", HeaderValue::from_static(" BA , !"));
        let metadata = Metadata::from_headers(map);
        let values: Vec<Bytes> = metadata.get_all_bin("x-bin").collect();
        assert_eq!(values, [&[1][..], &[2, 3], &[4]]);
    }

    #[test]
    fn bytes_are_written_unpadded() {
        let mut metadata = Metadata::new();
        metadata.append_bin("x-bin", [1]).expect("legal");
        assert_eq!(metadata.get("x-bin"), Some("AQ"));
    }

    #[test]
    fn reserved_and_illegal_names_and_values_are_refused() {
        let mut metadata = Metadata::new();
        assert!(matches!(
            metadata.append("grpc-status", "0"),
            Err(MetadataError::Reserved(_))
        ));
        let reserved = ["Content-Type", "te", "host", "content-length", "connection"];
        let of_http1 = [
            "keep-alive",
            "proxy-connection",
            "transfer-encoding",
            "Upgrade",
        ];
        for name in reserved.into_iter().chain(of_http1) {
            let appended = metadata.append(name, "trailers");
            assert!(
                matches!(appended, Err(MetadataError::Reserved(_))),
                "{name}"
            );
        }
        assert!(matches!(
            metadata.append("a b", "x"),
            Err(MetadataError::Name(_))
        ));
        assert!(matches!(
            metadata.append("", "x"),
            Err(MetadataError::Name(_))
        ));
        assert!(matches!(
            metadata.append(":path", "x"),
            Err(MetadataError::Name(_))
        ));
        assert!(matches!(
            metadata.append("a", "ü"),
            Err(MetadataError::Value(_))
        ));
        assert!(matches!(
            metadata.append("a", "tab\t"),
            Err(MetadataError::Value(_))
        ));
        assert!(matches!(
            metadata.append("a-bin", "AQ"),
            Err(MetadataError::Kind(_))
        ));
        assert!(matches!(
            metadata.append_bin("a", [1]),
            Err(MetadataError::Kind(_))
        ));
        assert!(metadata.is_empty());
    }

    #[test]
    fn a_value_that_is_no_ascii_is_passed_over_not_an_error() {
        let mut map = HeaderMap::new();
        map.append(
            "x-name",
            HeaderValue::from_bytes(b"caf\xe9").expect("legal HTTP"),
        );
        map.append("x-name", HeaderValue::from_static("plain"));
        let metadata = Metadata::from_headers(map);
        assert_eq!(metadata.get("x-name"), Some("plain"));
        assert_eq!(metadata.iter().count(), 2);
    }

    #[test]
    fn metadata_is_taken_out_of_a_block_once_and_stays() {
        let mut map = HeaderMap::new();
        map.append("te", HeaderValue::from_static("trailers"));
        map.append("x-kept", HeaderValue::from_static("1"));
        let lazy = LazyMetadata::new(map.clone());
        let metadata = Metadata::from_headers(map);
        assert!(*lazy.get() == metadata && metadata.len() == 1);
        assert!(std::ptr::eq(lazy.get(), lazy.get()));
        assert_eq!(format!("{lazy:?}"), format!("{metadata:?}"));
    }

    #[test]
    fn what_grpc_keeps_for_itself_is_left_out_of_a_received_block() {
        let mut map = HeaderMap::new();
        for name in ["grpc-timeout", "te", "content-type", "grpc-foo", "x-kept"] {
            map.append(name, HeaderValue::from_static("x"));
        }
        let metadata = Metadata::from_headers(map);
        assert_eq!(
            metadata.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            ["x-kept"]
        );
    }

    proptest! {
        #[test]
        fn any_bytes_survive_a_bin_value(data in any::<Vec<u8>>()) {
            fuzz(&data);
        }
    }
}
