//! The service of the simulation: an export, an upload, a sum and an echo, on memory alone.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use streamway::codec::RawMessage;
use streamway::server::{CallFuture, Rpc, Service};
use streamway::{Call, Method, MethodKind, Sender, Status, Streaming};
use tokio::time::sleep;

pub(crate) const EXPORT: Method = Method::new("/sim.S/Export", MethodKind::ServerStreaming);
pub(crate) const UPLOAD: Method = Method::new("/sim.S/Upload", MethodKind::ClientStreaming);
pub(crate) const SUM: Method = Method::new("/sim.S/Sum", MethodKind::Unary);
pub(crate) const ECHO: Method = Method::new("/sim.S/Echo", MethodKind::Bidi);

const METHODS: &[Method] = &[EXPORT, UPLOAD, SUM, ECHO];

/// What is asked of an export.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// How long the handler pauses before every eighth message.
    pub(crate) pause_millis: u64,
}

impl Order {
    pub(crate) fn message(self) -> RawMessage {
        numbers(&[self.messages, self.bytes, self.pause_millis])
    }

    /// The message at a place of the export.
    pub(crate) fn row(self, place: u64) -> RawMessage {
        let mut row = BytesMut::new();
        row.put_u64(place);
        row.put_bytes(place as u8, self.bytes as usize);
        RawMessage(row.freeze())
    }
}

/// What was uploaded, and what handlers hold. It outlives the server, as a disk does.
#[derive(Debug, Default)]
pub(crate) struct Books {
    pub(crate) stored: Mutex<BTreeMap<u64, Bytes>>,
    pub(crate) handlers: AtomicUsize,
}

impl Books {
    fn store(&self, name: u64, whole: Bytes) {
        let mut stored = self.stored.lock().expect("one thread");
        stored.insert(name, whole);
    }
}

/// A handler while it runs.
struct Running(Arc<Books>);

impl Running {
    fn new(books: &Arc<Books>) -> Self {
        books.handlers.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(books))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.handlers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Clone)]
pub(crate) struct Simulated(pub(crate) Arc<Books>);

impl Simulated {
    async fn handle(
        &self,
        index: usize,
        rx: &mut Streaming<RawMessage>,
        tx: &mut Sender<RawMessage>,
    ) -> Result<(), Status> {
        let _running = Running::new(&self.0);
        match METHODS.get(index) {
            Some(&EXPORT) => {
                let mut asked = rx.only().await?.0;
                let order = Order {
                    messages: asked.get_u64(),
                    bytes: asked.get_u64(),
                    pause_millis: asked.get_u64(),
                };
                for place in 0..order.messages {
                    if order.pause_millis > 0 && place % 8 == 7 {
                        sleep(Duration::from_millis(order.pause_millis)).await;
                    }
                    tx.send(&order.row(place)).await?;
                }
                Ok(())
            }
            Some(&UPLOAD) => {
                let Some(RawMessage(mut name)) = rx.message().await? else {
                    return Err(Status::invalid_argument("an upload begins with its name"));
                };
                let mut parts = BytesMut::new();
                while let Some(RawMessage(part)) = rx.message().await? {
                    parts.extend_from_slice(&part);
                }
                let whole = parts.freeze();
                let answer = numbers(&[whole.len() as u64]);
                self.0.store(name.get_u64(), whole);
                tx.send(&answer).await
            }
            Some(&SUM) => {
                let mut asked = rx.only().await?.0;
                sleep(Duration::from_millis(asked.get_u64())).await;
                let mut sum = 0u64;
                while asked.has_remaining() {
                    sum = sum.wrapping_add(asked.get_u64());
                }
                tx.send(&numbers(&[sum])).await
            }
            Some(&ECHO) => {
                while let Some(message) = rx.message().await? {
                    tx.send(&message).await?;
                }
                Ok(())
            }
            _ => Err(Status::internal("no such index")),
        }
    }
}

impl Service for Simulated {
    fn methods(&self) -> &'static [Method] {
        METHODS
    }

    fn call(&self, index: usize, rpc: Rpc) -> CallFuture {
        let service = self.clone();
        let (_call, mut rx, mut tx, runner): (Call, _, _, _) = rpc.open();
        Box::pin(runner.run(async move { service.handle(index, &mut rx, &mut tx).await }))
    }
}

pub(crate) fn numbers(numbers: &[u64]) -> RawMessage {
    let mut bytes = BytesMut::new();
    for &number in numbers {
        bytes.put_u64(number);
    }
    RawMessage(bytes.freeze())
}
