//! tonic as people write it: a multi-thread runtime, `tokio_stream::iter`, boxed streams, `try_stream!`.
//!
//! `tonic-written ADDR`

#[path = "../../orders.rs"]
mod orders;

mod proto {
    tonic::include_proto!("proto");
}

use std::error::Error;
use std::pin::Pin;

use proto::stream_service_server::{StreamService, StreamServiceServer};
use proto::{
    Order, OrderSearchParams, StreamImageList, StreamOrderList, StreamSumData, UploadResponse,
};
use tokio_stream::{Stream, StreamExt};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

type Boxed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

struct Service;

#[tonic::async_trait]
impl StreamService for Service {
    type OrderListStream = Boxed<StreamOrderList>;
    type SumDataStream = Boxed<StreamSumData>;

    async fn order_list(
        &self,
        request: Request<OrderSearchParams>,
    ) -> Result<Response<Self::OrderListStream>, Status> {
        let orders = (0..orders::count(request.get_ref().count)).map(|id| {
            Ok(StreamOrderList {
                order: Some(Order {
                    id,
                    order_sn: orders::order_sn(id),
                    date: orders::date(id),
                }),
            })
        });
        Ok(Response::new(Box::pin(tokio_stream::iter(orders))))
    }

    async fn upload_file(
        &self,
        request: Request<Streaming<StreamImageList>>,
    ) -> Result<Response<UploadResponse>, Status> {
        let mut images = request.into_inner();
        let mut count = 0u64;
        while let Some(image) = images.next().await {
            std::hint::black_box(image?);
            count += 1;
        }
        std::hint::black_box(count);
        Ok(Response::new(UploadResponse {}))
    }

    async fn sum_data(
        &self,
        request: Request<Streaming<StreamSumData>>,
    ) -> Result<Response<Self::SumDataStream>, Status> {
        let mut numbers = request.into_inner();
        let sums = async_stream::try_stream! {
            let mut sum = 0i32;
            while let Some(data) = numbers.next().await {
                sum = sum.wrapping_add(data?.number);
                yield StreamSumData { number: sum };
            }
        };
        Ok(Response::new(Box::pin(sums)))
    }

    async fn echo(
        &self,
        request: Request<StreamSumData>,
    ) -> Result<Response<StreamSumData>, Status> {
        Ok(Response::new(request.into_inner()))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("tonic-written ADDR")?;
    // Sets TCP_NODELAY by default.
    Server::builder()
        .add_service(StreamServiceServer::new(Service))
        .serve(address.parse()?)
        .await?;
    Ok(())
}
