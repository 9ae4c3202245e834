//! What was read of each object.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::collect::{ObjectEntry, same_etag};

/// What was read of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Done {
    pub size: u64,
    pub etag: Option<String>,
    pub offset: u64,
}

/// What to do with an object that is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing: all of it was read.
    Nothing,
    /// It grew between a listing and the reading, so all of it was read then; only what is remembered is old.
    Remember,
    /// Read from there on.
    Read(u64),
}

/// What was read of all objects.
pub(super) type Position = HashMap<String, Done>;

impl Done {
    /// What to do with `entry`, of which this was read. An object that grew is read on from its last whole line, as is
    /// one whose cut line is not waited for any longer; one that changed otherwise was made anew. Compressed objects are
    /// written once, so a change means a new object.
    pub fn next(&self, entry: &ObjectEntry, may_grow: bool) -> Next {
        let same = self.size == entry.size && same_etag(self.etag.as_deref(), entry.etag.as_deref());
        let cut_for_good = self.offset < self.size && !may_grow;
        if same && !cut_for_good {
            return Next::Nothing;
        }
        let grew = entry.size > self.size || same;
        let from = if grew && !is_compressed(entry) { self.offset } else { 0 };
        if from > 0 && from == entry.size { Next::Remember } else { Next::Read(from) }
    }
}

pub(super) fn is_compressed(entry: &ObjectEntry) -> bool {
    entry.path.as_ref().ends_with(".gz")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    fn entry(path: &str, size: u64, etag: &str) -> ObjectEntry {
        ObjectEntry { path: path.into(), size, modified: Timestamp(0), etag: Some(etag.to_owned()) }
    }

    fn done(size: u64, etag: &str, offset: u64) -> Done {
        Done { size, etag: Some(etag.to_owned()), offset }
    }

    #[test]
    fn reads_on_what_grew_and_anew_what_was_replaced() {
        let blob = |size, etag| entry("PT1H.json", size, etag);
        assert_eq!(Done::default().next(&blob(10, "a"), true), Next::Read(0));
        assert_eq!(done(10, "a", 10).next(&blob(10, "\"a\""), true), Next::Nothing);
        assert_eq!(done(10, "a", 8).next(&blob(30, "b"), true), Next::Read(8));
        assert_eq!(done(10, "a", 10).next(&blob(10, "b"), true), Next::Read(0));
        assert_eq!(done(30, "a", 30).next(&blob(10, "b"), true), Next::Read(0));
        assert_eq!(done(10, "a", 20).next(&blob(20, "b"), true), Next::Remember);
        assert_eq!(done(10, "a", 5).next(&entry("x.json.gz", 20, "b"), false), Next::Read(0));
    }

    #[test]
    fn a_cut_line_is_waited_for_only_while_the_object_may_grow() {
        let blob = entry("PT1H.json", 10, "a");
        assert_eq!(done(10, "a", 8).next(&blob, true), Next::Nothing);
        assert_eq!(done(10, "a", 8).next(&blob, false), Next::Read(8));
    }
}
