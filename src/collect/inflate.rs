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

/// Decompresses a whole gzip or zstd body, at most `cap` bytes of it; `None` if there is more.
///
/// # Errors
/// The body is damaged.
pub fn inflate_capped(body: &[u8], zstd: bool, cap: usize) -> io::Result<Option<Vec<u8>>> {
    let limit = u64::try_from(cap).unwrap_or(u64::MAX).saturating_add(1);
    let mut out = Vec::new();
    if zstd {
        zstd::stream::read::Decoder::new(body)?.take(limit).read_to_end(&mut out)?;
    } else {
        MultiGzDecoder::new(body).take(limit).read_to_end(&mut out)?;
    }
    Ok((out.len() <= cap).then_some(out))
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
        assert_eq!(inflate_capped(&bomb, false, 1000).unwrap(), None);
    }
}
