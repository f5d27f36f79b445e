//! What is called: a path and how many messages go each way.

/// One method of a service, as the generated code names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Method {
    /// `/package.Service/Method`, compared byte by byte.
    pub path: &'static str,
    /// How many messages go each way.
    pub kind: MethodKind,
}

/// How many messages go each way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MethodKind {
    /// One there, one back.
    Unary,
    /// One there, any number back.
    ServerStreaming,
    /// Any number there, one back.
    ClientStreaming,
    /// Any number both ways, independently.
    Bidi,
}

impl Method {
    /// A method at `path`, which has the form `/package.Service/Method`.
    pub const fn new(path: &'static str, kind: MethodKind) -> Self {
        Self { path, kind }
    }

    /// The full name of the service, such as `package.Service`.
    pub fn service(&self) -> &'static str {
        self.split().0
    }

    /// The method's own name.
    pub fn name(&self) -> &'static str {
        self.split().1
    }

    fn split(&self) -> (&'static str, &'static str) {
        let path = self.path.strip_prefix('/').unwrap_or(self.path);
        path.rsplit_once('/').unwrap_or((path, ""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_service_and_a_method() {
        let method = Method::new("/grpc.health.v1.Health/Check", MethodKind::Unary);
        assert_eq!(
            (method.service(), method.name()),
            ("grpc.health.v1.Health", "Check")
        );
    }
}
