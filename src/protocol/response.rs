//! The head of a response: built by the server, parsed by the client.

use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Response, StatusCode, response};

use super::content_type::{ContentType, ContentTypeError};
use super::request::append;
use super::{GRPC_ACCEPT_ENCODING, GRPC_ENCODING};
use crate::codec::Encoding;
use crate::codec::compression::supported_list;
use crate::metadata::Metadata;
use crate::status::{Code, Status, wire};

/// Everything that the headers of a response say.
#[derive(Debug)]
pub(crate) struct Head {
    /// 200, but for a response that has yet to say whether it is one: see [`Head::unexplained`].
    pub(crate) http: StatusCode,
    /// What the response's messages are compressed with.
    pub(crate) encoding: Encoding,
    pub(crate) metadata: Metadata,
}

/// A response without messages: the whole outcome stands in its headers.
#[derive(Debug)]
pub(crate) enum HeadError {
    /// Trailers-Only: what the server says itself, and what else stood in the block.
    TrailersOnly(Result<(), Status>, Metadata),
    /// No gRPC response; the status says what it was instead.
    NotGrpc(Status),
}

impl Head {
    /// Reads the headers of a response; `end_of_stream` when nothing follows them.
    pub(crate) fn parse(parts: response::Parts, end_of_stream: bool) -> Result<Self, HeadError> {
        let response::Parts {
            status, headers, ..
        } = parts;
        let content_type = headers
            .get(CONTENT_TYPE)
            .map(|value| ContentType::parse(value.as_bytes()));
        // "grpc-status wins, whatever the HTTP status", but only where a status may stand: in the last headers.
        if end_of_stream && headers.contains_key(wire::GRPC_STATUS) {
            let (outcome, metadata) = wire::from_trailers(headers).expect("grpc-status is there");
            return Err(HeadError::TrailersOnly(outcome, metadata));
        }
        let is_grpc = matches!(content_type, Some(Ok(_)));
        if status != StatusCode::OK && (end_of_stream || !is_grpc) {
            return Err(HeadError::NotGrpc(of_http(status)));
        }
        match content_type {
            Some(Ok(_)) if end_of_stream => {
                let text = "the response is one header block without grpc-status";
                return Err(HeadError::NotGrpc(Status::unknown(text)));
            }
            Some(Ok(_)) => {}
            Some(Err(ContentTypeError::UnknownFormat)) => {
                let text = "the response's content-type has another sub-format than the request's";
                return Err(HeadError::NotGrpc(Status::internal(text)));
            }
            Some(Err(ContentTypeError::NotGrpc)) | None => {
                let text = format!(
                    "the response's content-type {:?} is not gRPC",
                    headers.get(CONTENT_TYPE)
                );
                return Err(HeadError::NotGrpc(Status::unknown(text)));
            }
        }
        let encoding = match headers.get(GRPC_ENCODING) {
            None => Encoding::Identity,
            Some(value) => Encoding::from_name(value.as_bytes()).ok_or_else(|| {
                HeadError::NotGrpc(Status::internal(format!(
                    "grpc-encoding {value:?} is not supported"
                )))
            })?,
        };
        Ok(Self {
            http: status,
            encoding,
            metadata: Metadata::from_headers(headers),
        })
    }

    /// What the call ends with when its trailers have no `grpc-status` and its HTTP status says more than that they are
    /// missing. With one "grpc-status wins, whatever the HTTP status".
    pub(crate) fn unexplained(&self) -> Option<Status> {
        (self.http != StatusCode::OK).then(|| of_http(self.http))
    }

    /// Builds the response's headers.
    pub(crate) fn into_response(self, content_type: ContentType) -> Response<()> {
        let mut response = start(content_type);
        *response.status_mut() = self.http;
        let headers = response.headers_mut();
        if self.encoding != Encoding::Identity {
            headers.insert(
                GRPC_ENCODING,
                HeaderValue::from_static(self.encoding.name()),
            );
        }
        append(headers, self.metadata.into_headers());
        response
    }
}

/// A response whose one header block is also its trailers: "Trailers-Only".
pub(crate) fn trailers_only(content_type: ContentType, trailers: HeaderMap) -> Response<()> {
    let mut response = start(content_type);
    append(response.headers_mut(), trailers);
    response
}

/// At most so much does the head of a response count by itself, as a header list: `:status`, the content type, both
/// encodings.
pub(crate) const HEAD_BYTES: usize = 256;

fn start(content_type: ContentType) -> Response<()> {
    let mut response = Response::new(());
    response
        .headers_mut()
        .insert(CONTENT_TYPE, content_type.header());
    if let Some(list) = supported_list() {
        response.headers_mut().insert(GRPC_ACCEPT_ENCODING, list);
    }
    response
}

fn of_http(status: StatusCode) -> Status {
    let text = format!("HTTP status {status} without grpc-status");
    Status::new(code_of_http(status), text)
}

/// http-grpc-status-mapping.md, for responses without a `grpc-status`. 431 is UNKNOWN, as in grpc-go and in the
/// conformance suite; the document's INTERNAL is disputed.
fn code_of_http(status: StatusCode) -> Code {
    match status.as_u16() {
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502 | 503 | 504 => Code::Unavailable,
        _ => Code::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::header_list_bytes;

    fn parse(
        status: u16,
        pairs: &[(&'static str, &'static str)],
        end: bool,
    ) -> Result<Head, HeadError> {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(status).expect("legal");
        for (name, value) in pairs {
            response
                .headers_mut()
                .append(*name, HeaderValue::from_static(value));
        }
        Head::parse(response.into_parts().0, end)
    }

    const GRPC: (&str, &str) = ("content-type", "application/grpc");

    #[test]
    fn an_http_status_without_a_grpc_status_is_mapped() {
        for (http, code) in [
            (400, Code::Internal),
            (401, Code::Unauthenticated),
            (403, Code::PermissionDenied),
            (404, Code::Unimplemented),
            (429, Code::Unavailable),
            (431, Code::Unknown),
            (500, Code::Unknown),
            (502, Code::Unavailable),
            (503, Code::Unavailable),
            (504, Code::Unavailable),
        ] {
            match parse(http, &[], true) {
                Err(HeadError::NotGrpc(status)) => assert_eq!(status.code(), code, "{http}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_grpc_status_wins_over_the_http_status() {
        match parse(503, &[("grpc-status", "5")], true) {
            Err(HeadError::TrailersOnly(Err(status), _)) => {
                assert_eq!(status.code(), Code::NotFound);
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_http_error_of_a_grpc_server_may_be_explained_by_its_trailers() {
        let head = parse(503, &[GRPC], false).expect("trailers follow");
        let status = head.unexplained().expect("it is no 200");
        assert_eq!(status.code(), Code::Unavailable);
        assert!(parse(503, &[], false).is_err());
        let head = parse(200, &[GRPC], false).expect("gRPC");
        assert!(head.unexplained().is_none());
    }

    #[test]
    fn headers_alone_without_a_grpc_status_are_unknown() {
        match parse(200, &[GRPC], true) {
            Err(HeadError::NotGrpc(status)) => assert_eq!(status.code(), Code::Unknown),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_grpc_status_before_a_body_means_nothing() {
        assert!(parse(200, &[GRPC, ("grpc-status", "5")], false).is_ok());
    }

    #[test]
    fn a_response_that_is_no_grpc_is_told_apart() {
        for (content_type, code) in [
            ("text/html", Code::Unknown),
            ("application/grpc+json", Code::Internal),
        ] {
            match parse(200, &[("content-type", content_type)], false) {
                Err(HeadError::NotGrpc(status)) => assert_eq!(status.code(), code),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn an_encoding_that_is_not_known_here_is_internal() {
        match parse(200, &[GRPC, ("grpc-encoding", "lzma")], false) {
            Err(HeadError::NotGrpc(status)) => assert_eq!(status.code(), Code::Internal),
            other => panic!("{other:?}"),
        }
        // In the one block of Trailers-Only there is nothing to decode.
        let only = [GRPC, ("grpc-encoding", "lzma"), ("grpc-status", "5")];
        match parse(200, &only, true) {
            Err(HeadError::TrailersOnly(Err(status), _)) => {
                assert_eq!(status.code(), Code::NotFound);
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_head_without_metadata_counts_no_more_than_is_kept_for_it() {
        for &encoding in Encoding::SUPPORTED {
            let head = Head {
                http: StatusCode::OK,
                encoding,
                metadata: Metadata::new(),
            };
            let response = head.into_response(ContentType::Proto);
            let status = ":status".len() + "200".len() + 32;
            let bytes = status + header_list_bytes(response.headers());
            assert!(bytes <= HEAD_BYTES, "{bytes}");
        }
    }

    #[test]
    fn what_a_server_builds_the_client_reads() {
        let mut metadata = Metadata::new();
        metadata.append("x-a", "1").expect("legal");
        let head = Head {
            http: StatusCode::OK,
            encoding: Encoding::Identity,
            metadata,
        };
        let (parts, ()) = head.into_response(ContentType::Plain).into_parts();
        let back = Head::parse(parts, false).expect("legal");
        assert_eq!(back.metadata.get("x-a"), Some("1"));
    }
}
