//! Whether a message is what it says that it is. The library's readers take what they need without a look at what is there,
//! and a message that ends too early would end its connection in a panic.

/// What is at the beginning of the bytes that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A part of a message.
    Part,
    /// A message, whole and readable.
    Whole,
    /// A message of more bytes than one may have.
    Long,
    /// No message of the protocol.
    Broken,
}

/// Looks at the first message; `first` of a connection has no letter before its length.
pub fn look(bytes: &[u8], first: bool, most: usize) -> Frame {
    let (kind, rest) = match (first, bytes.split_first()) {
        (_, None) => return Frame::Part,
        (true, _) => (None, bytes),
        (false, Some((kind, rest))) => (Some(*kind), rest),
    };
    let Some((length, rest)) = rest.split_first_chunk::<4>() else { return Frame::Part };
    let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
    let Some(body) = length.checked_sub(4) else { return Frame::Broken };
    if body > most {
        return Frame::Long;
    }
    let Some(body) = rest.get(..body) else { return Frame::Part };
    let readable = match kind {
        None => body.len() >= 4,
        Some(kind) => reads(kind, body),
    };
    if readable { Frame::Whole } else { Frame::Broken }
}

/// What a client may send once it has begun.
fn reads(kind: u8, body: &[u8]) -> bool {
    let mut body = Body(body);
    let read = match kind {
        b'Q' => body.text(),
        b'P' => body.text().and_then(|()| body.text()).and_then(|()| body.items(|body| body.skip(4))),
        b'B' => body
            .text()
            .and_then(|()| body.text())
            .and_then(|()| body.items(|body| body.skip(2)))
            .and_then(|()| body.items(Body::value))
            .and_then(|()| body.items(|body| body.skip(2))),
        b'E' => body.text().and_then(|()| body.skip(4)),
        b'D' | b'C' => body.skip(1).and_then(|()| body.text()),
        b'S' | b'H' | b'X' => Some(()),
        // A password, or a step of SCRAM: bytes that are read with care where they are used.
        b'p' => Some(()),
        // COPY and its like: there is nothing to copy.
        _ => None,
    };
    read.is_some()
}

struct Body<'a>(&'a [u8]);

impl Body<'_> {
    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.0 = self.0.get(bytes..)?;
        Some(())
    }

    fn text(&mut self) -> Option<()> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        self.skip(end + 1)
    }

    fn items(&mut self, mut one: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        let (count, rest) = self.0.split_first_chunk::<2>()?;
        self.0 = rest;
        (0..u16::from_be_bytes(*count)).try_for_each(|_| one(self))
    }

    fn value(&mut self) -> Option<()> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        // NULL has no length.
        self.skip(usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 1_000;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[kind][..], &length, body].concat()
    }

    const BIND: &[u8] = b"\0s\0\0\x01\0\x01\0\x02\0\0\0\x02ab\xff\xff\xff\xff\0\x01\0\0";

    #[test]
    fn messages_of_the_protocol_are_read() {
        for (kind, body) in [
            (b'Q', &b"SELECT 1\0"[..]),
            (b'P', b"s\0SELECT $1\0\0\x01\0\0\0\x17"),
            (b'B', BIND),
            (b'E', b"\0\0\0\0\0"),
            (b'D', b"Ss\0"),
            (b'C', b"P\0"),
            (b'S', b""),
            (b'p', b"anything"),
        ] {
            let whole = message(kind, body);
            assert_eq!(look(&whole, false, MOST), Frame::Whole, "{}", char::from(kind));
            for end in 0..whole.len() {
                assert_eq!(look(&whole[..end], false, MOST), Frame::Part, "{} {end}", char::from(kind));
            }
        }
        assert_eq!(look(&[0, 0, 0, 8, 0, 3, 0, 0], true, MOST), Frame::Whole);
    }

    #[test]
    fn what_ends_too_early_is_broken() {
        for body in 0..BIND.len() {
            assert_eq!(look(&message(b'B', &BIND[..body]), false, MOST), Frame::Broken, "{body}");
        }
        for (kind, body) in [
            (b'Q', &b"SELECT 1"[..]),
            (b'P', b"s\0SELECT\0"),
            (b'P', b"\0\0\0\x02\0\0"),
            (b'E', b"\0\0"),
            (b'D', b""),
            (b'C', b"P"),
            (b'd', b"x"),
            (b'F', b""),
            (0, b""),
        ] {
            assert_eq!(look(&message(kind, body), false, MOST), Frame::Broken, "{kind} {body:?}");
        }
        let of_length = |length: i32| look(&[&[b'Q'][..], &length.to_be_bytes()].concat(), false, MOST);
        assert!([0, 3, -1, i32::MIN].into_iter().all(|length| of_length(length) == Frame::Broken));
        assert!([1_005, i32::MAX].into_iter().all(|length| of_length(length) == Frame::Long));
        assert_eq!(look(&[0, 0, 0, 5, 0], true, MOST), Frame::Broken);
    }
}
