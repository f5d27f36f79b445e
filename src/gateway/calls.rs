//! The three exchanges, as a first caller of the service makes them.
//!
//! In: a client of the service. Out: what the routes answer. Not here: HTTP.

use std::time::Duration;

use serde::Serialize;
use tokio::time::timeout;

use crate::export::{Export, Format};
use crate::proto::stream_service::StreamServiceClient;
use crate::proto::{Image, OrderSearchParams, StreamImageList, StreamSumData, UploadResponse};
use crate::status::Status;

/// How long an exchange of a few messages may take, and how long an export may be silent before its first order. 30 s:
/// a caller learns what is wrong before it gives up by itself.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Images in one `/testUploadImage`.
const IMAGES: u32 = 10;

/// What each of them holds.
const IMAGE_TEXT: &str = "file data";

/// Numbers in one `/testSumData`: from 1 to this.
const NUMBERS: i32 = 10;

/// The service, behind its client.
#[derive(Debug)]
pub(super) struct Backend {
    service: StreamServiceClient,
}

/// The answer of `/testUploadImage`.
#[derive(Serialize)]
pub(super) struct Uploaded {
    message: &'static str,
    result: Receipt,
}

/// An `UploadResponse`. A server of the service's first form says nothing of the files, and neither does this then.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Receipt {
    #[serde(skip_serializing_if = "Option::is_none")]
    file_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    byte_count: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<StoredFile>,
}

#[derive(Serialize)]
struct StoredFile {
    name: String,
    size: u64,
    sha256: String,
    url: String,
}

/// The answer of `/testSumData`.
#[derive(Serialize)]
pub(super) struct Summed {
    /// The counter that the server had sent before each number.
    numbers: Vec<i32>,
}

impl Backend {
    pub(super) fn new(service: StreamServiceClient) -> Self {
        Self { service }
    }

    /// Begins an export: waits for the first orders, so that a call that fails at once still has its HTTP status.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the call.
    pub(super) async fn order_list(
        &self,
        search: OrderSearchParams,
    ) -> Result<(Option<Vec<u8>>, Export), Status> {
        let begin = async {
            let orders = self.service.order_list(search).start().await?;
            let mut export = Export::new(orders, Format::Ndjson);
            let first = export.next().await?;
            Ok((first, export))
        };
        timeout(CALL_TIMEOUT, begin).await.unwrap_or_else(|_| {
            Err(Status::deadline_exceeded(format!(
                "no order came in {CALL_TIMEOUT:?}"
            )))
        })
    }

    /// Sends image1, image2, ….
    ///
    /// # Cancel safety
    /// Dropping the future cancels the call, and nothing is stored.
    pub(super) async fn upload_images(&self) -> Result<Uploaded, Status> {
        let request = self.service.upload_file().timeout(CALL_TIMEOUT);
        let mut upload = request.start().await?;
        for number in 1..=IMAGES {
            let image = Image {
                file_name: format!("image{number}"),
                file: IMAGE_TEXT.to_owned(),
                ..Image::default()
            };
            upload.send(&StreamImageList { image: Some(image) }).await?;
        }
        let response = upload.finish().await?;
        Ok(Uploaded {
            message: "success",
            result: Receipt::from(response),
        })
    }

    /// Sends 1, 2, …, each after the server's counter.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the call.
    pub(super) async fn sum_data(&self) -> Result<Summed, Status> {
        let request = self.service.sum_data().timeout(CALL_TIMEOUT);
        let (mut tx, mut rx) = request.start().await?.split();
        let mut numbers = Vec::new();
        for number in 1..=NUMBERS {
            let Some(answer) = rx.message().await? else {
                return Err(Status::internal("the server ended before the numbers did"));
            };
            numbers.push(answer.number);
            let sent = StreamSumData {
                number,
                ..StreamSumData::default()
            };
            if let Err(error) = tx.send(&sent).await {
                // The call has ended; the receiving half knows how.
                while rx.message().await?.is_some() {}
                return Err(error);
            }
        }
        tx.finish();
        while rx.message().await?.is_some() {}
        Ok(Summed { numbers })
    }
}

impl From<UploadResponse> for Receipt {
    fn from(response: UploadResponse) -> Self {
        let told = response != UploadResponse::default();
        let files = response.files.into_iter().map(|file| StoredFile {
            name: file.name,
            size: file.size,
            sha256: file.sha256,
            url: file.url,
        });
        Self {
            file_count: told.then_some(response.file_count),
            byte_count: told.then_some(response.byte_count),
            files: files.collect(),
        }
    }
}
