//! UploadFile: images in, until the client half-closes.
//!
//! In: parts of files, one file after the other. Out: what was stored. Not here: how it is all or nothing (`objects`).

use std::fmt::Write as _;

use bytes::Bytes;

use crate::call::Streaming;
use crate::objects::{Images, StoredFile, Upload, UploadError};
use crate::proto::upload_response::File;
use crate::proto::{StreamImageList, UploadResponse};
use crate::status::Status;

/// Dropping the future removes what was stored.
pub(super) async fn upload_file(
    images: &Images,
    rx: &mut Streaming<StreamImageList>,
) -> Result<UploadResponse, Status> {
    let mut upload = images.upload().map_err(|error| refusal(&error))?;
    match receive(&mut upload, rx).await {
        Ok(response) => Ok(response),
        Err(status) => {
            // Before the client learns of it, nothing is left.
            upload.discard().await;
            Err(status)
        }
    }
}

async fn receive(
    upload: &mut Upload,
    rx: &mut Streaming<StreamImageList>,
) -> Result<UploadResponse, Status> {
    // An end that is no half-close is an error here: what a client that was cut has sent is not stored.
    while let Some(message) = rx.message().await? {
        store(upload, message).await?;
    }
    let files = upload.finish().await.map_err(|error| refusal(&error))?;
    Ok(response(files))
}

async fn store(upload: &mut Upload, message: StreamImageList) -> Result<(), Status> {
    let Some(image) = message.image else {
        return Err(Status::invalid_argument("a message without an image"));
    };
    for bytes in [Bytes::from(image.file), Bytes::from(image.content)] {
        // Also when both are empty: a file may be empty.
        let written = upload.write(&image.file_name, bytes).await;
        written.map_err(|error| refusal(&error))?;
    }
    Ok(())
}

fn refusal(error: &UploadError) -> Status {
    if let UploadError::Storage(cause) = error {
        tracing::error!(error = cause.as_ref(), "images cannot be stored");
    }
    Status::from(error)
}

fn response(files: Vec<StoredFile>) -> UploadResponse {
    UploadResponse {
        file_count: files.len() as u64,
        byte_count: files.iter().map(|file| file.size).sum(),
        files: files.into_iter().map(described).collect(),
    }
}

fn described(file: StoredFile) -> File {
    File {
        name: file.name,
        size: file.size,
        sha256: hex(&file.sha256),
        url: file.url,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a String takes everything");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::MessageLimits;
    use crate::objects::{MAX_DESCRIPTION_BYTES, MAX_FILES};

    #[test]
    fn the_longest_answer_fits_what_every_client_receives() {
        // As objects counts: name, URL, and a fixed part that the rest must fit.
        let file = |name: String| StoredFile {
            url: format!("file:///images/{name}"),
            name,
            size: 1 << 40,
            sha256: [0xFF; 32],
        };
        for files in [MAX_FILES, 4000] {
            let name = (MAX_DESCRIPTION_BYTES / files - 96 - "file:///images/".len()) / 2;
            let response = response(vec![file("x".repeat(name)); files]);
            let size = prost::Message::encoded_len(&response);
            assert!(size <= MessageLimits::DEFAULT_MAX_RECV_BYTES, "{size}");
            assert!(size > MAX_DESCRIPTION_BYTES * 9 / 10, "{size}");
        }
    }

    #[test]
    fn sums_are_in_lower_case_hex() {
        assert_eq!(hex(&[0x00, 0x0F, 0xA5, 0xFF]), "000fa5ff");
    }
}
