//! From a byte stream to records: JSON lines, and what else log files turn out to be (one pretty-printed value, one
//! array of values, values without line ends, stray text, a cut last line).
//!
//! Lines are the rule and cost nothing extra. A line that opens a JSON value without closing it starts a longer
//! record, which ends where its brackets close, or where a line begins that is a whole value of its own: then the
//! record before it was damaged, and only it is lost.

use std::io::{self, BufRead};

/// A longer record is set aside unread.
pub const MAX_RECORD_BYTES: usize = 32 << 20;

/// One piece of the stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Framed {
    /// A record (or a line that is none), with the byte offset where it starts.
    Record(u64),
    /// A record that is longer than [`MAX_RECORD_BYTES`], skipped.
    TooLong(u64),
}

/// Reads records from a stream. The bytes of the last record are in [`Frames::bytes`].
#[derive(Debug)]
pub struct Frames<R> {
    reader: R,
    offset: u64,
    record: Vec<u8>,
    held: Option<(u64, Vec<u8>)>,
    inside_array: bool,
    /// Elements of a one-line array, last first.
    elements: Vec<(u64, Vec<u8>)>,
    complete_to: u64,
    hold_partial: bool,
}

impl<R: BufRead> Frames<R> {
    /// Frames the stream; offsets start at `offset`.
    pub const fn new(reader: R, offset: u64) -> Self {
        Self {
            reader,
            offset,
            record: Vec::new(),
            held: None,
            inside_array: false,
            elements: Vec::new(),
            complete_to: offset,
            hold_partial: false,
        }
    }

    /// Leaves a record that the stream's end cuts for later: for objects that still grow.
    #[must_use]
    pub const fn holding_partial(mut self, hold: bool) -> Self {
        self.hold_partial = hold;
        self
    }

    /// The bytes of the last record.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.record
    }

    /// Offset behind the last line that ended with a line feed: where to go on in an object that still grows.
    #[must_use]
    pub const fn complete_to(&self) -> u64 {
        self.complete_to
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// The stream can't be read (or is cut, or is a bomb).
    pub fn next_frame(&mut self) -> io::Result<Option<Framed>> {
        if let Some((at, element)) = self.elements.pop() {
            self.record = element;
            return Ok(Some(Framed::Record(at)));
        }
        loop {
            let (at, line) = match self.held.take() {
                Some(held) => held,
                None => match self.line()? {
                    Line::End => return Ok(None),
                    Line::TooLong(at) => return Ok(Some(Framed::TooLong(at))),
                    Line::Text(at, line) => (at, line),
                },
            };
            let text = trim(&line, self.inside_array);
            match text.first() {
                None => {}
                Some(b'[') if !self.inside_array && !text.ends_with(b"]") => {
                    // An array over several lines: its elements are the records.
                    self.inside_array = true;
                    let rest = text.get(1..).unwrap_or_default().to_vec();
                    if !rest.trim_ascii().is_empty() {
                        self.held = Some((at + 1, rest));
                    }
                }
                Some(b'[') if text.ends_with(b"]") => {
                    self.elements = elements(text, at);
                    if let Some((at, element)) = self.elements.pop() {
                        self.record = element;
                        return Ok(Some(Framed::Record(at)));
                    }
                }
                Some(b']') if self.inside_array => self.inside_array = false,
                // The rule: a line that is one value. It is not copied.
                Some(b'{') if end_of_value(text) == Some(text.len()) => {
                    let length = text.len();
                    let mut line = line;
                    // Before it lie blanks, a byte order mark or a comma.
                    let lead = line.iter().position(|byte| *byte == b'{').unwrap_or_default();
                    line.truncate(lead + length);
                    line.drain(..lead);
                    self.record = line;
                    return Ok(Some(Framed::Record(at)));
                }
                Some(b'{') if !balance(text).closed() => return self.long_record(at, text.to_vec()),
                Some(b'{') => {
                    self.elements = values(text, at);
                    if let Some((at, element)) = self.elements.pop() {
                        self.record = element;
                        return Ok(Some(Framed::Record(at)));
                    }
                }
                Some(_) => {
                    self.record = text.to_vec();
                    return Ok(Some(Framed::Record(at)));
                }
            }
        }
    }

    /// A record over several lines.
    fn long_record(&mut self, at: u64, mut record: Vec<u8>) -> io::Result<Option<Framed>> {
        let mut balance = balance(&record);
        loop {
            let (line_at, line) = match self.line()? {
                Line::Text(line_at, line) => (line_at, line),
                Line::TooLong(_) => return Ok(Some(Framed::TooLong(at))),
                Line::End if self.hold_partial => {
                    self.complete_to = at;
                    return Ok(None);
                }
                Line::End => break,
            };
            let starts_anew = line.starts_with(b"{\"") || line.starts_with(b"{ \"");
            if starts_anew && self::balance(trim(&line, false)).closed() {
                self.held = Some((line_at, line));
                break;
            }
            if record.last() != Some(&b'\n') {
                record.push(b'\n');
            }
            record.extend_from_slice(&line);
            if record.len() > MAX_RECORD_BYTES {
                return Ok(Some(Framed::TooLong(at)));
            }
            balance.add(b"\n");
            balance.add(&line);
            if balance.closed() {
                break;
            }
        }
        let text = trim(&record, self.inside_array);
        let mut values = values(text, at);
        match values.pop() {
            Some((at, first)) => {
                self.elements = values;
                self.record = first;
                Ok(Some(Framed::Record(at)))
            }
            None => Ok(None),
        }
    }

    fn line(&mut self) -> io::Result<Line> {
        let at = self.offset;
        // The last record was read: its memory is used again.
        let mut line = std::mem::take(&mut self.record);
        line.clear();
        let cap = u64::try_from(MAX_RECORD_BYTES).unwrap_or(u64::MAX);
        let read = io::Read::take(&mut self.reader, cap).read_until(b'\n', &mut line)?;
        self.offset += u64::try_from(read).unwrap_or(0);
        if read == 0 {
            return Ok(Line::End);
        }
        if line.last() == Some(&b'\n') || (self.hold_partial && is_whole(&line)) {
            self.complete_to = self.offset;
        } else if self.hold_partial {
            return Ok(Line::End);
        } else if line.len() >= MAX_RECORD_BYTES {
            skip_line(&mut self.reader)?;
            return Ok(Line::TooLong(at));
        }
        Ok(Line::Text(at, line))
    }
}

/// A last line without a line feed that is nevertheless a value of its own.
fn is_whole(line: &[u8]) -> bool {
    let text = trim(line, false);
    matches!(text.first(), Some(b'{' | b'[')) && balance(text).closed()
}

enum Line {
    End,
    TooLong(u64),
    Text(u64, Vec<u8>),
}

/// Reads and drops everything up to and including the next line feed; `false` at the end.
fn skip_line(reader: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(false);
        }
        if let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            reader.consume(end + 1);
            return Ok(true);
        }
        let length = buffer.len();
        reader.consume(length);
    }
}

/// Without white space, byte order mark and, inside an array, the comma between elements.
fn trim(line: &[u8], inside_array: bool) -> &[u8] {
    let text = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line).trim_ascii();
    if inside_array {
        let text = text.strip_prefix(b",").unwrap_or(text);
        text.strip_suffix(b",").unwrap_or(text).trim_ascii()
    } else {
        text
    }
}

/// Where the value ends that the text begins with; `None` if it does not end. Most of a record is text within quotes, so
/// that is stepped over in strides.
fn end_of_value(text: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 0_usize);
    loop {
        let rest = text.get(at..)?;
        let found = rest.iter().position(|byte| matches!(byte, b'"' | b'{' | b'[' | b'}' | b']'))?;
        at += found + 1;
        match rest.get(found) {
            Some(b'"') => at = end_of_string(text, at)?,
            Some(b'{' | b'[') => depth += 1,
            _ => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at);
                }
            }
        }
    }
}

/// The place behind the quote that ends a string which goes on at `at`.
fn end_of_string(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let found = at + memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        at = found + 1;
        if text.get(found) == Some(&b'"') {
            return Some(at);
        }
        at += 1;
    }
}

/// Open brackets, aware of strings.
#[derive(Clone, Copy, Debug, Default)]
struct Balance {
    depth: i64,
    in_string: bool,
    escaped: bool,
}

impl Balance {
    fn add(&mut self, text: &[u8]) {
        for byte in text {
            self.step(*byte);
        }
    }

    const fn step(&mut self, byte: u8) {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
        } else {
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => self.depth -= 1,
                _ => {}
            }
        }
    }

    const fn closed(self) -> bool {
        self.depth <= 0 && !self.in_string
    }
}

fn balance(text: &[u8]) -> Balance {
    let mut balance = Balance::default();
    balance.add(text);
    balance
}

/// Several values without line ends between them, last first. What follows the last closed value is a value too.
fn values(text: &[u8], at: u64) -> Vec<(u64, Vec<u8>)> {
    let mut values = split(text, at);
    values.reverse();
    values
}

/// The elements of an array in one line, last first.
fn elements(text: &[u8], at: u64) -> Vec<(u64, Vec<u8>)> {
    let inner = text.strip_prefix(b"[").and_then(|text| text.strip_suffix(b"]")).unwrap_or(text);
    let mut elements = split(inner, at + 1);
    elements.reverse();
    elements
}

fn split(text: &[u8], at: u64) -> Vec<(u64, Vec<u8>)> {
    let mut parts = Vec::new();
    let mut balance = Balance::default();
    let mut start = 0;
    let mut push = |from: usize, to: usize| {
        let part = text.get(from..to).unwrap_or_default();
        let lead = part.len() - part.trim_ascii_start().len();
        let part = part.trim_ascii().strip_prefix(b",").unwrap_or(part.trim_ascii()).trim_ascii();
        let part = part.strip_suffix(b",").unwrap_or(part);
        if !part.is_empty() {
            parts.push((at + u64::try_from(from + lead).unwrap_or(0), part.to_vec()));
        }
    };
    for (index, byte) in text.iter().enumerate() {
        let before = balance;
        balance.step(*byte);
        if before.depth > 0 && balance.closed() {
            push(start, index + 1);
            start = index + 1;
        }
    }
    push(start, text.len());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(text: &[u8]) -> Vec<String> {
        let mut frames = Frames::new(text, 0);
        let mut records = Vec::new();
        while let Some(frame) = frames.next_frame().unwrap() {
            records.push(match frame {
                Framed::Record(_) => String::from_utf8_lossy(frames.bytes()).into_owned(),
                Framed::TooLong(at) => format!("too long at {at}"),
            });
        }
        records
    }

    #[test]
    fn reads_lines_with_stray_text_and_a_cut_end() {
        assert_eq!(
            frames(b"{\"a\":1}\n\nPermissions are set.\n{\"b\":\"}\"}\r\n{\"c\":"),
            ["{\"a\":1}", "Permissions are set.", "{\"b\":\"}\"}", "{\"c\":"]
        );
    }

    #[test]
    fn finds_the_end_of_a_value() {
        for (text, end) in [
            (r#"{"a":1}"#, Some(7)),
            (r#"{"a":"}\"]"}"#, Some(12)),
            (r#"{"a":"\\"}x"#, Some(10)),
            (r#"{"a":[{}]} {"b":2}"#, Some(10)),
            (r#"{"a":"x"#, None),
            (r#"{"a":"x\"#, None),
            (r#"{"a":{"#, None),
            ("{}", Some(2)),
        ] {
            assert_eq!(end_of_value(text.as_bytes()), end, "{text}");
        }
        assert_eq!(frames(b"\xef\xbb\xbf  {\"a\":1} \r\n {\"b\":2},\n"), ["{\"a\":1}", "{\"b\":2}"]);
    }

    #[test]
    fn a_cut_line_in_the_middle_costs_only_itself() {
        assert_eq!(frames(b"{\"a\":{\"x\":1\n{\"b\":2}\n{\"c\":3}\n"), ["{\"a\":{\"x\":1", "{\"b\":2}", "{\"c\":3}"]);
    }

    #[test]
    fn reads_pretty_values_arrays_and_values_in_a_row() {
        assert_eq!(frames(b"  {\n \"a\": [\n1]\n}\n"), ["{\n \"a\": [\n1]\n}"]);
        assert_eq!(frames(b"[{\"a\":1},{\"b\":[2]}]"), ["{\"a\":1}", "{\"b\":[2]}"]);
        assert_eq!(frames(b"[\n  {\n \"a\":1\n  },\n  {\"b\":2}\n]\n"), ["{\n \"a\":1\n  }", "{\"b\":2}"]);
        assert_eq!(frames(b"{\"a\":1}{\"b\":2} {\"c\":3}"), ["{\"a\":1}", "{\"b\":2}", "{\"c\":3}"]);
        assert_eq!(frames(b"\xef\xbb\xbf[ {\"a\":1} ]"), ["{\"a\":1}"]);
    }

    #[test]
    fn skips_a_line_that_is_too_long_and_goes_on() {
        let mut text = vec![b'x'; MAX_RECORD_BYTES + 10];
        text.extend_from_slice(b"\n{\"a\":1}\n");
        assert_eq!(frames(&text), ["too long at 0", "{\"a\":1}"]);
    }

    #[test]
    fn knows_where_whole_lines_end() {
        let mut frames = Frames::new(&b"{\"a\":1}\n{\"b\":"[..], 100);
        while frames.next_frame().unwrap().is_some() {}
        assert_eq!(frames.complete_to(), 108);
        let mut held = Frames::new(&b"{\"a\":1}\n{\"b\":\n"[..], 0).holding_partial(true);
        assert_eq!(held.next_frame().unwrap(), Some(Framed::Record(0)));
        assert_eq!((held.next_frame().unwrap(), held.complete_to()), (None, 8));
        let mut whole = Frames::new(&b"{\"a\":1}\n{\"b\":2}"[..], 0).holding_partial(true);
        assert_eq!(whole.next_frame().unwrap(), Some(Framed::Record(0)));
        assert_eq!((whole.next_frame().unwrap(), whole.complete_to()), (Some(Framed::Record(8)), 15));
    }
}
