//! What the two interop programs share: the generated code, flags as grpc-go's programs read them, payloads.

use std::collections::HashMap;
use std::error::Error;
use std::str::FromStr;

/// The generated code of `grpc.testing`.
pub(crate) mod proto {
    #![allow(
        missing_docs,
        dead_code,
        unreachable_pub,
        reason = "each program uses a part of it"
    )]
    include!(concat!(env!("OUT_DIR"), "/grpc.testing.rs"));
}

use self::proto::Payload;

/// The header that comes back in the response's headers.
pub(crate) const ECHO_INITIAL: &str = "x-grpc-test-echo-initial";
/// The header that comes back in the trailers.
pub(crate) const ECHO_TRAILING: &str = "x-grpc-test-echo-trailing-bin";

/// Flags: `--name=value` or `--name value`; a switch is `--name`, `--name=true` or `--name=false`. One dash does too.
pub(crate) struct Flags(HashMap<String, String>);

impl Flags {
    /// Reads the program's arguments, which must be flags of these names.
    pub(crate) fn read(values: &[&str], switches: &[&str]) -> Result<Self, Box<dyn Error>> {
        let mut flags = HashMap::new();
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let flag = argument.trim_start_matches('-');
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, value.to_owned()),
                None if switches.contains(&flag) => (flag, "true".to_owned()),
                None => {
                    let value = arguments.next();
                    (
                        flag,
                        value.ok_or_else(|| format!("{argument} without a value"))?,
                    )
                }
            };
            if flag == argument || !values.iter().chain(switches).any(|&known| known == name) {
                return Err(
                    format!("no flag {argument}; there are: {values:?} {switches:?}").into(),
                );
            }
            flags.insert(name.to_owned(), value);
        }
        Ok(Self(flags))
    }

    /// The value of a flag that was given.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The value of a flag, or what it is by default.
    pub(crate) fn or<T: FromStr<Err: Error + 'static>>(
        &self,
        name: &str,
        default: T,
    ) -> Result<T, Box<dyn Error>> {
        match self.get(name) {
            Some(value) => Ok(value.parse()?),
            None => Ok(default),
        }
    }
}

/// A payload of this many zeros; none when the number is negative.
pub(crate) fn payload(size: i32) -> Option<Payload> {
    Some(Payload {
        body: vec![0; size.try_into().ok()?],
        ..Payload::default()
    })
}
