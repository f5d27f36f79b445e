//! The streaming service: orders out, images in, numbers both ways.
//!
//! In: a store of orders, a storage of images. Out: a [`StreamService`]. A file for each method. Not here: where orders
//! and images are kept (`store`, `objects`).

mod order_list;
mod sum_data;
mod upload_file;

use tokio::sync::Semaphore;

use crate::call::{Call, Sender, Streaming};
use crate::objects::Images;
use crate::proto::stream_service::StreamService;
use crate::proto::{
    OrderSearchParams, StreamImageList, StreamOrderList, StreamSumData, UploadResponse,
};
use crate::status::Status;
use crate::store::OrderStore;

/// The service on a store of orders and a storage of images.
#[derive(Debug)]
pub struct Streams<S> {
    orders: S,
    images: Images,
    /// What large pages take.
    large_places: Semaphore,
}

impl<S: OrderStore> Streams<S> {
    /// The service on these.
    pub fn new(orders: S, images: Images) -> Self {
        Self {
            orders,
            images,
            large_places: Semaphore::new(order_list::LARGE_PLACES),
        }
    }

    /// The orders it exports.
    pub fn orders(&self) -> &S {
        &self.orders
    }
}

impl<S: OrderStore> StreamService for Streams<S> {
    async fn order_list(
        &self,
        _call: &Call,
        request: OrderSearchParams,
        tx: &mut Sender<StreamOrderList>,
    ) -> Result<(), Status> {
        order_list::order_list(&self.orders, &self.large_places, &request, tx).await
    }

    async fn upload_file(
        &self,
        _call: &Call,
        rx: &mut Streaming<StreamImageList>,
    ) -> Result<UploadResponse, Status> {
        upload_file::upload_file(&self.images, rx).await
    }

    async fn sum_data(
        &self,
        _call: &Call,
        rx: &mut Streaming<StreamSumData>,
        tx: &mut Sender<StreamSumData>,
    ) -> Result<(), Status> {
        sum_data::sum_data(rx, tx).await
    }
}
