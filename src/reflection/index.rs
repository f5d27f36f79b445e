//! What the files declare: the name of every symbol, and the file it is in.
//!
//! In: encoded descriptor sets. Out: files by their names, by what they declare, and by what they extend. Not here:
//! the questions of a client. Built once from what the server's own program has, then only read.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    ServiceDescriptorProto,
};

use crate::codec::DecodeError;

/// All files and all names.
#[derive(Debug, Default)]
pub(super) struct Index {
    files: HashMap<String, Arc<File>>,
    /// Full name → the file that declares it.
    symbols: HashMap<String, Arc<File>>,
    /// Full name of each message → the numbers of its extensions and the files that declare them.
    extensions: HashMap<String, BTreeMap<i32, Arc<File>>>,
    services: BTreeSet<String>,
}

/// One .proto file.
#[derive(Debug)]
pub(super) struct File {
    pub(super) name: String,
    /// As the compiler wrote it: encoding it again would lose custom options.
    pub(super) encoded: Bytes,
    pub(super) imports: Vec<String>,
}

/// A `google.protobuf.FileDescriptorSet` whose files are left encoded.
#[derive(Clone, PartialEq, Message)]
struct EncodedSet {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    file: Vec<Bytes>,
}

impl Index {
    /// Adds the files of an encoded `FileDescriptorSet` that are not known yet.
    pub(super) fn add(&mut self, set: Bytes) -> Result<(), DecodeError> {
        let invalid = |error: prost::DecodeError| DecodeError::new(error.to_string());
        for encoded in EncodedSet::decode(set).map_err(invalid)?.file {
            let descriptor = FileDescriptorProto::decode(encoded.clone()).map_err(invalid)?;
            if !self.files.contains_key(descriptor.name()) {
                let file = Arc::new(File {
                    name: descriptor.name().to_owned(),
                    encoded,
                    imports: descriptor.dependency.clone(),
                });
                self.files.insert(file.name.clone(), Arc::clone(&file));
                Declarations { index: self, file }.file(&descriptor);
            }
        }
        Ok(())
    }

    /// The file with this name.
    pub(super) fn file(&self, name: &str) -> Option<&File> {
        self.files.get(name).map(Arc::as_ref)
    }

    /// The file that declares this full name: of a message, enum, enum value, field, oneof, extension, service or
    /// method.
    pub(super) fn declaring(&self, symbol: &str) -> Option<&File> {
        self.symbols.get(symbol).map(Arc::as_ref)
    }

    /// The file that declares this extension.
    pub(super) fn extending(&self, message: &str, number: i32) -> Option<&File> {
        let file = self.extensions.get(message)?.get(&number)?;
        Some(file)
    }

    /// The numbers of the extensions of `message` in ascending order; `None` when there is no such message.
    pub(super) fn extension_numbers(&self, message: &str) -> Option<Vec<i32>> {
        let extensions = self.extensions.get(message)?;
        Some(extensions.keys().copied().collect())
    }

    /// The full names of all services, sorted.
    pub(super) fn services(&self) -> impl Iterator<Item = &str> {
        self.services.iter().map(String::as_str)
    }
}

/// Enters what one file declares.
struct Declarations<'a> {
    index: &'a mut Index,
    file: Arc<File>,
}

impl Declarations<'_> {
    fn file(&mut self, descriptor: &FileDescriptorProto) {
        let package = descriptor.package();
        for message in &descriptor.message_type {
            self.message(package, message);
        }
        for declared in &descriptor.enum_type {
            self.enumeration(package, declared);
        }
        for extension in &descriptor.extension {
            self.extension(package, extension);
        }
        for service in &descriptor.service {
            self.service(package, service);
        }
    }

    fn message(&mut self, scope: &str, message: &DescriptorProto) {
        let scope = self.symbol(scope, message.name());
        self.index.extensions.entry(scope.clone()).or_default();
        for field in &message.field {
            self.symbol(&scope, field.name());
        }
        for oneof in &message.oneof_decl {
            self.symbol(&scope, oneof.name());
        }
        for nested in &message.nested_type {
            self.message(&scope, nested);
        }
        for declared in &message.enum_type {
            self.enumeration(&scope, declared);
        }
        for extension in &message.extension {
            self.extension(&scope, extension);
        }
    }

    fn enumeration(&mut self, scope: &str, declared: &EnumDescriptorProto) {
        self.symbol(scope, declared.name());
        // Values are named beside their enum, not inside it, as in C++.
        for value in &declared.value {
            self.symbol(scope, value.name());
        }
    }

    fn extension(&mut self, scope: &str, extension: &FieldDescriptorProto) {
        self.symbol(scope, extension.name());
        let message = extension.extendee().trim_start_matches('.');
        self.index
            .extensions
            .entry(message.to_owned())
            .or_default()
            .insert(extension.number(), Arc::clone(&self.file));
    }

    fn service(&mut self, scope: &str, service: &ServiceDescriptorProto) {
        let scope = self.symbol(scope, service.name());
        for method in &service.method {
            self.symbol(&scope, method.name());
        }
        self.index.services.insert(scope);
    }

    /// Enters one name and returns it in full.
    fn symbol(&mut self, scope: &str, name: &str) -> String {
        let full = if scope.is_empty() {
            name.to_owned()
        } else {
            format!("{scope}.{name}")
        };
        self.index
            .symbols
            .insert(full.clone(), Arc::clone(&self.file));
        full
    }
}
