//! A small client of the PostgreSQL wire, written after the protocol's documentation: what it does not know it shows.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// An error as the server sent it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    pub severity: String,
    pub code: String,
    pub message: String,
    pub hint: String,
}

/// What a statement answered.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    pub columns: Vec<(String, u32)>,
    pub rows: Vec<Vec<Option<Vec<u8>>>>,
    pub tags: Vec<String>,
    pub status: u8,
    pub suspended: bool,
}

impl Rows {
    /// All values as text.
    pub fn text(&self) -> Vec<Vec<Option<String>>> {
        let text = |value: &Option<Vec<u8>>| value.as_ref().map(|value| String::from_utf8_lossy(value).into_owned());
        self.rows.iter().map(|row| row.iter().map(text).collect()).collect()
    }

    /// The first value.
    pub fn first(&self) -> String {
        self.text().first().and_then(|row| row.first().cloned().flatten()).unwrap_or_default()
    }
}

/// A connection.
pub struct Pg {
    stream: TcpStream,
    pub settings: Vec<(String, String)>,
    pub key: (i32, Vec<u8>),
}

fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut block = [0_u8; 64];
    block[..key.len()].copy_from_slice(key);
    let inner = Sha256::new().chain_update(block.map(|b| b ^ 0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(block.map(|b| b ^ 0x5c)).chain_update(inner).finalize().to_vec()
}

fn hi(password: &[u8], salt: &[u8], rounds: u32) -> Vec<u8> {
    let mut last = hmac(password, &[salt, &[0, 0, 0, 1]].concat());
    let mut sum = last.clone();
    for _ in 1..rounds {
        last = hmac(password, &last);
        sum.iter_mut().zip(&last).for_each(|(a, b)| *a ^= b);
    }
    sum
}

impl Pg {
    /// Connects and logs in.
    pub fn connect(address: &str, user: &str, password: &str) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address).expect("a listener");
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut pg = Self { stream, settings: Vec::new(), key: (0, Vec::new()) };
        let mut startup = 196_608_i32.to_be_bytes().to_vec();
        for text in ["user", user, "database", "polymeter", "application_name", "it"] {
            startup.extend(text.as_bytes());
            startup.push(0);
        }
        startup.push(0);
        pg.raw(&[&i32::try_from(startup.len() + 4).unwrap().to_be_bytes()[..], &startup].concat());
        let mut expected = Vec::new();
        loop {
            let (kind, body) = pg.read();
            match kind {
                b'R' => match i32::from_be_bytes(body[..4].try_into().unwrap()) {
                    0 => {}
                    3 => pg.send(b'p', &[password.as_bytes(), &[0]].concat()),
                    10 => {
                        let first = b"n,,n=,r=abcdef";
                        let length = i32::try_from(first.len()).unwrap().to_be_bytes();
                        pg.send(b'p', &[&b"SCRAM-SHA-256\0"[..], &length, first].concat());
                    }
                    11 => {
                        let server = String::from_utf8(body[4..].to_vec()).unwrap();
                        let field = |name| server.split(',').find_map(|f| f.strip_prefix(name)).unwrap().to_owned();
                        let salt = STANDARD.decode(field("s=")).unwrap();
                        let salted = hi(password.as_bytes(), &salt, field("i=").parse().unwrap());
                        let client_key = hmac(&salted, b"Client Key");
                        let unproven = format!("c=biws,r={}", field("r="));
                        let said = format!("n=,r=abcdef,{server},{unproven}");
                        let sign = hmac(&Sha256::digest(&client_key), said.as_bytes());
                        let proof: Vec<u8> = client_key.iter().zip(sign).map(|(a, b)| a ^ b).collect();
                        expected = hmac(&hmac(&salted, b"Server Key"), said.as_bytes());
                        pg.send(b'p', format!("{unproven},p={}", STANDARD.encode(proof)).as_bytes());
                    }
                    12 => {
                        let last = String::from_utf8(body[4..].to_vec()).unwrap();
                        assert_eq!(last, format!("v={}", STANDARD.encode(&expected)), "the server proves itself");
                    }
                    other => panic!("authentication {other}"),
                },
                b'S' => {
                    let mut parts =
                        body.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned());
                    pg.settings.push((parts.next().unwrap(), parts.next().unwrap()));
                }
                b'K' => pg.key = (i32::from_be_bytes(body[..4].try_into().unwrap()), body[4..].to_vec()),
                b'Z' => return Ok(pg),
                b'E' => return Err(failure(&body)),
                b'N' => {}
                other => panic!("message {}", char::from(other)),
            }
        }
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        // A server that has ended it says so in what it sent before.
        let _ = self.stream.write_all(bytes);
    }

    pub fn send(&mut self, kind: u8, body: &[u8]) {
        let length = i32::try_from(body.len() + 4).unwrap().to_be_bytes();
        self.raw(&[&[kind][..], &length, body].concat());
    }

    pub fn read(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head).expect("a message");
        let length = usize::try_from(i32::from_be_bytes(head[1..].try_into().unwrap())).unwrap();
        let mut body = vec![0; length - 4];
        self.stream.read_exact(&mut body).expect("a body");
        (head[0], body)
    }

    /// Whether the server has closed the connection.
    pub fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        matches!(self.stream.read(&mut byte), Ok(0) | Err(_))
    }

    /// Everything up to the next sign of being ready.
    pub fn answer(&mut self) -> Result<Rows, Failure> {
        let (mut rows, mut failed) = (Rows::default(), None);
        loop {
            let (kind, body) = self.read();
            match kind {
                b'T' => rows.columns = columns(&body),
                b'D' => rows.rows.push(values(&body)),
                b'C' => rows.tags.push(String::from_utf8_lossy(&body[..body.len() - 1]).into_owned()),
                b's' => rows.suspended = true,
                b'E' => {
                    let failure = failure(&body);
                    if failure.severity == "FATAL" {
                        return Err(failure);
                    }
                    failed = failed.or(Some(failure));
                }
                b'Z' => {
                    rows.status = body[0];
                    return failed.map_or(Ok(rows), Err);
                }
                b'I' => rows.tags.push(String::new()),
                _ => {}
            }
        }
    }

    /// The simple protocol.
    pub fn query(&mut self, sql: &str) -> Result<Rows, Failure> {
        self.send(b'Q', &[sql.as_bytes(), &[0]].concat());
        self.answer()
    }

    /// The extended protocol with text parameters, and results in text or binary form.
    pub fn ask(&mut self, sql: &str, params: &[Option<&str>], binary: bool) -> Result<Rows, Failure> {
        self.parse(sql);
        let mut bind = vec![0, 0, 0, 0];
        bind.extend(i16::try_from(params.len()).unwrap().to_be_bytes());
        for param in params {
            match param {
                Some(text) => {
                    bind.extend(i32::try_from(text.len()).unwrap().to_be_bytes());
                    bind.extend(text.as_bytes());
                }
                None => bind.extend((-1_i32).to_be_bytes()),
            }
        }
        bind.extend([0, 1, 0, u8::from(binary)]);
        self.send(b'B', &bind);
        self.send(b'D', b"P\0");
        self.send(b'E', &[0, 0, 0, 0, 0]);
        self.send(b'S', &[]);
        self.answer()
    }

    pub fn parse(&mut self, sql: &str) {
        self.send(b'P', &[&[0][..], sql.as_bytes(), &[0, 0, 0]].concat());
    }
}

fn failure(body: &[u8]) -> Failure {
    let mut failure = Failure::default();
    for field in body.split(|byte| *byte == 0).filter(|field| !field.is_empty()) {
        let text = String::from_utf8_lossy(&field[1..]).into_owned();
        match field[0] {
            b'S' => failure.severity = text,
            b'C' => failure.code = text,
            b'M' => failure.message = text,
            b'H' => failure.hint = text,
            _ => {}
        }
    }
    failure
}

fn columns(body: &[u8]) -> Vec<(String, u32)> {
    let count = i16::from_be_bytes([body[0], body[1]]);
    let mut rest = &body[2..];
    let mut columns = Vec::new();
    for _ in 0..count {
        let end = rest.iter().position(|byte| *byte == 0).unwrap();
        let name = String::from_utf8_lossy(&rest[..end]).into_owned();
        columns.push((name, u32::from_be_bytes(rest[end + 7..end + 11].try_into().unwrap())));
        rest = &rest[end + 19..];
    }
    columns
}

fn values(body: &[u8]) -> Vec<Option<Vec<u8>>> {
    let count = i16::from_be_bytes([body[0], body[1]]);
    let mut rest = &body[2..];
    let mut row = Vec::new();
    for _ in 0..count {
        let length = i32::from_be_bytes(rest[..4].try_into().unwrap());
        rest = &rest[4..];
        row.push(usize::try_from(length).ok().map(|length| {
            let (value, after) = rest.split_at(length);
            rest = after;
            value.to_vec()
        }));
    }
    row
}
