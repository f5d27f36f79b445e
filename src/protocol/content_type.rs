//! `content-type`: "application/grpc" [("+proto" / "+json" / {custom})] (PROTOCOL-HTTP2.md, "Content-Type").

use http::header::HeaderValue;

/// What the messages of a call are, as far as gRPC names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContentType {
    /// `application/grpc`, which means protobuf.
    Plain,
    /// `application/grpc+proto`.
    Proto,
}

/// Why a `content-type` is none that this side speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContentTypeError {
    /// Not gRPC at all.
    NotGrpc,
    /// gRPC with a sub-format that is not spoken here, such as `+json`.
    UnknownFormat,
}

impl ContentType {
    /// Reads the header's value; parameters after `;` are passed over, as in grpc-go and grpc-java.
    pub(crate) fn parse(value: &[u8]) -> Result<Self, ContentTypeError> {
        if value == BASE {
            // What nearly everyone sends.
            return Ok(Self::Plain);
        }
        let essence = value
            .split(|&byte| byte == b';')
            .next()
            .unwrap_or(value)
            .trim_ascii();
        let Some((head, format)) = essence.split_at_checked(BASE.len()) else {
            return Err(ContentTypeError::NotGrpc);
        };
        match format {
            _ if !head.eq_ignore_ascii_case(BASE) => Err(ContentTypeError::NotGrpc),
            b"" => Ok(Self::Plain),
            b"+proto" => Ok(Self::Proto),
            [b'+', _, ..] => Err(ContentTypeError::UnknownFormat),
            _ => Err(ContentTypeError::NotGrpc),
        }
    }

    pub(crate) fn header(self) -> HeaderValue {
        match self {
            Self::Plain => HeaderValue::from_static("application/grpc"),
            Self::Proto => HeaderValue::from_static("application/grpc+proto"),
        }
    }
}

const BASE: &[u8] = b"application/grpc";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_grpc_and_its_sub_formats_are_grpc() {
        for (value, expected) in [
            ("application/grpc", Ok(ContentType::Plain)),
            ("Application/GRPC", Ok(ContentType::Plain)),
            ("application/grpc;charset=utf-8", Ok(ContentType::Plain)),
            ("application/grpc+proto", Ok(ContentType::Proto)),
            ("application/grpc+proto ; x", Ok(ContentType::Proto)),
            (
                "application/grpc+json",
                Err(ContentTypeError::UnknownFormat),
            ),
            ("application/grpc+", Err(ContentTypeError::NotGrpc)),
            ("application/grpcfoo", Err(ContentTypeError::NotGrpc)),
            ("application/grpc-web", Err(ContentTypeError::NotGrpc)),
            ("application/json", Err(ContentTypeError::NotGrpc)),
            ("", Err(ContentTypeError::NotGrpc)),
        ] {
            assert_eq!(ContentType::parse(value.as_bytes()), expected, "{value}");
        }
    }
}
