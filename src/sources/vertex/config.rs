//! What an operator may set for Vertex AI's logs.

use serde::Deserialize;

/// Facts about the place that rows come from: model names of foundation models hold neither project nor region.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VertexConfig {
    /// Project for rows that name none.
    pub account: Option<String>,
    /// Region for rows that name none.
    pub region: Option<String>,
}
