//! What an operator may set for OpenAI's usage.

use serde::Deserialize;

/// Facts that the reports do not hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UsageConfig {
    /// The organization, as it should be in `account`; `None` leaves it unknown.
    pub account: Option<String>,
}
