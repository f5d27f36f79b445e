//! Header blocks (RFC 7541): written as literals that enter no table, read whatever the peer makes of it.

use std::collections::VecDeque;

use super::huffman;

/// A decoded header block, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Headers(pub(crate) Vec<(String, String)>);

impl Headers {
    /// The first value of `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(other, _)| other == name)?;
        Some(&found.1)
    }
}

/// A header block of literals, not checked for anything.
pub(crate) fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    headers
        .iter()
        .flat_map(|(name, value)| literal(name.as_bytes(), value.as_bytes()))
        .collect()
}

/// One header: "Literal Header Field without Indexing — New Name" (section 6.2.2), neither string Huffman coded.
pub(crate) fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut wire = vec![0];
    for text in [name, value] {
        integer(text.len(), &mut wire);
        wire.extend_from_slice(text);
    }
    wire
}

/// An integer with a prefix of seven bits (section 5.1), the eighth zero.
fn integer(value: usize, wire: &mut Vec<u8>) {
    let Some(mut rest) = value.checked_sub(0x7f) else {
        return wire.push(value as u8);
    };
    wire.push(0x7f);
    while rest >= 0x80 {
        wire.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    wire.push(rest as u8);
}

/// Reads the header blocks of one connection, which have to come here all and in their order.
#[derive(Debug)]
pub(crate) struct Decoder {
    /// The newest first.
    table: VecDeque<(String, String)>,
    size: usize,
    max_size: usize,
}

/// What every entry of the table counts besides its strings (section 4.1).
const ENTRY_OVERHEAD: usize = 32;

/// SETTINGS_HEADER_TABLE_SIZE when nothing is said.
const DEFAULT_TABLE_SIZE: usize = 4096;

impl Default for Decoder {
    fn default() -> Self {
        Self {
            table: VecDeque::new(),
            size: 0,
            max_size: DEFAULT_TABLE_SIZE,
        }
    }
}

impl Decoder {
    /// The headers of a whole block; `None` when it is none. Bytes that are not UTF-8 become U+FFFD.
    pub(crate) fn decode(&mut self, mut block: &[u8]) -> Option<Headers> {
        let mut headers = Vec::new();
        while let Some(&first) = block.first() {
            match first {
                // Indexed.
                0x80.. => headers.push(self.entry(take_integer(&mut block, 7)?)?),
                // Literal, into the table.
                0x40.. => {
                    let header = self.literal(&mut block, 6)?;
                    headers.push(header.clone());
                    self.insert(header);
                }
                // A new size for the table.
                0x20.. => {
                    self.max_size = take_integer(&mut block, 5)?;
                    self.evict();
                }
                // Literal, not into the table.
                _ => headers.push(self.literal(&mut block, 4)?),
            }
        }
        Some(Headers(headers))
    }

    pub(crate) fn table_size(&self) -> usize {
        self.size
    }

    fn literal(&self, block: &mut &[u8], prefix: u8) -> Option<(String, String)> {
        let name = match take_integer(block, prefix)? {
            0 => take_string(block)?,
            index => self.entry(index)?.0,
        };
        Some((name, take_string(block)?))
    }

    fn entry(&self, index: usize) -> Option<(String, String)> {
        let index = index.checked_sub(1)?;
        match STATIC.get(index) {
            Some((name, value)) => Some(((*name).to_owned(), (*value).to_owned())),
            None => self.table.get(index - STATIC.len()).cloned(),
        }
    }

    fn insert(&mut self, header: (String, String)) {
        self.size += size(&header);
        self.table.push_front(header);
        self.evict();
    }

    fn evict(&mut self) {
        while self.size > self.max_size {
            let oldest = self
                .table
                .pop_back()
                .expect("the size is that of the entries");
            self.size -= size(&oldest);
        }
    }
}

fn size((name, value): &(String, String)) -> usize {
    name.len() + value.len() + ENTRY_OVERHEAD
}

fn take_integer(block: &mut &[u8], prefix: u8) -> Option<usize> {
    let mask = (1 << prefix) - 1;
    let mut value = usize::from(take_byte(block)?) & mask;
    if value < mask {
        return Some(value);
    }
    // Longer ones are not needed, and would overflow.
    for shift in [0, 7, 14, 21] {
        let byte = take_byte(block)?;
        value += usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn take_string(block: &mut &[u8]) -> Option<String> {
    let coded = block.first()? & 0x80 != 0;
    let length = take_integer(block, 7)?;
    let (bytes, rest) = block.split_at_checked(length)?;
    *block = rest;
    let plain = match coded {
        true => huffman::decode(bytes)?,
        false => bytes.to_vec(),
    };
    Some(String::from_utf8_lossy(&plain).into_owned())
}

fn take_byte(block: &mut &[u8]) -> Option<u8> {
    let (&first, rest) = block.split_first()?;
    *block = rest;
    Some(first)
}

/// Appendix A.
#[rustfmt::skip]
const STATIC: [(&str, &str); 61] = [
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"), (":path", "/index.html"),
    (":scheme", "http"), (":scheme", "https"), (":status", "200"), (":status", "204"), (":status", "206"),
    (":status", "304"), (":status", "400"), (":status", "404"), (":status", "500"), ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""), ("accept", ""),
    ("access-control-allow-origin", ""), ("age", ""), ("allow", ""), ("authorization", ""), ("cache-control", ""),
    ("content-disposition", ""), ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""), ("date", ""), ("etag", ""),
    ("expect", ""), ("expires", ""), ("from", ""), ("host", ""), ("if-match", ""), ("if-modified-since", ""),
    ("if-none-match", ""), ("if-range", ""), ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""),
    ("location", ""), ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""),
    ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""),
    ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""), ("via", ""),
    ("www-authenticate", ""),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(headers: &[(&str, &str)]) -> Headers {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Headers(headers.iter().map(owned).collect())
    }

    #[test]
    fn what_we_write_is_read() {
        let long = "x".repeat(20_000);
        let headers = [(":status", "200"), ("x-empty", ""), ("x-long", &long)];
        let read = Decoder::default().decode(&block(&headers));
        assert_eq!(read, Some(pairs(&headers)));
    }

    /// RFC 7541, appendix C.6: coded responses, and a table of 256 bytes that throws entries out.
    #[test]
    fn the_coded_responses_of_the_rfc_are_read() {
        let mut decoder = Decoder {
            max_size: 256,
            ..Decoder::default()
        };
        let first = b"\x48\x82\x64\x02\x58\x85\xae\xc3\x77\x1a\x4b\x61\x96\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\
            \x05\x95\x04\x0b\x81\x66\xe0\x82\xa6\x2d\x1b\xff\x6e\x91\x9d\x29\xad\x17\x18\x63\xc7\x8f\x0b\x97\xc8\xe9\
            \xae\x82\xae\x43\xd3";
        let mut expected = [
            (":status", "302"),
            ("cache-control", "private"),
            ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
            ("location", "https://www.example.com"),
        ];
        assert_eq!(decoder.decode(first), Some(pairs(&expected)));
        let second = b"\x48\x83\x64\x0e\xff\xc1\xc0\xbf";
        expected[0].1 = "307";
        assert_eq!(decoder.decode(second), Some(pairs(&expected)));
        assert_eq!(decoder.size, 222);
    }

    #[test]
    fn what_is_no_header_block_is_told() {
        for wrong in [
            &b"\xff\xff\xff\xff\xff\xff"[..],
            b"\x80",
            b"\xbe",
            b"\x00\x05abc",
            b"\x00\x81\x00\x00",
        ] {
            assert_eq!(Decoder::default().decode(wrong), None, "{wrong:?}");
        }
    }
}
