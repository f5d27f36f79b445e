//! What a client may call a file.
//!
//! In: text. Out: nothing, or why it is no name. A name is never a path: it is taken as it is, in one folder, so that
//! the file is found under exactly the name it was given.

use std::error::Error;
use std::fmt;

/// Bytes of a name, at most: what file systems take.
const MAX_NAME_BYTES: usize = 255;

/// Why a text is no file name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// Empty.
    Empty,
    /// `.` or `..`.
    Dots,
    /// With `/` or `\`.
    Separator,
    /// With a control character.
    Control,
    /// More than 255 bytes.
    TooLong {
        /// How many.
        bytes: usize,
    },
}

/// Whether `name` is a name.
pub(super) fn check(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(NameError::TooLong { bytes: name.len() });
    }
    if name == "." || name == ".." {
        return Err(NameError::Dots);
    }
    if name.contains(['/', '\\']) {
        return Err(NameError::Separator);
    }
    if name.contains(char::is_control) {
        return Err(NameError::Control);
    }
    Ok(())
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty"),
            Self::Dots => f.write_str("it names a folder"),
            Self::Separator => f.write_str("it is a path"),
            Self::Control => f.write_str("it has a control character"),
            Self::TooLong { bytes } => {
                write!(f, "it has {bytes} bytes, the limit is {MAX_NAME_BYTES}")
            }
        }
    }
}

impl Error for NameError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_name_and_never_a_path() {
        let longest = "é".repeat(127) + "a";
        for name in [
            "a",
            "image 1.png",
            "...",
            ".hidden",
            "..a",
            "~",
            "100%",
            "%2F",
            "a#1",
            "日本.png",
            "a:b*?\"<>|",
            " ",
            &longest,
        ] {
            assert_eq!(check(name), Ok(()), "{name:?}");
        }
        for (name, error) in [
            ("", NameError::Empty),
            (".", NameError::Dots),
            ("..", NameError::Dots),
            ("a/b", NameError::Separator),
            ("/", NameError::Separator),
            ("../a", NameError::Separator),
            ("..\\a", NameError::Separator),
            ("C:\\a", NameError::Separator),
            ("a\0", NameError::Control),
            ("a\nb", NameError::Control),
            ("\u{7f}", NameError::Control),
            ("\u{85}", NameError::Control),
            (&"é".repeat(128), NameError::TooLong { bytes: 256 }),
        ] {
            assert_eq!(check(name), Err(error), "{name:?}");
        }
    }
}
