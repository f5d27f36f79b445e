//! What can go wrong with an upload, and the status each becomes.
//!
//! In: refusals of ours, and errors of the storage. Out: a [`Status`]. It names no path of the server: the text travels
//! to clients, the log has the rest.

use std::error::Error;
use std::fmt;
use std::io;

use tokio::task::JoinError;

use super::{MAX_DESCRIPTION_BYTES, MAX_FILES, MAX_UPLOADS, NameError};
use crate::status::Status;

/// Why an upload failed.
#[derive(Debug)]
pub enum UploadError {
    /// The name of a file is no name.
    Name {
        /// What was given.
        name: String,
        /// What is wrong with it.
        error: NameError,
    },
    /// A file goes on after another one has begun.
    Returned {
        /// Its name.
        name: String,
    },
    /// The file system does not tell the name from another one of the upload.
    SameName {
        /// The name.
        name: String,
    },
    /// More than [`MAX_FILES`] files.
    TooManyFiles,
    /// More than [`MAX_DESCRIPTION_BYTES`] bytes would describe the files.
    TooLongAnswer,
    /// [`MAX_UPLOADS`] uploads are under way.
    TooManyUploads,
    /// The disk has less room than uploads have to leave.
    NoRoom,
    /// The storage failed.
    Storage(Box<dyn Error + Send + Sync>),
}

impl UploadError {
    /// The error of the operating system below, when there is one.
    fn io_error(&self) -> Option<&io::Error> {
        let Self::Storage(error) = self else {
            return None;
        };
        let mut error: Option<&(dyn Error + 'static)> = Some(error.as_ref());
        while let Some(cause) = error {
            error = match cause.downcast_ref::<io::Error>() {
                // An error that only wraps another says nothing by its own kind, and does not name it as its source.
                Some(outer) if outer.kind() == io::ErrorKind::Other => match outer.get_ref() {
                    Some(inner) => Some(inner),
                    None => outer.source(),
                },
                Some(found) => return Some(found),
                None => cause.source(),
            };
        }
        None
    }
}

/// ENFILE and EMFILE, the same numbers on every Unix; the standard library has no kind for them.
const OUT_OF_FILES: [i32; 2] = [23, 24];

fn is_out_of_files(error: &io::Error) -> bool {
    let number = error.raw_os_error();
    cfg!(unix) && number.is_some_and(|number| OUT_OF_FILES.contains(&number))
}

/// How much there is, or has to be left, is not for clients to know.
const NO_ROOM: &str = "the server has no room for the files";

impl From<object_store::Error> for UploadError {
    fn from(error: object_store::Error) -> Self {
        Self::Storage(Box::new(error))
    }
}

impl From<io::Error> for UploadError {
    fn from(error: io::Error) -> Self {
        Self::Storage(Box::new(error))
    }
}

impl From<JoinError> for UploadError {
    fn from(error: JoinError) -> Self {
        Self::Storage(Box::new(error))
    }
}

impl fmt::Display for UploadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { name, error } => {
                write!(f, "fileName {name:?} is not a file name: {error}")
            }
            Self::Returned { name } => write!(
                f,
                "file {name:?} comes back after another file: the parts of a file must follow one another"
            ),
            Self::SameName { name } => write!(
                f,
                "the storage does not tell {name:?} from the name of another file of this upload"
            ),
            Self::TooManyFiles => write!(
                f,
                "more than {MAX_FILES} files in one upload: make several uploads"
            ),
            Self::TooLongAnswer => write!(
                f,
                "the names of the files are too long for one answer (more than {MAX_DESCRIPTION_BYTES} bytes): make \
                 several uploads"
            ),
            Self::TooManyUploads => write!(
                f,
                "{MAX_UPLOADS} uploads are under way, and that is the limit: try again later"
            ),
            Self::NoRoom => f.write_str(NO_ROOM),
            Self::Storage(error) => write!(f, "the storage failed: {error}"),
        }
    }
}

impl Error for UploadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Storage(error) => Some(error.as_ref()),
            _ => None,
        }
    }
}

impl From<&UploadError> for Status {
    fn from(error: &UploadError) -> Self {
        match error {
            UploadError::Name { .. }
            | UploadError::Returned { .. }
            | UploadError::SameName { .. } => Self::invalid_argument(error.to_string()),
            UploadError::TooManyFiles
            | UploadError::TooLongAnswer
            | UploadError::TooManyUploads
            | UploadError::NoRoom => Self::resource_exhausted(error.to_string()),
            UploadError::Storage(_) => match error.io_error().map(|error| (error.kind(), error)) {
                Some((_, error)) if is_out_of_files(error) => {
                    Self::resource_exhausted("the server has too many files open: try again later")
                }
                Some((io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded, _)) => {
                    Self::resource_exhausted(NO_ROOM)
                }
                Some((io::ErrorKind::FileTooLarge, _)) => {
                    Self::resource_exhausted("the file is larger than the server's storage takes")
                }
                Some((io::ErrorKind::InvalidFilename, _)) => Self::invalid_argument(
                    "the server's storage does not take the name of the file",
                ),
                Some((kind, _)) => Self::internal(format!(
                    "the server's storage failed ({kind}): its log says where"
                )),
                None => Self::unavailable("the server's storage failed: its log says how"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Code;

    #[test]
    fn the_cause_decides_the_code_however_deep_it_lies() {
        for (kind, code) in [
            (io::ErrorKind::StorageFull, Code::ResourceExhausted),
            (io::ErrorKind::QuotaExceeded, Code::ResourceExhausted),
            (io::ErrorKind::FileTooLarge, Code::ResourceExhausted),
            (io::ErrorKind::InvalidFilename, Code::InvalidArgument),
            (io::ErrorKind::PermissionDenied, Code::Internal),
        ] {
            let outer = object_store::Error::Generic {
                store: "test",
                source: Box::new(io::Error::other(io::Error::from(kind))),
            };
            for error in [io::Error::from(kind).into(), UploadError::from(outer)] {
                assert_eq!(Status::from(&error).code(), code, "{error}");
            }
        }
        let full = UploadError::from(io::Error::from_raw_os_error(OUT_OF_FILES[1]));
        assert_eq!(Status::from(&full).code(), Code::ResourceExhausted);
        let unknown = object_store::Error::NotImplemented {
            operation: "put".into(),
            implementer: "test".into(),
        };
        let status = Status::from(&UploadError::from(unknown));
        assert_eq!(status.code(), Code::Unavailable);
    }
}
