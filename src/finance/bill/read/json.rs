//! Pages of the providers' cost APIs: one page, a list of pages or one after the other, with the line of each result.

use std::collections::HashMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::Problems;
use super::number::{self, Read};
use crate::model::RecordId;

/// Offsets of the lines of a text, to tell where a part of it stands.
pub(super) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub fn new(text: &'a str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(ends).collect() }
    }

    /// The line that `part`, which must be a part of the text, starts in.
    pub fn of(&self, part: &str) -> usize {
        let offset = part.as_ptr().addr().saturating_sub(self.text.as_ptr().addr());
        self.starts.partition_point(|start| *start <= offset).max(1)
    }
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
    #[serde(default)]
    has_more: bool,
}

/// Every bucket of every page, unread.
pub(super) fn buckets<'a>(text: &'a str, lines: &Lines<'_>, problems: &mut Problems<'_>) -> Vec<&'a RawValue> {
    let mut buckets = Vec::new();
    let mut more = false;
    let mut empty = true;
    for value in serde_json::Deserializer::from_str(text).into_iter::<&RawValue>() {
        empty = false;
        let value = match value {
            Ok(value) => value,
            Err(error) => {
                problems.add(error.line(), format!("this is not JSON: {error}"), "the file is cut off or damaged");
                return buckets;
            }
        };
        let read = if value.get().starts_with('[') {
            serde_json::from_str::<Vec<Page<'a>>>(value.get())
        } else {
            serde_json::from_str::<Page<'a>>(value.get()).map(|page| vec![page])
        };
        match read {
            Ok(pages) => {
                more = pages.last().is_some_and(|page| page.has_more);
                buckets.extend(pages.into_iter().flat_map(|page| page.data));
            }
            Err(error) => {
                let line = lines.of(value.get()) + error.line().saturating_sub(1);
                let hint = "it must be a page as the API answers it: {\"data\": [...], \"has_more\": false}";
                problems.add(line, format!("this is no page of costs: {error}"), hint);
            }
        }
    }
    if empty {
        problems.add(1, "the file is empty", "export it again");
    }
    if more {
        let last = lines.starts.len();
        problems.add(last, "the last page says that there is more", "fetch the pages that follow and put them behind");
    }
    buckets
}

/// A part as what it should be; a mistake with its line if it is something else.
pub(super) fn part<T: DeserializeOwned>(raw: &RawValue, lines: &Lines<'_>, problems: &mut Problems<'_>) -> Option<T> {
    match serde_json::from_str(raw.get()) {
        Ok(read) => Some(read),
        Err(error) => {
            let line = lines.of(raw.get()) + error.line().saturating_sub(1);
            problems.add(line, format!("this is no result of the cost API: {error}"), "look into the export");
            None
        }
    }
}

/// An amount, as a number or as text. Read from its digits: a float would lose some.
pub(super) fn amount(raw: &RawValue, line: usize, problems: &mut Problems<'_>) -> Option<Read> {
    match number::decimal(raw.get().trim_matches('"')) {
        Ok(read) => Some(read),
        Err((what, hint)) => {
            problems.add(line, format!("the amount {what}"), hint);
            None
        }
    }
}

/// Refuses a result that was there before, in another page.
pub(super) fn once(seen: &mut HashMap<RecordId, usize>, id: RecordId, line: usize, problems: &mut Problems<'_>) {
    if let Some(first) = seen.get(&id) {
        let what = format!("the result stands in line {first} already");
        problems.add(line, what, "take one of the two out: a page was fetched twice");
    } else {
        seen.insert(id, line);
    }
}
