//! Under HTTP/2: sockets, and how they are read and written. Shared by both roles.

mod io;
mod listener;

pub(crate) use self::io::{Flush, Gathered, gather};
pub use self::listener::Listener;
