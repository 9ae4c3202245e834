//! Patterns in rules that people write: `*` stands for any characters, everything else for itself.

use std::fmt;

/// A text, or several at once with `*`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern(String);

impl Pattern {
    /// The pattern of this text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Stands for one text only.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        !self.0.contains('*')
    }

    /// Whether it stands for `text`; upper and lower case differ.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
        if self.is_exact() {
            return rest.is_empty();
        }
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        // The first place for each part is as good as any later one.
        let behind = parts.try_fold(rest, |rest, part| rest.split_once(part).map(|(_, behind)| behind));
        behind.is_some_and(|behind| behind.ends_with(last))
    }

    /// Whether some text matches both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let (a, b): (Vec<char>, Vec<char>) = (self.0.chars().collect(), other.0.chars().collect());
        // reached[j]: the part of `a` read so far and the first j of `b` can stand for the same text.
        let mut reached = vec![false; b.len() + 1];
        let row = |first: Option<char>, above: &[bool]| -> Vec<bool> {
            let mut row = vec![false; b.len() + 1];
            for j in 0..=b.len() {
                let at = |cells: &[bool], j: usize| cells.get(j).copied().unwrap_or(false);
                let char = j.checked_sub(1).and_then(|j| b.get(j).copied());
                let (up, left) = (at(above, j), j.checked_sub(1).is_some_and(|j| at(&row, j)));
                let both = j.checked_sub(1).is_some_and(|j| at(above, j));
                let here = match (first, char) {
                    (None, None) => true,
                    (Some('*'), _) => up || left || both,
                    (_, Some('*')) => left || up || both,
                    (Some(a), Some(b)) => both && a == b,
                    (Some(_), None) | (None, Some(_)) => false,
                };
                if let Some(cell) = row.get_mut(j) {
                    *cell = here;
                }
            }
            row
        };
        reached = row(None, &reached);
        for char in a {
            reached = row(Some(char), &reached);
        }
        reached.last().copied().unwrap_or(false)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text, expected) in [
            ("EA-*", "EA-9", true),
            ("EA-*", "EA-", true),
            ("EA-*", "ea-9", false),
            ("*", "", true),
            ("a", "a", true),
            ("a", "ab", false),
            ("*:role/*-prod", "arn:role/x-prod", true),
            ("*:role/*-prod", "arn:role/x-prod-2", false),
            ("a*b*c", "abbc", true),
            ("a*a", "a", false),
            ("*ab*ab", "ab", false),
        ] {
            assert_eq!(Pattern::new(pattern).matches(text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn knows_when_two_can_mean_the_same() {
        for (a, b, expected) in [
            ("EA-*", "EA-9", true),
            ("EA-*", "*-9", true),
            ("a*", "b*", false),
            ("*a", "*b", false),
            ("", "*", true),
            ("a", "a", true),
            ("a", "b", false),
            ("*x*", "ab", false),
        ] {
            assert_eq!(Pattern::new(a).overlaps(&Pattern::new(b)), expected, "{a} {b}");
            assert_eq!(Pattern::new(b).overlaps(&Pattern::new(a)), expected, "{b} {a}");
        }
    }

    proptest! {
        #[test]
        fn what_both_match_is_an_overlap(a in "[ab*]{0,5}", b in "[ab*]{0,5}", text in "[ab]{0,6}") {
            let (a, b) = (Pattern::new(&a), Pattern::new(&b));
            if a.matches(&text) && b.matches(&text) {
                prop_assert!(a.overlaps(&b));
            }
            if a.is_exact() {
                prop_assert_eq!(a.overlaps(&b), b.matches(a.as_str()));
            }
        }
    }
}
