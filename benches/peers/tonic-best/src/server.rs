//! tonic at its best: a current-thread runtime, `futures::stream::iter`, no boxed streams.
//!
//! `tonic-best ADDR`

#[path = "../../orders.rs"]
mod orders;

mod proto {
    tonic::include_proto!("proto");
}

use std::error::Error;

use futures_util::stream::{self, Iter, Map};
use futures_util::{StreamExt, TryStreamExt};
use proto::stream_service_server::{StreamService, StreamServiceServer};
use proto::{
    Order, OrderSearchParams, StreamImageList, StreamOrderList, StreamSumData, UploadResponse,
};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

struct Service;

type Orders =
    Iter<std::iter::Map<std::ops::Range<i32>, fn(i32) -> Result<StreamOrderList, Status>>>;
type Answer = Box<dyn FnMut(Result<StreamSumData, Status>) -> Result<StreamSumData, Status> + Send>;

fn order(id: i32) -> Result<StreamOrderList, Status> {
    Ok(StreamOrderList {
        order: Some(Order {
            id,
            order_sn: orders::order_sn(id),
            date: orders::date(id),
        }),
    })
}

#[tonic::async_trait]
impl StreamService for Service {
    type OrderListStream = Orders;
    type SumDataStream = Map<Streaming<StreamSumData>, Answer>;

    async fn order_list(
        &self,
        request: Request<OrderSearchParams>,
    ) -> Result<Response<Self::OrderListStream>, Status> {
        let make: fn(i32) -> Result<StreamOrderList, Status> = order;
        let orders = (0..orders::count(request.get_ref().count)).map(make);
        Ok(Response::new(stream::iter(orders)))
    }

    async fn upload_file(
        &self,
        request: Request<Streaming<StreamImageList>>,
    ) -> Result<Response<UploadResponse>, Status> {
        let mut images = request.into_inner();
        let mut count = 0u64;
        while let Some(image) = images.try_next().await? {
            std::hint::black_box(image);
            count += 1;
        }
        std::hint::black_box(count);
        Ok(Response::new(UploadResponse {}))
    }

    async fn sum_data(
        &self,
        request: Request<Streaming<StreamSumData>>,
    ) -> Result<Response<Self::SumDataStream>, Status> {
        let mut sum = 0i32;
        let answer: Answer = Box::new(move |data| {
            sum = sum.wrapping_add(data?.number);
            Ok(StreamSumData { number: sum })
        });
        Ok(Response::new(request.into_inner().map(answer)))
    }

    async fn echo(
        &self,
        request: Request<StreamSumData>,
    ) -> Result<Response<StreamSumData>, Status> {
        Ok(Response::new(request.into_inner()))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("tonic-best ADDR")?;
    // Sets TCP_NODELAY by default.
    Server::builder()
        .add_service(StreamServiceServer::new(Service))
        .serve(address.parse()?)
        .await?;
    Ok(())
}
