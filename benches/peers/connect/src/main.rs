//! connectrpc as its README writes it: its own server, a multi-thread runtime, requests read through views.
//!
//! `connect ADDR`

#[path = "../../orders.rs"]
mod orders;

mod generated {
    connectrpc::include_generated!();
}

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;

use connectrpc::{
    Encodable, InboundStream, RequestContext, Response, Router, Server, ServiceRequest,
    ServiceResult, ServiceStream,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use generated::proto::{
    Order, OrderSearchParams, StreamImageList, StreamOrderList, StreamService, StreamSumData,
    UploadResponse,
};

struct Service;

#[allow(refining_impl_trait, reason = "as connectrpc's README writes handlers")]
impl StreamService for Service {
    async fn order_list(
        &self,
        _ctx: RequestContext,
        request: ServiceRequest<'_, OrderSearchParams>,
    ) -> ServiceResult<ServiceStream<impl Encodable<StreamOrderList> + Send + use<>>> {
        let orders = (0..orders::count(request.count)).map(|id| {
            Ok(StreamOrderList {
                order: Order {
                    id,
                    orderSn: orders::order_sn(id),
                    date: orders::date(id),
                    ..Default::default()
                }
                .into(),
                ..Default::default()
            })
        });
        Response::stream_ok(stream::iter(orders))
    }

    async fn upload_file(
        &self,
        _ctx: RequestContext,
        mut requests: InboundStream<StreamImageList>,
    ) -> ServiceResult<UploadResponse> {
        let mut count = 0u64;
        while let Some(image) = requests.try_next().await? {
            black_box(image);
            count += 1;
        }
        black_box(count);
        Response::ok(UploadResponse::default())
    }

    async fn sum_data(
        &self,
        _ctx: RequestContext,
        requests: InboundStream<StreamSumData>,
    ) -> ServiceResult<ServiceStream<impl Encodable<StreamSumData> + Send + use<>>> {
        let mut sum = 0i32;
        Response::stream_ok(requests.map(move |data| {
            sum = sum.wrapping_add(data?.view().number);
            Ok(StreamSumData {
                number: sum,
                ..Default::default()
            })
        }))
    }

    async fn echo(
        &self,
        _ctx: RequestContext,
        request: ServiceRequest<'_, StreamSumData>,
    ) -> ServiceResult<StreamSumData> {
        Response::ok(StreamSumData {
            number: request.number,
            ..Default::default()
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let address = std::env::args().nth(1).ok_or("connect ADDR")?;
    let router = Router::new().add_service(Arc::new(Service));
    // Sets TCP_NODELAY itself.
    Server::new(router).serve(address.parse()?).await
}
