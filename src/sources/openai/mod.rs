//! OpenAI's organization usage and costs as control totals: what it counted itself, by hour, model and project; costs by
//! day, invoice line and project. Never calls.
//!
//! Promises: a bucket that changed later takes the place of what was read before; costs are exact decimals.

mod config;
mod normalize;
mod record;

pub use config::UsageConfig;
pub use normalize::OpenAiUsage;

/// The reports: name, path and what they are grouped by. Costs come by the day only.
pub const REPORTS: [(&str, &str, &[&str]); 3] = [
    ("completions", "/v1/organization/usage/completions", &["model", "project_id"]),
    ("embeddings", "/v1/organization/usage/embeddings", &["model", "project_id"]),
    ("costs", "/v1/organization/costs", &["line_item", "project_id"]),
];
