//! Blocking clients that cost next to nothing themselves: of gRPC, and of HTTP/1.1.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use prost::Message;

const TIMEOUT: Duration = Duration::from_secs(10);
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEADER: usize = 9;
const DEFAULT_WINDOW: i64 = 65_535;

/// Types and flags of frames (RFC 9113, section 6).
mod frame {
    pub(super) const DATA: u8 = 0;
    pub(super) const HEADERS: u8 = 1;
    pub(super) const SETTINGS: u8 = 4;
    pub(super) const PING: u8 = 6;
    pub(super) const WINDOW_UPDATE: u8 = 8;
    pub(super) const END_STREAM: u8 = 1;
    pub(super) const ACK: u8 = 1;
    pub(super) const END_HEADERS: u8 = 4;
}

/// One connection over which one unary call after another is made.
pub(crate) struct Grpc {
    stream: UnixStream,
    headers: Vec<u8>,
    read: Vec<u8>,
    next_stream: u32,
    /// How much may be sent on the connection.
    window: i64,
}

struct Frame {
    kind: u8,
    flags: u8,
    payload: Vec<u8>,
}

impl Grpc {
    pub(crate) fn connect(socket: &Path, method: &str) -> anyhow::Result<Self> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let mut hello = PREFACE.to_vec();
        append(&mut hello, frame::SETTINGS, 0, 0, &[]);
        // So much may come that no other update is needed.
        append(&mut hello, frame::WINDOW_UPDATE, 0, 0, &(1u32 << 30).to_be_bytes());
        stream.write_all(&hello)?;
        let headers = header_block(method);
        Ok(Self { stream, headers, read: Vec::new(), next_stream: 1, window: DEFAULT_WINDOW })
    }

    /// Makes a call and returns the message of its answer.
    pub(crate) fn call(&mut self, request: &impl Message) -> anyhow::Result<Vec<u8>> {
        let body = delimited(request);
        while self.window < body.len() as i64 {
            self.frame()?;
        }
        self.window -= body.len() as i64;
        let id = self.next_stream;
        self.next_stream += 2;
        let mut bytes = Vec::with_capacity(2 * FRAME_HEADER + self.headers.len() + body.len());
        append(&mut bytes, frame::HEADERS, frame::END_HEADERS, id, &self.headers);
        append(&mut bytes, frame::DATA, frame::END_STREAM, id, &body);
        self.stream.write_all(&bytes)?;
        let mut answer = Vec::new();
        loop {
            let Frame { kind, flags, payload } = self.frame()?;
            match kind {
                frame::DATA => answer.extend(payload),
                frame::HEADERS => {}
                _ => continue,
            }
            if flags & frame::END_STREAM != 0 {
                // Compressed or not, length, message.
                return Ok(answer.get(5..).context("an answer without a message")?.to_vec());
            }
        }
    }

    /// Reads the next frame, and answers it if the protocol asks for that.
    fn frame(&mut self) -> anyhow::Result<Frame> {
        while self.read.len() < FRAME_HEADER {
            self.fill()?;
        }
        let length =
            usize::from(self.read[0]) << 16 | usize::from(self.read[1]) << 8 | usize::from(self.read[2]);
        while self.read.len() < FRAME_HEADER + length {
            self.fill()?;
        }
        let frame = Frame {
            kind: self.read[3],
            flags: self.read[4],
            payload: self.read[FRAME_HEADER..FRAME_HEADER + length].to_vec(),
        };
        self.read.drain(..FRAME_HEADER + length);
        let id = |frame: &[u8]| frame.iter().fold(0, |value, byte| value << 8 | u32::from(*byte));
        match (frame.kind, frame.flags & frame::ACK) {
            (frame::SETTINGS | frame::PING, 0) => {
                let payload = if frame.kind == frame::PING { &frame.payload[..] } else { &[] };
                let mut answer = Vec::new();
                append(&mut answer, frame.kind, frame::ACK, 0, payload);
                self.stream.write_all(&answer)?;
            }
            // Those of single streams are never needed: a request is smaller than their first window.
            (frame::WINDOW_UPDATE, _) => self.window += i64::from(id(&frame.payload)),
            (frame::DATA | frame::HEADERS | frame::SETTINGS | frame::PING, _) => {}
            (kind, _) => {
                anyhow::bail!("a frame of type {kind}: {:?}", String::from_utf8_lossy(&frame.payload))
            }
        }
        Ok(frame)
    }

    fn fill(&mut self) -> anyhow::Result<()> {
        let mut buffer = [0; 4096];
        let count = self.stream.read(&mut buffer)?;
        anyhow::ensure!(count > 0, "the server closed the connection");
        self.read.extend(&buffer[..count]);
        Ok(())
    }
}

fn append(bytes: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    bytes.extend(&u32::try_from(payload.len()).unwrap().to_be_bytes()[1..]);
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
}

fn delimited(message: &impl Message) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend(u32::try_from(message.encoded_len()).unwrap().to_be_bytes());
    bytes.extend(message.encode_to_vec());
    bytes
}

/// Encodes the headers of a call without a table (RFC 7541): nothing changes from one call to the next.
fn header_block(method: &str) -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    let mut literal = |name: &[u8], value: &str| {
        block.extend(name);
        block.push(u8::try_from(value.len()).unwrap());
        block.extend(value.as_bytes());
    };
    literal(&[0x04], method);
    literal(&[0x01], "localhost");
    literal(&[0x0f, 0x10], "application/grpc");
    literal(b"\0\x02te", "trailers");
    block
}

/// One connection over which one HTTP/1.1 request after another is made.
pub(crate) struct Http {
    stream: UnixStream,
    request: Vec<u8>,
}

impl Http {
    pub(crate) fn connect(socket: &Path, path: &str, token: &str) -> anyhow::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n").into();
        Ok(Self { stream, request })
    }

    /// Sends the request, and reads the answer to its end; fails unless it is 200.
    pub(crate) fn get(&mut self) -> anyhow::Result<()> {
        self.stream.write_all(&self.request)?;
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        let head = loop {
            let count = self.stream.read(&mut buffer)?;
            anyhow::ensure!(count > 0, "the server closed the connection");
            answer.extend(&buffer[..count]);
            if let Some(end) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break String::from_utf8_lossy(&answer[..end]).into_owned();
            }
        };
        anyhow::ensure!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut rest = (head.len() + 4 + length.map_or(Ok(0), str::parse)?).saturating_sub(answer.len());
        while rest > 0 {
            let count = self.stream.read(&mut buffer)?;
            anyhow::ensure!(count > 0, "the server closed the connection");
            rest = rest.saturating_sub(count);
        }
        Ok(())
    }
}
