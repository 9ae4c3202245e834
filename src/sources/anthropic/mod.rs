//! Anthropic's usage and cost reports as control totals: tokens by hour, model and workspace; costs by day, workspace and
//! description. Never calls: the reports count no requests.
//!
//! Promises: a bucket that changed later takes the place of what was read before; costs are exact decimals, in dollars.

mod config;
mod normalize;
mod record;

pub use config::ReportConfig;
pub use normalize::AnthropicUsage;

/// The reports: name, path and what they are grouped by. Costs come by the day only.
pub const REPORTS: [(&str, &str, &[&str]); 2] = [
    ("messages", "/v1/organizations/usage_report/messages", &["model", "workspace_id", "service_tier"]),
    ("costs", "/v1/organizations/cost_report", &["workspace_id", "description"]),
];
