//! What an operator may set for Anthropic's reports.

use serde::Deserialize;

/// Facts that the reports do not hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReportConfig {
    /// The organization, as it should be in `account`; `None` leaves it unknown.
    pub account: Option<String>,
}
