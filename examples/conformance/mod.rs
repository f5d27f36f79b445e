//! What the two conformance programs share: the runner's messages, how it frames them on a pipe, and its way to write
//! metadata, statuses and encodings.
#![expect(dead_code, reason = "each program uses a part of it")]

use std::error::Error;
use std::io::{Read, Write};

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use prost::Message;
use streamway::{Code, Encoding, Metadata, Status};

/// The generated code of `connectrpc.conformance.v1`.
pub(crate) mod proto {
    #![allow(
        missing_docs,
        dead_code,
        unreachable_pub,
        reason = "each program uses a part of it"
    )]
    include!(concat!(env!("OUT_DIR"), "/connectrpc.conformance.v1.rs"));
}

use self::proto::{Compression, Header};

/// Reads one message of the runner, `None` at the end of the pipe: four bytes of big-endian length, then the message.
pub(crate) fn read<M: Message + Default>(
    pipe: &mut impl Read,
) -> Result<Option<M>, Box<dyn Error + Send + Sync>> {
    let mut len = [0; 4];
    if pipe.read(&mut len[..1])? == 0 {
        return Ok(None);
    }
    pipe.read_exact(&mut len[1..])?;
    let mut message = vec![0; u32::from_be_bytes(len).try_into()?];
    pipe.read_exact(&mut message)?;
    Ok(Some(M::decode(&message[..])?))
}

/// Writes one message to the runner.
pub(crate) fn write(
    pipe: &mut impl Write,
    message: &impl Message,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let encoded = message.encode_to_vec();
    pipe.write_all(&u32::try_from(encoded.len())?.to_be_bytes())?;
    pipe.write_all(&encoded)?;
    Ok(pipe.flush()?)
}

/// Bytes under `-bin` names are base64 in the runner's headers, padded or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(crate) fn to_metadata(headers: &[Header]) -> Result<Metadata, Status> {
    let mut metadata = Metadata::new();
    for Header { name, value } in headers {
        for value in value {
            let bad = |error: &dyn Error| Status::internal(format!("{name}: {error}"));
            if name.to_ascii_lowercase().ends_with("-bin") {
                let bytes = BASE64.decode(value).map_err(|error| bad(&error))?;
                metadata
                    .append_bin(name, bytes)
                    .map_err(|error| bad(&error))?;
            } else {
                metadata.append(name, value).map_err(|error| bad(&error))?;
            }
        }
    }
    Ok(metadata)
}

pub(crate) fn from_metadata(metadata: &Metadata) -> Vec<Header> {
    let mut headers: Vec<Header> = Vec::new();
    for (name, value) in metadata.iter() {
        let value = String::from_utf8_lossy(value).into_owned();
        match headers.iter_mut().find(|header| header.name == name) {
            Some(header) => header.value.push(value),
            None => headers.push(Header {
                name: name.to_owned(),
                value: vec![value],
            }),
        }
    }
    headers
}

pub(crate) fn to_status(error: proto::Error) -> Status {
    let code = u32::try_from(error.code).ok().and_then(Code::from_number);
    let status = Status::new(
        code.unwrap_or(Code::Unknown),
        error.message.unwrap_or_default(),
    );
    match error.details.is_empty() {
        true => status,
        false => status.with_details(error.details),
    }
}

pub(crate) fn from_status(status: &Status) -> proto::Error {
    proto::Error {
        code: status.code().number().into(),
        message: Some(status.message().to_owned()),
        details: status.details().unwrap_or_default(),
    }
}

pub(crate) fn encoding(compression: Compression) -> Encoding {
    match compression {
        Compression::Unspecified | Compression::Identity => Encoding::Identity,
        Compression::Gzip => Encoding::Gzip,
        Compression::Br => Encoding::Brotli,
        Compression::Zstd => Encoding::Zstd,
        Compression::Deflate => Encoding::Deflate,
        Compression::Snappy => Encoding::Snappy,
    }
}
