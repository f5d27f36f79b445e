//! What nobody can go below: bare h2 with bytes encoded beforehand, a prototype that only answers, plain TCP; encoding, decoding and
//! reading a store, each alone.
//!
//! `floor h2 ADDR`, `floor prototype ADDR`, `floor tcp ADDR`, `floor tcp-client ADDR EXPORTS`, `floor encode EXPORTS`, `floor decode EXPORTS`,
//! `floor sqlite EXPORTS FILE`

#[path = "../../orders.rs"]
mod orders;
mod prototype;
mod server;
mod sqlite;
#[path = "../../usage.rs"]
mod usage;

mod proto {
    #![allow(
        dead_code,
        reason = "the service has more messages than are encoded here"
    )]
    include!(concat!(env!("OUT_DIR"), "/proto.rs"));
}

use std::error::Error;
use std::hint::black_box;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;
use proto::StreamOrderList;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use usage::Usage;

/// The payload of a full DATA frame.
const CHUNK: usize = 16 * 1024;
/// Compressed flag and length.
const PREFIX: usize = 5;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["h2", address] => server::h2(address).await?,
        ["prototype", address] => prototype::serve(address).await?,
        ["tcp", address] => server::tcp(address).await?,
        ["tcp-client", address, exports] => tcp_client(address, exports.parse()?).await?,
        ["encode", exports] => {
            let mut buffer = BytesMut::with_capacity(2 * CHUNK);
            let usage = Usage::start();
            for _ in 0..exports.parse::<u32>()? {
                encode(&mut buffer, |chunk| drop(black_box(chunk)));
            }
            usage.report(0, Vec::new());
        }
        ["decode", exports] => {
            let export = Bytes::from(export().concat());
            // As our client does: into one message.
            let mut message = StreamOrderList::default();
            let usage = Usage::start();
            for _ in 0..exports.parse::<u32>()? {
                let mut rest = &export[..];
                while rest.len() > PREFIX {
                    rest.advance(1);
                    let length = rest.get_u32() as usize;
                    let (payload, behind) = rest.split_at(length);
                    message.merge(payload)?;
                    black_box(&message);
                    if let Some(order) = &mut message.order {
                        order.clear();
                    }
                    rest = behind;
                }
            }
            usage.report(0, Vec::new());
        }
        ["sqlite", exports, file] => {
            let connection = sqlite::open(file)?;
            let usage = Usage::start();
            for _ in 0..exports.parse::<u32>()? {
                black_box(sqlite::read(&connection)?);
            }
            usage.report(0, Vec::new());
        }
        _ => {
            return Err(
                "floor h2|prototype|tcp ADDR, tcp-client ADDR EXPORTS, encode|decode EXPORTS, sqlite EXPORTS FILE"
                    .into(),
            );
        }
    }
    Ok(())
}

/// All frames of an export, in chunks as DATA has them.
fn export() -> Vec<Bytes> {
    let mut chunks = Vec::new();
    encode(&mut BytesMut::new(), |chunk| chunks.push(chunk));
    chunks
}

/// Makes and encodes every order, in the way that our server does: in one message. Hands out full chunks.
fn encode(buffer: &mut BytesMut, mut chunk: impl FnMut(Bytes)) {
    let mut message = StreamOrderList::default();
    for id in 0..orders::count(0) {
        let order = message.order.get_or_insert_default();
        order.id = id;
        orders::write_order_sn(&mut order.order_sn, id);
        orders::write_date(&mut order.date, id);
        buffer.put_u8(0);
        buffer.put_u32(message.encoded_len() as u32);
        message.encode_raw(buffer);
        if buffer.len() >= CHUNK {
            chunk(buffer.split_to(CHUNK).freeze());
            buffer.reserve(2 * CHUNK);
        }
    }
    chunk(buffer.split().freeze());
}

/// Reads exports of a TCP server: a byte asks for one.
async fn tcp_client(address: &str, exports: u64) -> Result<(), Box<dyn Error + Send + Sync>> {
    let length: usize = export().iter().map(Bytes::len).sum();
    let mut socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let mut buffer = vec![0; 64 * 1024];
    let usage = Usage::start();
    for _ in 0..exports {
        socket.write_all(&[0]).await?;
        let mut left = length;
        while left > 0 {
            match socket.read(&mut buffer).await? {
                0 => return Err("the server ended early".into()),
                read => left -= read,
            }
        }
    }
    usage.report(exports * orders::count(0).unsigned_abs() as u64, Vec::new());
    Ok(())
}
