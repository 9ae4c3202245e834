//! Decompression with a cap: by ratio on streams of logs, by size on requests.

use std::io::{self, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

/// Below this nothing is called a bomb.
const BOMB_FLOOR_BYTES: u64 = 64 << 20;
/// JSON logs shrink 10 to 50 times; gzip's limit is 1,032.
const BOMB_RATIO: u64 = 250;

/// The stream grew more than any log does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("decompresses to more than {BOMB_RATIO} times its size")]
pub struct Bomb;

/// Plain or gzip bytes (told by the first two), of one member or several.
pub struct Inflate<R: Read> {
    inner: Kind<R>,
    out: u64,
}

enum Kind<R: Read> {
    Plain(BufReader<R>),
    Gzip(Box<MultiGzDecoder<BufReader<Counted<R>>>>),
}

struct Counted<R> {
    inner: R,
    read: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.read += u64::try_from(n).unwrap_or(0);
        Ok(n)
    }
}

impl<R: Read> Inflate<io::Chain<io::Cursor<Vec<u8>>, R>> {
    /// Looks at the first bytes of `inner` and decompresses what follows if it is gzip.
    ///
    /// # Errors
    /// The stream can't be read.
    pub fn new(mut inner: R) -> io::Result<Self> {
        let mut head = Vec::with_capacity(2);
        inner.by_ref().take(2).read_to_end(&mut head)?;
        let gzip = head == [0x1f, 0x8b];
        let whole = io::Cursor::new(head).chain(inner);
        let inner = if gzip {
            Kind::Gzip(Box::new(MultiGzDecoder::new(BufReader::with_capacity(
                1 << 16,
                Counted { inner: whole, read: 0 },
            ))))
        } else {
            Kind::Plain(BufReader::with_capacity(1 << 16, whole))
        };
        Ok(Self { inner, out: 0 })
    }
}

impl<R: Read> Read for Inflate<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.inner {
            Kind::Plain(reader) => reader.read(buffer),
            Kind::Gzip(decoder) => {
                let n = decoder.read(buffer)?;
                self.out += u64::try_from(n).unwrap_or(0);
                let compressed = decoder.get_ref().get_ref().read;
                if self.out > BOMB_FLOOR_BYTES && self.out / BOMB_RATIO > compressed {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, Bomb));
                }
                Ok(n)
            }
        }
    }
}

/// Largest window of a zstd stream (2^25 bytes), which is memory that a few bytes can ask for.
const ZSTD_WINDOW_LOG: u32 = 25;

/// Decompresses a whole gzip or zstd body. `grow` is asked before the result grows by so many bytes; when it says no,
/// nothing more is decompressed and there is no result.
///
/// # Errors
/// The body is damaged.
pub fn inflate_whole(body: &[u8], zstd: bool, grow: impl FnMut(usize) -> bool) -> io::Result<Option<Vec<u8>>> {
    if zstd {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(body)?;
        decoder.window_log_max(ZSTD_WINDOW_LOG)?;
        read_whole(decoder, grow)
    } else {
        read_whole(MultiGzDecoder::new(body), grow)
    }
}

fn read_whole(mut reader: impl Read, mut grow: impl FnMut(usize) -> bool) -> io::Result<Option<Vec<u8>>> {
    let mut whole = Vec::new();
    let mut chunk = vec![0; 1 << 16];
    loop {
        let n = match reader.read(&mut chunk) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if n == 0 {
            return Ok(Some(whole));
        }
        if !grow(n) {
            return Ok(None);
        }
        whole.extend_from_slice(chunk.get(..n).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn reads_plain_and_several_gzip_members() {
        let mut text = String::new();
        Inflate::new(&b"plain"[..]).unwrap().read_to_string(&mut text).unwrap();
        let members = [gzip(b" one"), gzip(b" two")].concat();
        Inflate::new(members.as_slice()).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "plain one two");
        Inflate::new(&b"x"[..]).unwrap().read_to_string(&mut text).unwrap();
    }

    #[test]
    fn stops_a_bomb_and_a_cut_stream() {
        let bomb = gzip(&vec![b'a'; 100 << 20]);
        let error = io::copy(&mut Inflate::new(bomb.as_slice()).unwrap(), &mut io::sink()).unwrap_err();
        assert!(error.get_ref().is_some_and(|inner| inner.is::<Bomb>()));
        let whole = gzip(b"some text that is long enough");
        let cut = &whole[..whole.len() - 6];
        assert!(io::copy(&mut Inflate::new(cut).unwrap(), &mut io::sink()).is_err());
        let mut most = 0;
        let up_to = |cap: usize| {
            let mut grown = 0;
            move |n: usize| {
                grown += n;
                grown <= cap
            }
        };
        assert_eq!(inflate_whole(&bomb, false, up_to(1 << 20)).unwrap(), None);
        let zstd = zstd::bulk::compress(&vec![b'a'; 1 << 20], 3).unwrap();
        assert_eq!(inflate_whole(&zstd, true, up_to(1 << 19)).unwrap(), None);
        let whole = inflate_whole(&zstd, true, |n| {
            most += n;
            true
        });
        assert_eq!((whole.unwrap().map(|whole| whole.len()), most), (Some(1 << 20), 1 << 20));
    }
}
