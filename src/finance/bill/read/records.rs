//! Wide exports as JSON: one array of objects or one object a line, as queries over an export answer. Read as the same
//! lines of CSV, so that every check is the same.

use std::collections::HashMap;

use csv::WriterBuilder;
use serde_json::Value;
use serde_json::value::RawValue;

use super::Problems;
use super::json::Lines;

/// The text as CSV, and the line that each record stands in.
pub(super) struct AsCsv {
    /// A header and one line for each record.
    pub text: String,
    lines: Vec<usize>,
}

impl AsCsv {
    /// The line of the file that a line of the CSV stands for.
    pub fn line(&self, line: usize) -> usize {
        line.checked_sub(2).and_then(|at| self.lines.get(at).copied()).unwrap_or(1)
    }
}

/// Reads records; `None` after a mistake.
pub(super) fn as_csv(text: &str, problems: &mut Problems<'_>) -> Option<AsCsv> {
    let lines = Lines::new(text);
    let mut raw: Vec<&RawValue> = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<&RawValue>() {
        match value {
            Ok(value) if value.get().starts_with('[') => match serde_json::from_str::<Vec<&RawValue>>(value.get()) {
                Ok(mut inner) => raw.append(&mut inner),
                Err(error) => {
                    problems.add(lines.of(value.get()), format!("this is no list: {error}"), "export it again");
                    return None;
                }
            },
            Ok(value) => raw.push(value),
            Err(error) => {
                problems.add(error.line(), format!("this is not JSON: {error}"), "the file is cut off or damaged");
                return None;
            }
        }
    }
    let mut names: Vec<String> = Vec::new();
    let mut at: HashMap<String, usize> = HashMap::new();
    let mut records = Vec::with_capacity(raw.len());
    for value in &raw {
        let Ok(Value::Object(object)) = serde_json::from_str::<Value>(value.get()) else {
            problems.add(lines.of(value.get()), "this is no record of a bill", "it must be an object, one a line");
            return None;
        };
        // Numbers as they are written: a float would lose digits.
        let texts: HashMap<String, &RawValue> = serde_json::from_str(value.get()).unwrap_or_default();
        for name in object.keys().filter(|name| !at.contains_key(*name)).cloned().collect::<Vec<_>>() {
            at.insert(name.clone(), names.len());
            names.push(name);
        }
        let cells: Vec<(usize, String)> = object
            .iter()
            .filter_map(|(name, value)| {
                let text = match value {
                    Value::Null => return None,
                    Value::String(text) => text.replace(['\n', '\r'], " "),
                    _ => texts.get(name)?.get().replace(['\n', '\r'], " "),
                };
                Some((*at.get(name)?, text))
            })
            .collect();
        records.push(cells);
    }
    if records.is_empty() {
        problems.add(1, "the file is empty", "export it again");
        return None;
    }
    let mut writer = WriterBuilder::new().from_writer(Vec::new());
    // Writing to memory can't fail, and all records have the same length.
    let _ = writer.write_record(&names);
    for cells in records {
        let mut row = vec![String::new(); names.len()];
        for (at, text) in cells {
            if let Some(cell) = row.get_mut(at) {
                *cell = text;
            }
        }
        let _ = writer.write_record(&row);
    }
    let text = String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default();
    Some(AsCsv { text, lines: raw.iter().map(|value| lines.of(value.get())).collect() })
}
