//! A stream service that does as it is told, on a thread of its own, for the command line and the HTTP front.

use std::iter;
use std::net::TcpListener as StdListener;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use sha2::{Digest, Sha256};
use streamway::health::{Health, ServingStatus};
use streamway::proto::stream_service::{StreamService, StreamServiceServer};
use streamway::proto::upload_response::File;
use streamway::proto::{
    Order, OrderSearchParams, StreamImageList, StreamOrderList, StreamSumData, UploadResponse,
};
use streamway::{Call, Sender, Server, Status, Streaming};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

/// What the service does.
#[derive(Clone)]
pub(crate) struct Script {
    /// How many orders there are.
    pub(crate) orders: i32,
    /// How many bytes longer than usual an order is.
    pub(crate) padding: usize,
    /// How an export ends, once it has sent what it was asked for.
    pub(crate) end: End,
    /// What an upload is answered.
    pub(crate) receipt: fn(Vec<File>) -> UploadResponse,
    /// What the server says of its health.
    pub(crate) health: ServingStatus,
}

#[derive(Clone)]
pub(crate) enum End {
    Ok,
    Fail(Status),
    Hang,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            orders: 3,
            padding: 0,
            end: End::Ok,
            receipt,
            health: ServingStatus::Serving,
        }
    }
}

/// An honest receipt.
pub(crate) fn receipt(files: Vec<File>) -> UploadResponse {
    UploadResponse {
        file_count: files.len() as u64,
        byte_count: files.iter().map(|file| file.size).sum(),
        files,
    }
}

/// The order with this id.
pub(crate) fn order(id: i32) -> Order {
    Order {
        id,
        order_sn: format!("sn-{id}"),
        date: "2024-01-01 00:00:00".to_owned(),
    }
}

/// The line of the order with this id.
pub(crate) fn line(id: i32) -> String {
    format!(
        "{{\"order\":{{\"id\":{id},\"orderSn\":\"sn-{id}\",\"date\":\"2024-01-01 00:00:00\"}}}}\n"
    )
}

/// What the service has seen.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// An export began.
    Export,
    /// The handler of an export was dropped before its end.
    ExportDropped,
    /// An upload ended: how many messages it had.
    Upload(usize),
}

/// A running service. Dropping it ends it.
pub(crate) struct Backend {
    pub(crate) address: String,
    pub(crate) seen: mpsc::Receiver<Seen>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Backend {
    pub(crate) fn start(script: Script) -> Self {
        let listener = StdListener::bind("127.0.0.1:0").expect("loopback");
        let address = format!("http://{}", listener.local_addr().expect("bound"));
        let (saw, seen) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let health = Health::new();
        health.set("", script.health);
        let server = Server::new()
            .add_service(health.service())
            .add_service(StreamServiceServer::new(Scripted { script, saw }));
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let thread = thread::spawn(move || {
            runtime.block_on(async {
                listener.set_nonblocking(true).expect("a socket");
                let listener = TcpListener::from_std(listener).expect("a socket");
                tokio::select! {
                    served = server.serve(listener, std::future::pending()) => {
                        served.expect("legal services");
                    }
                    _ = stopped => {}
                }
            });
        });
        Self {
            address,
            seen,
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of its thread has been printed.
            let _ = thread.join();
        }
    }
}

struct Scripted {
    script: Script,
    saw: mpsc::Sender<Seen>,
}

impl Scripted {
    fn see(&self, seen: Seen) {
        // The test may have seen enough.
        let _ = self.saw.send(seen);
    }
}

/// Tells of a handler that is dropped before its end.
struct Unfinished<'a>(Option<&'a Scripted>);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(service) = self.0 {
            service.see(Seen::ExportDropped);
        }
    }
}

impl StreamService for Scripted {
    async fn order_list(
        &self,
        _: &Call,
        search: OrderSearchParams,
        tx: &mut Sender<StreamOrderList>,
    ) -> Result<(), Status> {
        self.see(Seen::Export);
        let mut unfinished = Unfinished(Some(self));
        let first = search.after_id.map_or(0, |id| id + 1);
        let limit = match search.limit {
            0 => usize::MAX,
            limit => limit as usize,
        };
        for id in (first..self.script.orders).take(limit) {
            let mut order = order(id);
            order
                .order_sn
                .extend(iter::repeat_n('x', self.script.padding));
            tx.send(&StreamOrderList { order: Some(order) }).await?;
        }
        if matches!(self.script.end, End::Hang) {
            std::future::pending::<()>().await;
        }
        unfinished.0 = None;
        match &self.script.end {
            End::Fail(status) => Err(status.clone()),
            End::Ok | End::Hang => Ok(()),
        }
    }

    async fn upload_file(
        &self,
        _: &Call,
        rx: &mut Streaming<StreamImageList>,
    ) -> Result<UploadResponse, Status> {
        let mut files: Vec<(File, Sha256)> = Vec::new();
        let mut messages = 0;
        while let Some(message) = rx.message().await? {
            messages += 1;
            let image = message.image.unwrap_or_default();
            if files
                .last()
                .is_none_or(|(file, _)| file.name != image.file_name)
            {
                let url = format!("test:///{}", image.file_name);
                let file = File {
                    name: image.file_name,
                    url,
                    ..File::default()
                };
                files.push((file, Sha256::new()));
            }
            let (file, hash) = files.last_mut().expect("just pushed");
            for bytes in [image.file.as_bytes(), image.content.as_ref()] {
                file.size += bytes.len() as u64;
                hash.update(bytes);
            }
        }
        self.see(Seen::Upload(messages));
        let files = files.into_iter().map(|(mut file, hash)| {
            file.sha256 = hash
                .finalize()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            file
        });
        Ok((self.script.receipt)(files.collect()))
    }

    async fn sum_data(
        &self,
        _: &Call,
        rx: &mut Streaming<StreamSumData>,
        tx: &mut Sender<StreamSumData>,
    ) -> Result<(), Status> {
        let mut answer = StreamSumData::default();
        tx.send(&answer).await?;
        while let Some(StreamSumData { number, .. }) = rx.message().await? {
            if number == i32::MAX {
                return Err(Status::out_of_range("too much"));
            }
            answer = StreamSumData {
                number: answer.number + 1,
                sum: i64::from(answer.number) + i64::from(number),
                total: answer.total + i64::from(number),
            };
            tx.send(&answer).await?;
        }
        Ok(())
    }
}
