//! What an operator may set for a Bedrock invocation log.

use serde::Deserialize;

/// Facts about the place that a log comes from. Bedrock keeps one log per account and Region and writes both into every
/// record; these values fill in only where a record lacks them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BedrockConfig {
    /// Account id for records without `accountId`; `None` leaves it unknown.
    pub account: Option<String>,
    /// Region for records without `region`; `None` leaves it unknown.
    pub region: Option<String>,
}
