//! Server reflection: a running server tells its services and their .proto files, to `grpcurl` for instance.
//!
//! In: encoded descriptor sets. Out: the services `grpc.reflection.v1.ServerReflection` and its older twin
//! `v1alpha`, which have the same messages on the wire and so the same implementation. Not here: what each question
//! means (`answer`), what is found where (`index`), and which services the server has: it lists what it is given.
//!
//! ```
//! # fn main() -> Result<(), streamway::codec::DecodeError> {
//! use streamway::{Server, health, reflection::Reflection};
//!
//! let reflection = Reflection::new([health::proto::FILE_DESCRIPTOR_SET])?;
//! let server = Server::new().add_service(reflection.service());
//! # drop(server);
//! # Ok(())
//! # }
//! ```

mod answer;
mod index;
pub mod proto;

use std::sync::Arc;

use bytes::Bytes;

use self::answer::Answers;
use self::index::Index;
use self::proto::v1::{ServerReflectionRequest, ServerReflectionResponse};
use self::proto::{v1, v1alpha};
use crate::call::{Call, Sender, Streaming};
use crate::codec::DecodeError;
use crate::method::Method;
use crate::server::{CallFuture, Rpc, Service};
use crate::status::Status;

/// The services and files that a server makes known. Clones share them.
#[derive(Clone, Debug)]
pub struct Reflection {
    index: Arc<Index>,
}

impl Reflection {
    /// Makes known the files of these sets, and reflection's own.
    ///
    /// A set is an encoded `google.protobuf.FileDescriptorSet`, as `codegen::Builder::file_descriptor_set`
    /// writes it and [`crate::health::proto::FILE_DESCRIPTOR_SET`] is one. Every service in it is listed. A file that
    /// is in several sets is taken from the first.
    ///
    /// # Errors
    /// When a set is none.
    pub fn new(sets: impl IntoIterator<Item = impl Into<Bytes>>) -> Result<Self, DecodeError> {
        let mut index = Index::default();
        for set in sets {
            index.add(set.into())?;
        }
        index.add(Bytes::from_static(proto::FILE_DESCRIPTOR_SET))?;
        Ok(Self {
            index: Arc::new(index),
        })
    }

    /// Both versions of the service, for [`Server::add_service`](crate::Server::add_service).
    pub fn service(&self) -> ReflectionServer {
        ReflectionServer {
            v1: v1::server_reflection::ServerReflectionServer::new(self.clone()),
            v1alpha: v1alpha::server_reflection::ServerReflectionServer::new(self.clone()),
        }
    }

    /// Answers each request before it reads the next, so that a stream holds one answer at most.
    async fn answer(
        &self,
        rx: &mut Streaming<ServerReflectionRequest>,
        tx: &mut Sender<ServerReflectionResponse>,
    ) -> Result<(), Status> {
        let mut answers = Answers::new(&self.index);
        while let Some(request) = rx.message().await? {
            tx.send(&answers.to(request)).await?;
        }
        Ok(())
    }
}

impl v1::server_reflection::ServerReflection for Reflection {
    async fn server_reflection_info(
        &self,
        _: &Call,
        rx: &mut Streaming<ServerReflectionRequest>,
        tx: &mut Sender<ServerReflectionResponse>,
    ) -> Result<(), Status> {
        self.answer(rx, tx).await
    }
}

impl v1alpha::server_reflection::ServerReflection for Reflection {
    async fn server_reflection_info(
        &self,
        _: &Call,
        rx: &mut Streaming<ServerReflectionRequest>,
        tx: &mut Sender<ServerReflectionResponse>,
    ) -> Result<(), Status> {
        self.answer(rx, tx).await
    }
}

/// Serves a [`Reflection`] under the names of both versions.
#[derive(Clone, Debug)]
pub struct ReflectionServer {
    v1: v1::server_reflection::ServerReflectionServer<Reflection>,
    v1alpha: v1alpha::server_reflection::ServerReflectionServer<Reflection>,
}

/// The one method of each version.
const METHODS: &[Method] = &[
    v1::server_reflection::SERVER_REFLECTION_INFO,
    v1alpha::server_reflection::SERVER_REFLECTION_INFO,
];

impl Service for ReflectionServer {
    fn methods(&self) -> &'static [Method] {
        METHODS
    }

    fn call(&self, index: usize, rpc: Rpc) -> CallFuture {
        match index {
            0 => self.v1.call(0, rpc),
            1 => self.v1alpha.call(0, rpc),
            _ => rpc.unimplemented(),
        }
    }
}
