//! How a call ends: a code, a message, details and trailing metadata.
//!
//! In: whatever went wrong. Out: a [`Status`], one pointer wide, that every layer passes on unchanged.
//! Not here: the trailers it becomes (`wire`), the typed details ([`details`]), and the mapping from h2
//! errors (`call`), which need the vocabulary of their own layer.

pub mod details;
pub(crate) mod wire;

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::metadata::Metadata;

/// The outcome of a call that did not succeed (grpc/doc/statuscodes.md).
///
/// Handlers return it as their error, clients receive it as theirs. It travels in the trailers `grpc-status`,
/// `grpc-message` and `grpc-status-details-bin`, with [`Status::metadata`] beside them.
#[derive(Clone)]
pub struct Status(Box<Inner>);

#[derive(Clone)]
struct Inner {
    code: Code,
    message: Cow<'static, str>,
    details: Bytes,
    metadata: Metadata,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl Status {
    /// A status with `code` and a human-readable `message`.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            code,
            message: message.into(),
            details: Bytes::new(),
            metadata: Metadata::new(),
            source: None,
        }))
    }

    /// The code, `grpc-status` on the wire.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The text, `grpc-message` on the wire (there percent-encoded).
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// An encoded `google.rpc.Status`, `grpc-status-details-bin` on the wire; empty when there is none.
    /// [`Status::details`] reads it, [`Status::with_details`] makes it.
    pub fn raw_details(&self) -> &Bytes {
        &self.0.details
    }

    /// Replaces the encoded `google.rpc.Status`. Its code and message should equal this status's own.
    #[must_use]
    pub fn with_raw_details(mut self, details: impl Into<Bytes>) -> Self {
        self.0.details = details.into();
        self
    }

    /// The metadata that travels in the trailers beside the status.
    pub fn metadata(&self) -> &Metadata {
        &self.0.metadata
    }

    /// The metadata, to add to.
    pub fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.0.metadata
    }

    /// Replaces the metadata that travels in the trailers beside the status.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Metadata) -> Self {
        self.0.metadata = metadata;
        self
    }

    /// Attaches the error that led here. It stays on this side: only code, message, details and metadata travel.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Arc<dyn Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }
}

macro_rules! constructors {
    ($($name:ident => $code:ident),* $(,)?) => {
        /// One constructor for each code that is an error.
        impl Status {
            $(
                #[doc = concat!("A status with [`Code::", stringify!($code), "`].")]
                pub fn $name(message: impl Into<Cow<'static, str>>) -> Self {
                    Self::new(Code::$code, message)
                }
            )*
        }
    };
}

constructors! {
    cancelled => Cancelled,
    unknown => Unknown,
    invalid_argument => InvalidArgument,
    deadline_exceeded => DeadlineExceeded,
    not_found => NotFound,
    already_exists => AlreadyExists,
    permission_denied => PermissionDenied,
    resource_exhausted => ResourceExhausted,
    failed_precondition => FailedPrecondition,
    aborted => Aborted,
    out_of_range => OutOfRange,
    unimplemented => Unimplemented,
    internal => Internal,
    unavailable => Unavailable,
    data_loss => DataLoss,
    unauthenticated => Unauthenticated,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.message() {
            "" => write!(f, "{}", self.code()),
            message => write!(f, "{}: {message}", self.code()),
        }
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Status");
        debug.field("code", &self.0.code);
        debug.field("message", &self.0.message);
        if !self.0.details.is_empty() {
            debug.field("details", &self.0.details);
        }
        if !self.0.metadata.is_empty() {
            debug.field("metadata", &self.0.metadata);
        }
        if let Some(source) = &self.0.source {
            debug.field("source", source);
        }
        debug.finish()
    }
}

impl Error for Status {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0.source {
            Some(source) => Some(source.as_ref()),
            None => None,
        }
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// The 17 status codes (grpc/doc/statuscodes.md).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Code {
            $($(#[$doc])* $name = $number,)*
        }

        impl Code {
            /// Every code, in the order of their numbers.
            pub const ALL: [Self; 17] = [$(Self::$name,)*];

            /// The specification's spelling, such as `RESOURCE_EXHAUSTED`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The code as it stands in `grpc-status`: decimal, no leading zero.
            pub(crate) const fn decimal(self) -> &'static str {
                match self { $(Self::$name => stringify!($number),)* }
            }
        }
    };
}

codes! {
    /// Not an error.
    Ok = 0, "OK";
    /// The caller, usually, cancelled the call.
    Cancelled = 1, "CANCELLED";
    /// An error that says nothing more, or a status from a foreign error space.
    Unknown = 2, "UNKNOWN";
    /// The argument is wrong whatever the state of the system.
    InvalidArgument = 3, "INVALID_ARGUMENT";
    /// The deadline passed before the call ended; it may have had its effect all the same.
    DeadlineExceeded = 4, "DEADLINE_EXCEEDED";
    /// Something asked for does not exist.
    NotFound = 5, "NOT_FOUND";
    /// Something to be created exists already.
    AlreadyExists = 6, "ALREADY_EXISTS";
    /// The caller is known and may not do this.
    PermissionDenied = 7, "PERMISSION_DENIED";
    /// A limit or quota is used up; also a message over the size limit.
    ResourceExhausted = 8, "RESOURCE_EXHAUSTED";
    /// The system is not in the state that the call needs; do not retry until it is.
    FailedPrecondition = 9, "FAILED_PRECONDITION";
    /// A conflict, such as a failed transaction; retry at a higher level.
    Aborted = 10, "ABORTED";
    /// Past the valid range, such as reading past the end.
    OutOfRange = 11, "OUT_OF_RANGE";
    /// No such method, or not supported here.
    Unimplemented = 12, "UNIMPLEMENTED";
    /// An invariant is broken.
    Internal = 13, "INTERNAL";
    /// Not able to serve right now; retry with backoff.
    Unavailable = 14, "UNAVAILABLE";
    /// Data is lost or corrupt beyond recovery.
    DataLoss = 15, "DATA_LOSS";
    /// No valid credentials for the call.
    Unauthenticated = 16, "UNAUTHENTICATED";
}

impl Code {
    /// The code with this number, or `None` when there is none.
    pub fn from_number(number: u32) -> Option<Self> {
        usize::try_from(number)
            .ok()
            .and_then(|index| Self::ALL.get(index))
            .copied()
    }

    /// The number, as in `grpc-status`.
    pub const fn number(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_found_by_its_number_and_no_other_number_is_a_code() {
        for (number, code) in (0u32..).zip(Code::ALL) {
            assert_eq!(Code::from_number(number), Some(code));
            assert_eq!(u32::from(code.number()), number);
            assert_eq!(code.decimal(), number.to_string());
        }
        assert_eq!(Code::from_number(17), None);
        assert_eq!(Code::from_number(u32::MAX), None);
    }

    #[test]
    fn a_status_is_one_pointer_wide() {
        assert_eq!(size_of::<Status>(), size_of::<usize>());
        assert_eq!(size_of::<Result<(), Status>>(), size_of::<usize>());
    }
}
