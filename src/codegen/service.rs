//! One service: its constants, its trait, what serves the trait, and its client.
//!
//! In: a service as `prost-build` describes it. Out: a module with absolute paths and no imports, so that it means
//! the same wherever it is included. Not here: files and options (`codegen`), names (`names`).

use prost_build::{Comments, Method, Service};

use super::names;

/// Writes a module for each service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Generator {
    /// Whether to write the trait and what serves it.
    pub(super) server: bool,
    /// Whether to write the client.
    pub(super) client: bool,
}

impl Default for Generator {
    fn default() -> Self {
        Self {
            server: true,
            client: true,
        }
    }
}

impl prost_build::ServiceGenerator for Generator {
    fn generate(&mut self, service: Service, buf: &mut String) {
        let full_name = names::service(&service.package, &service.proto_name);
        let mut items = constants(&service, &full_name);
        if self.server {
            items.push_str(&contract(&service, &full_name));
            items.push_str(&server(&service, &full_name));
        }
        if self.client {
            items.push_str(&client(&service, &full_name));
        }
        let module = names::module(&service.proto_name);
        let deprecated = if deprecates(&service) {
            "#[allow(deprecated, reason = \"the glue names what the .proto deprecates\")]\n"
        } else {
            ""
        };
        // prost-build formats the whole file.
        *buf += &format!(
            "/// The service `{full_name}`.\n\
             #[allow(dead_code, reason = \"a package may use a part of it\")]\n\
             {deprecated}\
             pub mod {module} {{ {items} }}\n"
        );
    }
}

/// Whether the .proto deprecates anything that the glue around it then names.
fn deprecates(service: &Service) -> bool {
    service.options.deprecated() || service.methods.iter().any(|m| m.options.deprecated())
}

fn constants(service: &Service, full_name: &str) -> String {
    let mut items = format!(
        "/// The full name of the service, as in the paths of its methods.\n\
         pub const SERVICE_NAME: &str = {full_name:?};\n"
    );
    let mut all = String::new();
    for method in &service.methods {
        let name = names::constant(&method.name);
        let path = names::path(full_name, &method.proto_name);
        let kind = Shape::of(method).kind();
        all += &format!("{name},");
        items += &format!(
            "/// `{path}`.\n\
             pub const {name}: ::streamway::Method =\n\
                 ::streamway::Method::new({path:?}, ::streamway::MethodKind::{kind});\n"
        );
    }
    items
        + &format!(
            "/// Every method, in the order of the .proto file.\n\
             pub const METHODS: &[::streamway::Method] = &[{all}];\n"
        )
}

/// The trait that a server implements.
fn contract(service: &Service, full_name: &str) -> String {
    let mut methods = String::new();
    for method in &service.methods {
        let path = names::path(full_name, &method.proto_name);
        let docs = docs(&method.comments, &format!("Answers `{path}`."));
        let deprecated = deprecated(method.options.deprecated());
        let name = names::method(&method.name);
        let request = names::message(&method.input_type);
        let response = names::message(&method.output_type);
        let shape = Shape::of(method);
        let input = if shape.streams_requests() {
            format!("rx: &mut ::streamway::Streaming<{request}>")
        } else {
            format!("request: {request}")
        };
        let (output, outcome) = if shape.streams_responses() {
            (
                format!("tx: &mut ::streamway::Sender<{response}>"),
                "()".to_owned(),
            )
        } else {
            (String::new(), response)
        };
        methods += &format!(
            "{docs}{deprecated}fn {name}(&self, call: &::streamway::Call, {input}, {output})\n\
                 -> impl ::core::future::Future<\n\
                     Output = ::core::result::Result<{outcome}, ::streamway::Status>\n\
                 > + ::core::marker::Send;\n"
        );
    }
    let docs = docs(&service.comments, &format!("The service `{full_name}`."));
    let deprecated = deprecated(service.options.deprecated());
    let name = &service.name;
    format!(
        "{docs}{deprecated}\
         pub trait {name}: ::core::marker::Send + ::core::marker::Sync + 'static {{ {methods} }}\n"
    )
}

/// What routes calls to an implementation of the trait.
fn server(service: &Service, full_name: &str) -> String {
    let name = &service.name;
    let s = names::implementor(name);
    let mut arms = String::new();
    for (index, method) in service.methods.iter().enumerate() {
        let request = names::message(&method.input_type);
        let response = names::message(&method.output_type);
        let handler = names::method(&method.name);
        // Not `service.handler(…)`: an rpc may have the name of a method of `Arc`.
        let handler = format!("<{s} as {name}>::{handler}");
        let body = match Shape::of(method) {
            Shape::Unary => {
                format!("tx.send(&{handler}(&service, &call, rx.only().await?).await?).await")
            }
            Shape::ServerStreaming => {
                format!("{handler}(&service, &call, rx.only().await?, &mut tx).await")
            }
            Shape::ClientStreaming => {
                format!("tx.send(&{handler}(&service, &call, &mut rx).await?).await")
            }
            Shape::Bidi => format!("{handler}(&service, &call, &mut rx, &mut tx).await"),
        };
        arms += &format!(
            "{index} => {{\n\
                 let (call, mut rx, mut tx, runner) = rpc.open::<{request}, {response}>();\n\
                 ::std::boxed::Box::pin(runner.run(async move {{ {body} }}))\n\
             }}\n"
        );
    }
    let route = if arms.is_empty() {
        "let _ = index; rpc.unimplemented()".to_owned()
    } else {
        format!(
            "let service = ::std::sync::Arc::clone(&self.0);\n\
             match index {{ {arms} _ => rpc.unimplemented(), }}"
        )
    };
    let deprecated = deprecated(service.options.deprecated());
    format!(
        "/// Serves an implementation of [`{name}`] as `{full_name}`.\n\
         {deprecated}\
         pub struct {name}Server<{s}>(::std::sync::Arc<{s}>);\n\
         impl<{s}: {name}> {name}Server<{s}> {{\n\
             /// Serves `service`.\n\
             pub fn new(service: {s}) -> Self {{ Self::from_arc(::std::sync::Arc::new(service)) }}\n\
             /// Serves a `service` that others hold too.\n\
             pub fn from_arc(service: ::std::sync::Arc<{s}>) -> Self {{ Self(service) }}\n\
         }}\n\
         impl<{s}> ::core::clone::Clone for {name}Server<{s}> {{\n\
             fn clone(&self) -> Self {{ Self(::std::sync::Arc::clone(&self.0)) }}\n\
         }}\n\
         impl<{s}> ::core::fmt::Debug for {name}Server<{s}> {{\n\
             fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {{\n\
                 f.debug_struct(\"{name}Server\").finish_non_exhaustive()\n\
             }}\n\
         }}\n\
         impl<{s}: {name}> ::streamway::server::Service for {name}Server<{s}> {{\n\
             fn methods(&self) -> &'static [::streamway::Method] {{ METHODS }}\n\
             fn call(&self, index: usize, rpc: ::streamway::server::Rpc)\n\
                 -> ::streamway::server::CallFuture {{ {route} }}\n\
         }}\n"
    )
}

fn client(service: &Service, full_name: &str) -> String {
    let mut methods = String::new();
    for method in &service.methods {
        let path = names::path(full_name, &method.proto_name);
        let docs = docs(&method.comments, &format!("Calls `{path}`."));
        let deprecated = deprecated(method.options.deprecated());
        let name = names::method(&method.name);
        let request = names::message(&method.input_type);
        let response = names::message(&method.output_type);
        let constant = names::constant(&method.name);
        let shape = Shape::of(method);
        let (kind, start) = (shape.kind(), shape.channel_method());
        let (parameter, argument) = if shape.streams_requests() {
            (String::new(), "")
        } else {
            (format!("request: {request}"), "request")
        };
        methods += &format!(
            "{docs}{deprecated}pub fn {name}(&self, {parameter})\n\
                 -> ::streamway::client::Request<::streamway::client::{kind}<{request}, {response}>> {{\n\
                 self.channel.{start}({constant}, {argument})\n\
             }}\n"
        );
    }
    let name = &service.name;
    let docs = docs(&service.comments, &format!("The service `{full_name}`."));
    let deprecated = deprecated(service.options.deprecated());
    format!(
        "{docs}///\n/// This is its client. Clones are cheap and share the channel.\n\
         {deprecated}\
         #[derive(Clone, Debug)]\n\
         pub struct {name}Client {{ channel: ::streamway::Channel }}\n\
         impl {name}Client {{\n\
             /// Calls the service over `channel`.\n\
             pub fn new(channel: ::streamway::Channel) -> Self {{ Self {{ channel }} }}\n\
             {methods}\
         }}\n"
    )
}

/// The comments of the .proto file as doc comments, or `otherwise`, so that every public item has some.
fn docs(comments: &Comments, otherwise: &str) -> String {
    if comments.leading.is_empty() && comments.trailing.is_empty() {
        return format!("/// {otherwise}\n");
    }
    // Detached comments are about the file, not about what happens to follow them.
    let attached = Comments {
        leading_detached: Vec::new(),
        ..comments.clone()
    };
    let mut docs = String::new();
    attached.append_with_indent(0, &mut docs);
    docs
}

fn deprecated(is_deprecated: bool) -> &'static str {
    if is_deprecated { "#[deprecated]\n" } else { "" }
}

/// How many messages go each way.
#[derive(Clone, Copy)]
enum Shape {
    Unary,
    ServerStreaming,
    ClientStreaming,
    Bidi,
}

impl Shape {
    fn of(method: &Method) -> Self {
        match (method.client_streaming, method.server_streaming) {
            (false, false) => Self::Unary,
            (false, true) => Self::ServerStreaming,
            (true, false) => Self::ClientStreaming,
            (true, true) => Self::Bidi,
        }
    }

    fn streams_requests(self) -> bool {
        matches!(self, Self::ClientStreaming | Self::Bidi)
    }

    fn streams_responses(self) -> bool {
        matches!(self, Self::ServerStreaming | Self::Bidi)
    }

    /// Both the variant of `MethodKind` and the type of the client's call.
    fn kind(self) -> &'static str {
        match self {
            Self::Unary => "Unary",
            Self::ServerStreaming => "ServerStreaming",
            Self::ClientStreaming => "ClientStreaming",
            Self::Bidi => "Bidi",
        }
    }

    fn channel_method(self) -> &'static str {
        match self {
            Self::Unary => "unary",
            Self::ServerStreaming => "server_streaming",
            Self::ClientStreaming => "client_streaming",
            Self::Bidi => "bidi",
        }
    }
}
