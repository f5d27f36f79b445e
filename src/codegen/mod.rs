//! Rust from .proto files, for build scripts.
//!
//! In: .proto files and where their imports are. Out, in `OUT_DIR`: a file of Rust for each package, with a module
//! for each service, and on request the encoded descriptors that reflection serves. Parsed by `protox`, so no
//! protoc is needed. Not here: the messages themselves (`prost-build`), and what the generated code calls.
//!
//! This folder is compiled twice, as feature `codegen` and into this package's own build script, and so names
//! nothing of the crate.
//!
//! ```no_run
//! // build.rs
//! fn main() -> std::io::Result<()> {
//!     streamway::codegen::compile(&["proto/shop.proto"], &["proto"])
//! }
//! ```
//!
//! ```text
//! // src/lib.rs; `shop` is the package of shop.proto
//! pub mod shop {
//!     include!(concat!(env!("OUT_DIR"), "/shop.rs"));
//! }
//! ```
//!
//! The generated code names the crates `streamway` and `prost`, and `prost-types` when a message of
//! `google.protobuf` is used: the package needs them as dependencies.

mod names;
mod service;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use self::service::Generator;

/// Generates messages, servers and clients of `protos`, each below one of the folders `includes`.
///
/// Call it from a build script. [`Builder`] has the options.
///
/// # Errors
/// When a file cannot be read, is no valid .proto, or `OUT_DIR` cannot be written.
pub fn compile(protos: &[impl AsRef<Path>], includes: &[impl AsRef<Path>]) -> io::Result<()> {
    Builder::new().compile(protos, includes)
}

/// What to generate and where to put it.
#[derive(Debug, Default)]
pub struct Builder {
    services: Generator,
    messages: prost_build::Config,
    descriptor_set: Option<OsString>,
    out_dir: Option<PathBuf>,
}

impl Builder {
    /// Messages, servers and clients, into `OUT_DIR`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Leaves out the traits and what serves them.
    #[must_use]
    pub fn without_server(mut self) -> Self {
        self.services.server = false;
        self
    }

    /// Leaves out the clients.
    #[must_use]
    pub fn without_client(mut self) -> Self {
        self.services.client = false;
        self
    }

    /// Also writes the encoded `FileDescriptorSet` of all files and everything they import, comments included, to
    /// `file_name` beside the generated code: what reflection serves.
    #[must_use]
    pub fn file_descriptor_set(mut self, file_name: impl Into<OsString>) -> Self {
        self.descriptor_set = Some(file_name.into());
        self
    }

    /// Writes to this folder instead of `OUT_DIR`.
    #[must_use]
    pub fn out_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.out_dir = Some(folder.into());
        self
    }

    /// Changes how `prost-build` makes the messages: attributes, `bytes` fields, types of other packages.
    ///
    /// A Rust path given to `extern_path` must be absolute (`::other_crate::package`, `crate::package`), because
    /// messages and services name it from different modules.
    #[must_use]
    pub fn configure(mut self, configure: impl FnOnce(&mut prost_build::Config)) -> Self {
        configure(&mut self.messages);
        self
    }

    /// Generates the code of `protos`, each below one of the folders `includes`, and of everything they import.
    ///
    /// Tells Cargo to run the build script again when one of the files changes.
    ///
    /// # Errors
    /// When a file cannot be read, is no valid .proto, or the folder cannot be written.
    pub fn compile(
        self,
        protos: &[impl AsRef<Path>],
        includes: &[impl AsRef<Path>],
    ) -> io::Result<()> {
        let mut compiler = protox::Compiler::new(includes).map_err(|error| invalid(&error))?;
        compiler
            .include_imports(true)
            .include_source_info(true)
            .open_files(protos)
            .map_err(|error| invalid(&error))?;
        // What protox brings itself, such as google/protobuf/any.proto, has no path.
        for path in compiler
            .files()
            .filter_map(protox::file::FileMetadata::path)
        {
            println!("cargo:rerun-if-changed={}", path.display());
        }

        let out_dir = match self.out_dir {
            Some(folder) => folder,
            None => env::var_os("OUT_DIR")
                .map(PathBuf::from)
                .ok_or_else(|| io::Error::other("OUT_DIR is not set: not in a build script"))?,
        };
        if let Some(file_name) = self.descriptor_set {
            // Encoded by protox and not by prost, which would drop the custom options.
            fs::write(
                out_dir.join(file_name),
                compiler.encode_file_descriptor_set(),
            )?;
        }
        let mut messages = self.messages;
        messages
            .out_dir(out_dir)
            .service_generator(Box::new(self.services))
            .compile_fds(compiler.file_descriptor_set())
    }
}

/// Its `Debug` form has the place, its `Display` form only the reason.
fn invalid(error: &protox::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{error:?}"))
}
