//! The operator's ordered, dated rules.

use crate::model::{Call, Pattern, Timestamp};
use crate::sheet::{Place, canonical_line};

use super::subject::{Field, Subject};

/// One condition: the call says something that one of the patterns stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct When {
    /// What is looked at.
    pub subject: Subject,
    /// What it may be; a call that does not say it matches none, not even `*`.
    pub patterns: Vec<Pattern>,
}

/// What a rule puts into a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// This text.
    Text(String),
    /// What the call says; where it says nothing, the rule leaves the field to the next one. Written `{tag.team}`.
    Copy(Subject),
}

/// A rule: when all its conditions hold, it decides its fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Its name, unique.
    pub rule_id: String,
    /// Where it stands.
    pub place: Place,
    /// Conditions, all of which must hold; a rule without any holds for every call.
    pub when: Vec<When>,
    /// What it decides.
    pub set: Vec<(Field, Value)>,
    /// First instant of its validity, by the start of a call; `None` for ever before.
    pub valid_from: Option<Timestamp>,
    /// First instant after its validity; `None` for ever after.
    pub valid_to: Option<Timestamp>,
}

/// Why a rule does not hold for a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Miss {
    /// The call is before or after its validity.
    Time,
    /// The call says something else, or nothing.
    When {
        /// What was looked at.
        subject: Subject,
        /// What the call says.
        said: Option<String>,
    },
}

impl Rule {
    /// Whether it is valid at an instant.
    #[must_use]
    pub fn valid_at(&self, at: Timestamp) -> bool {
        self.valid_from.is_none_or(|from| at >= from) && self.valid_to.is_none_or(|to| at < to)
    }

    /// Why it does not hold for a call; nothing if it does.
    #[must_use]
    pub fn miss(&self, call: &Call) -> Option<Miss> {
        if !self.valid_at(call.ts) {
            return Some(Miss::Time);
        }
        let fails = |when: &&When| {
            let texts = when.subject.texts(call);
            !texts.iter().any(|text| when.patterns.iter().any(|pattern| pattern.matches(text)))
        };
        let failed = self.when.iter().find(fails)?;
        let said = failed.subject.text(call).map(str::to_owned);
        Some(Miss::When { subject: failed.subject.clone(), said })
    }

    /// What it puts into a field of a call that it holds for.
    #[must_use]
    pub fn value(&self, field: Field, call: &Call) -> Option<String> {
        let (_, value) = self.set.iter().find(|(own, _)| *own == field)?;
        match value {
            Value::Text(text) => Some(text.clone()),
            Value::Copy(subject) => subject.text(call).map(str::to_owned),
        }
    }

    /// The rule as one line that two equal rules share, wherever they stand.
    pub(super) fn canonical(&self) -> String {
        let instant = |at: Option<Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
        let mut fields =
            vec!["rule".to_owned(), self.rule_id.clone(), instant(self.valid_from), instant(self.valid_to)];
        for when in &self.when {
            fields.push(format!("when {}", when.subject));
            fields.extend(when.patterns.iter().map(|pattern| format!("={pattern}")));
        }
        for (field, value) in &self.set {
            fields.push(match value {
                Value::Text(text) => format!("set {field}={text}"),
                Value::Copy(subject) => format!("copy {field}={subject}"),
            });
        }
        canonical_line(&fields.iter().map(String::as_str).collect::<Vec<_>>())
    }
}
