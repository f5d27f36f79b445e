//! Addresses of servers: a scheme, a host, a port.
//!
//! In: text. Out: what a channel connects to, or why it is no address. Not here: names looked up (`connection`).

use std::fmt;
use std::str::FromStr;

use http::Uri;
use http::uri::Authority;

/// Where a server is, such as `http://127.0.0.1:9528`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    scheme: Scheme,
    authority: Authority,
    host: String,
    port: u16,
}

/// How the server speaks: `http` or `https`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Cleartext,
    Tls,
}

/// Why an address cannot be a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError(String);

impl Address {
    /// Of a server in this process, which has none.
    pub(super) fn in_process() -> Self {
        Self {
            scheme: Scheme::Cleartext,
            authority: Authority::from_static("in-process"),
            host: "in-process".to_owned(),
            port: 80,
        }
    }

    pub(crate) fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// As `:authority` says it.
    pub(super) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// A name or an IP address, without brackets.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = |why: &str| AddressError::new(text, why);
        let uri: Uri = text
            .parse()
            .map_err(|error| wrong(&format!("is no address: {error}")))?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong("has a path; an address is a host and a port"));
        }
        let authority = uri.authority().ok_or_else(|| wrong("has no host"))?.clone();
        if authority.as_str().contains('@') {
            return Err(wrong("has a user name, which gRPC does not use"));
        }
        let host = authority.host();
        if host.is_empty() {
            return Err(wrong("has no host"));
        }
        let has_port = authority.as_str().len() > host.len();
        if has_port && authority.port_u16().is_none() {
            return Err(wrong("has a port that is no number up to 65535"));
        }
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let (scheme, default_port) = match uri.scheme_str() {
            Some("http") => (Scheme::Cleartext, 80),
            Some("https") => (Scheme::Tls, 443),
            Some(_) | None => return Err(wrong("does not begin with http:// or https://")),
        };
        Ok(Self {
            scheme,
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(default_port),
            authority,
        })
    }
}

/// As it was written.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Cleartext => "http",
            Scheme::Tls => "https",
        };
        write!(f, "{scheme}://{}", self.authority)
    }
}

impl AddressError {
    pub(super) fn new(address: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self(format!("\"{address}\" {why}"))
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for AddressError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_scheme_a_host_and_a_port() {
        for (text, scheme, host, port) in [
            (
                "http://127.0.0.1:9528",
                Scheme::Cleartext,
                "127.0.0.1",
                9528,
            ),
            ("http://[::1]:9528/", Scheme::Cleartext, "::1", 9528),
            (
                "http://orders.example",
                Scheme::Cleartext,
                "orders.example",
                80,
            ),
            ("https://orders.example", Scheme::Tls, "orders.example", 443),
            ("HTTPS://orders.example:1", Scheme::Tls, "orders.example", 1),
        ] {
            let address: Address = text.parse().expect(text);
            assert_eq!(
                (address.scheme(), address.host(), address.port()),
                (scheme, host, port)
            );
        }
        for text in [
            "",
            "127.0.0.1:9528",
            "ftp://host",
            "http://",
            "http://host/path",
            "http://user@host",
            "http://host:port",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
