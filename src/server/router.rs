//! `:path` → method: which service, and with which limits.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::Service;
use crate::codec::MessageLimits;
use crate::method::Method;

/// Every method that is served. Paths are compared byte by byte.
pub(super) struct Router {
    /// A tree: among as many paths as a server has, to compare costs less than to hash.
    routes: BTreeMap<&'static str, Route>,
}

/// Where a path leads.
#[derive(Clone)]
pub(super) struct Route {
    pub(super) service: Arc<dyn Service>,
    pub(super) index: usize,
    pub(super) method: Method,
    pub(super) limits: MessageLimits,
}

/// Limits of one service or one method, which go before the default.
#[derive(Clone, Debug)]
pub(super) struct Override {
    /// `package.Service`, or `/package.Service/Method`.
    pub(super) name: String,
    pub(super) limits: MessageLimits,
}

impl Router {
    /// Routes for `services`.
    ///
    /// # Errors
    /// When two services have the same path, or an override names nothing that is served.
    pub(super) fn new(
        services: &[Arc<dyn Service>],
        default: MessageLimits,
        overrides: &[Override],
    ) -> Result<Self, String> {
        let mut routes = BTreeMap::new();
        for service in services {
            for (index, &method) in service.methods().iter().enumerate() {
                let route = Route {
                    service: Arc::clone(service),
                    index,
                    method,
                    limits: default,
                };
                if routes.insert(method.path, route).is_some() {
                    return Err(format!("{} is served twice", method.path));
                }
            }
        }
        // Services first, so that a method's own limits go before its service's.
        let (methods, services): (Vec<_>, Vec<_>) =
            overrides.iter().partition(|one| one.name.starts_with('/'));
        for one in services.into_iter().chain(methods) {
            let named = routes.values_mut().filter(|route| {
                route.method.path == one.name || route.method.service() == one.name
            });
            let mut found = false;
            for route in named {
                route.limits = one.limits;
                found = true;
            }
            if !found {
                return Err(format!(
                    "limits are set for {}, which is not served",
                    one.name
                ));
            }
        }
        Ok(Self { routes })
    }

    /// The largest message that any method takes.
    pub(super) fn max_recv_bytes(&self) -> usize {
        let limits = self
            .routes
            .values()
            .map(|route| route.limits.max_recv_bytes);
        limits.max().unwrap_or(0)
    }

    pub(super) fn find(&self, path: &str) -> Option<&Route> {
        self.routes.get(path)
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.routes.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::MethodKind;
    use crate::server::{CallFuture, Rpc};

    struct Named(&'static [Method]);

    impl Service for Named {
        fn methods(&self) -> &'static [Method] {
            self.0
        }

        fn call(&self, _: usize, rpc: Rpc) -> CallFuture {
            rpc.unimplemented()
        }
    }

    const METHODS: &[Method] = &[
        Method::new("/a.B/One", MethodKind::Unary),
        Method::new("/a.B/Two", MethodKind::Unary),
    ];

    fn over(name: &str, bytes: usize) -> Override {
        Override {
            name: name.to_owned(),
            limits: MessageLimits::default().recv(bytes),
        }
    }

    #[test]
    fn the_limits_of_a_method_go_before_its_services_and_those_before_the_default() {
        let services: [Arc<dyn Service>; 1] = [Arc::new(Named(METHODS))];
        let overrides = [over("/a.B/One", 1), over("a.B", 2)];
        let router = Router::new(&services, MessageLimits::default(), &overrides).expect("legal");
        let limit = |path| router.find(path).map(|route| route.limits.max_recv_bytes);
        assert_eq!(limit("/a.B/One"), Some(1));
        assert_eq!(limit("/a.B/Two"), Some(2));
        assert_eq!(limit("/a.b/Two"), None);
    }

    #[test]
    fn a_path_served_twice_and_limits_for_nothing_are_errors() {
        let services: [Arc<dyn Service>; 2] = [Arc::new(Named(METHODS)), Arc::new(Named(METHODS))];
        assert!(Router::new(&services, MessageLimits::default(), &[]).is_err());
        let overrides = [over("a.C", 1)];
        assert!(Router::new(&services[..1], MessageLimits::default(), &overrides).is_err());
    }
}
