//! Near-JSON into JSON, as senders write it: lone halves of surrogate pairs, bytes that are no UTF-8, `NaN`, numbers that
//! no float holds, raw control characters, values nested deeper than anyone reads. Runs only where a body could not be
//! parsed; what is no JSON at all stays none.

use crate::model::{Flaws, readable};

/// Deepest nesting that is kept, below what the parser refuses: an attribute may be a list of lists of some thirty levels.
const DEEPEST: usize = 120;
const REPLACEMENT: &[u8] = b"\\ufffd";

/// The body with everything mended that would make a parser refuse it as a whole.
pub(super) fn mended(body: &[u8], flaws: &mut Flaws) -> Vec<u8> {
    let text = readable(body);
    if matches!(text, std::borrow::Cow::Owned(_)) {
        flaws.mend("invalid_utf8");
    }
    let mut mending = Mending { left: text.as_bytes(), out: Vec::with_capacity(text.len()), flaws };
    let mut depth = 0_usize;
    while let Some(byte) = mending.left.first() {
        match byte {
            b'"' => mending.string(),
            b'{' | b'[' if depth == DEEPEST => mending.cut(),
            b'{' | b'[' => {
                depth += 1;
                mending.copy(1);
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                mending.copy(1);
            }
            b'-' | b'+' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => mending.word(),
            _ => mending.copy(1),
        }
    }
    mending.out
}

struct Mending<'a> {
    left: &'a [u8],
    out: Vec<u8>,
    flaws: &'a mut Flaws,
}

impl Mending<'_> {
    fn skip(&mut self, bytes: usize) {
        self.left = self.left.get(bytes..).unwrap_or_default();
    }

    fn copy(&mut self, bytes: usize) {
        let (taken, left) = self.left.split_at(bytes.min(self.left.len()));
        self.out.extend_from_slice(taken);
        self.left = left;
    }

    fn replace(&mut self, bytes: usize, by: &[u8], what: &'static str) {
        self.flaws.mend(what);
        self.out.extend_from_slice(by);
        self.skip(bytes);
    }

    /// A number, or a word that is none of JSON's. As text it is read where a number is wanted.
    fn word(&mut self) {
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
        let length = self.left.iter().position(|byte| !is_part(byte)).unwrap_or(self.left.len());
        let word = self.left.get(..length).unwrap_or_default();
        let number = std::str::from_utf8(word).ok().and_then(|word| word.parse::<f64>().ok());
        // `inf`, `NaN` and `1e999` alike; a word like `infinite` is no number.
        if number.is_some_and(|number| !number.is_finite()) {
            self.flaws.mend("no_finite_number");
            self.out.push(b'"');
            self.copy(length);
            self.out.push(b'"');
        } else {
            self.copy(length);
        }
    }

    /// A text from its quote to its quote.
    fn string(&mut self) {
        self.copy(1);
        loop {
            match self.left {
                [] => return,
                [b'"', ..] => return self.copy(1),
                [b'\\', b'u', digits @ ..] => match unit(digits) {
                    None => self.replace(2, REPLACEMENT, "bad_escape"),
                    Some(0xdc00..=0xdfff) => self.replace(6, REPLACEMENT, "lone_surrogate"),
                    Some(0xd800..=0xdbff) => match digits.get(4..) {
                        Some([b'\\', b'u', second @ ..]) if matches!(unit(second), Some(0xdc00..=0xdfff)) => {
                            self.copy(12);
                        }
                        _ => self.replace(6, REPLACEMENT, "lone_surrogate"),
                    },
                    Some(_) => self.copy(6),
                },
                [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => self.copy(2),
                [b'\\', ..] => self.replace(1, REPLACEMENT, "bad_escape"),
                [0..=0x1f, ..] => self.replace(1, b" ", "control_character"),
                rest => {
                    let ends = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
                    self.copy(rest.iter().position(ends).unwrap_or(rest.len()));
                }
            }
        }
    }

    /// `null` in place of a list or object.
    fn cut(&mut self) {
        let (mut depth, mut in_text, mut length) = (0_usize, false, 0);
        let mut bytes = self.left.iter();
        while let Some(byte) = bytes.next() {
            length += 1;
            match byte {
                b'\\' if in_text => length += usize::from(bytes.next().is_some()),
                b'"' => in_text = !in_text,
                b'{' | b'[' if !in_text => depth += 1,
                b'}' | b']' if !in_text => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        // What never ends would otherwise be cut to something that does.
        let by: &[u8] = if depth == 0 { b"null" } else { b"" };
        self.replace(length, by, "nested_too_deeply");
    }
}

/// The UTF-16 unit of four hex digits.
fn unit(digits: &[u8]) -> Option<u16> {
    let digits = digits.get(..4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(body: &[u8]) -> (Option<Value>, Vec<&'static str>) {
        let mut flaws = Flaws::default();
        let mended = mended(body, &mut flaws);
        assert!(mended.len() <= 3 * body.len() + 8, "{} of {}", mended.len(), body.len());
        (serde_json::from_slice(&mended).ok(), flaws.mended().map(|(what, _)| what).collect())
    }

    #[test]
    fn what_senders_write_is_mended() {
        let cases: [(&[u8], Value, &str); 11] = [
            (br#"["a\ud83d"]"#, json!(["a\u{fffd}"]), "lone_surrogate"),
            (br#"["\ude00b"]"#, json!(["\u{fffd}b"]), "lone_surrogate"),
            (br#"["\ud83d\ud83d\ude00"]"#, json!(["\u{fffd}\u{1f600}"]), "lone_surrogate"),
            (br#"["\ud83d\n"]"#, json!(["\u{fffd}\n"]), "lone_surrogate"),
            (br#"["\u12g4\x"]"#, json!(["\u{fffd}12g4\u{fffd}x"]), "bad_escape"),
            (b"[\"a\xff\xfeb\"]", json!(["a\u{fffd}b"]), "invalid_utf8"),
            (b"[\"a\nb\x00\"]", json!(["a b "]), "control_character"),
            (b"[NaN]", json!(["NaN"]), "no_finite_number"),
            (b"{\"a\":-Infinity}", json!({"a": "-Infinity"}), "no_finite_number"),
            (b"[1e999,2]", json!(["1e999", 2]), "no_finite_number"),
            (br#"["\\\" \u00e9 NaN [",1.5e3,true,null]"#, json!(["\\\" é NaN [", 1500.0, true, null]), ""),
        ];
        for (body, expected, what) in cases {
            let (value, flaws) = read(body);
            assert_eq!(value, Some(expected), "{}", String::from_utf8_lossy(body));
            assert_eq!(flaws.join(" "), what);
        }
    }

    #[test]
    fn what_is_too_deep_is_null_and_its_neighbours_stay() {
        let inner = format!("{}\"]}}\\\"\"{}", "[{\"a\":".repeat(500), "}]".repeat(500));
        let (value, flaws) = read(format!("[1,{inner},2]").as_bytes());
        let value = value.unwrap();
        assert_eq!((&value[0], &value[2], flaws), (&json!(1), &json!(2), vec!["nested_too_deeply"]));
    }

    #[test]
    fn what_is_no_json_stays_none() {
        let bodies: [&[u8]; 9] =
            [b"", b"\xff", b"[\xff]", b"{", b"[\"a", b"[\"\\", b"nonsense", b"[infinite]", b"[1]]"];
        for body in bodies {
            assert_eq!(read(body).0, None, "{}", String::from_utf8_lossy(body));
        }
        for open in ["[", "{\"a\":", "[\""] {
            assert_eq!(read(open.repeat(10_000).as_bytes()).0, None);
        }
    }
    #[test]
    fn what_comes_out_is_json_or_was_never_close_to_it() {
        let whole = br#"{"a": [{"b": "\ud83d\ude00 \n x"}, -1.5e3, true], "c": null}"#;
        for at in 0..whole.len() {
            let _ = read(&whole[..at]);
            for by in *b"\x00\xff\"\\{}[]u9eN" {
                let mut damaged = whole.to_vec();
                damaged[at] = by;
                if serde_json::from_slice::<Value>(&damaged).is_ok() {
                    assert!(read(&damaged).0.is_some(), "{}", String::from_utf8_lossy(&damaged));
                }
            }
        }
    }
}
