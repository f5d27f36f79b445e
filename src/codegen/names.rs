//! The names of generated code: what prost says, and how the same is said from a service's own module.
//!
//! In: names of .proto files, and Rust names that prost made of them. Out: Rust names that cannot collide with the
//! generated code's own. Not here: what is generated under them.

use prost_build::Module;

/// The names of a service's constants that no method's constant may take.
const RESERVED_CONSTANTS: [&str; 2] = ["METHODS", "SERVICE_NAME"];

/// What prost makes of messages such as `google.protobuf.Int32Value`.
const PRIMITIVES: [&str; 7] = ["bool", "f32", "f64", "i32", "i64", "u32", "u64"];

/// `StreamService` → `stream_service`, by prost's own rules.
pub(super) fn module(service: &str) -> String {
    Module::from_protobuf_package_name(service).to_string()
}

/// `OrderList` of `proto.StreamService` → `/proto.StreamService/OrderList`.
pub(super) fn path(service: &str, method: &str) -> String {
    format!("/{service}/{method}")
}

/// `StreamService` of package `proto` → `proto.StreamService`.
pub(super) fn service(package: &str, name: &str) -> String {
    if package.is_empty() {
        name.to_owned()
    } else {
        format!("{package}.{name}")
    }
}

/// `order_list` → `ORDER_LIST`.
pub(super) fn constant(method: &str) -> String {
    let mut name = method.trim_start_matches("r#").to_uppercase();
    if RESERVED_CONSTANTS.contains(&name.as_str()) {
        name.push('_');
    }
    name
}

/// The name of a method in the trait and in the client; the client has a `new` of its own.
pub(super) fn method(name: &str) -> &str {
    if name == "new" { "new_" } else { name }
}

/// A name for the type that implements a service, which must not hide the trait.
pub(super) fn implementor(service: &str) -> &'static str {
    if service == "S" { "T" } else { "S" }
}

/// A message as a service's module must say it: prost's path is right in the module of the package, one above.
pub(super) fn message(path: &str) -> String {
    let anywhere = path.starts_with("::")
        || path.starts_with("crate::")
        || path == "()"
        || PRIMITIVES.contains(&path);
    if anywhere {
        path.to_owned()
    } else {
        format!("super::{path}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_taken_gets_an_underscore() {
        assert_eq!(constant("order_list"), "ORDER_LIST");
        assert_eq!(constant("r#type"), "TYPE");
        assert_eq!(constant("methods"), "METHODS_");
        assert_eq!(method("new"), "new_");
        assert_eq!(method("r#type"), "r#type");
        assert_eq!(implementor("S"), "T");
    }

    #[test]
    fn a_service_without_a_package_has_a_bare_name() {
        assert_eq!(service("", "Echo"), "Echo");
        assert_eq!(path(&service("a.b", "Echo"), "Say"), "/a.b.Echo/Say");
        assert_eq!(module("HTTPEcho"), "http_echo");
        assert_eq!(module("Type"), "r#type");
    }

    #[test]
    fn only_relative_paths_go_one_module_up() {
        for (from_package, from_service) in [
            ("Order", "super::Order"),
            ("upload_response::File", "super::upload_response::File"),
            ("super::common::Money", "super::super::common::Money"),
            ("::prost_types::Any", "::prost_types::Any"),
            ("crate::shared::Id", "crate::shared::Id"),
            ("()", "()"),
            ("i32", "i32"),
        ] {
            assert_eq!(message(from_package), from_service);
        }
    }
}
