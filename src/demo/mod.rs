//! Made-up LLM traffic in the providers' own record formats: what `serve --demo` feeds to the real pipeline.
//!
//! A company with two teams, `search` and `support`, calls models on Azure OpenAI and Amazon Bedrock, and through a
//! LiteLLM gateway also at OpenAI and Anthropic; now and then the gateway answers from its cache, and one service of a
//! supplier sends metrics and nothing else. The clouds' own counters know a little more than the logs. Everything is deterministic from a seed and the moment it starts at;
//! nothing here names a real person, account or prompt. Twenty hours before that moment Azure's `eastus` is slow and
//! refuses work for 70 minutes, so that the gateway fails over; five hours before it Bedrock throttles for 12 minutes.

mod azure;
mod bedrock;
mod company;
mod gateway;
mod meters;
mod request;
mod rng;
mod scenario;
mod sdk;
mod spans;
mod text;
mod totals;
mod traffic;
mod truth;

#[cfg(test)]
mod tests;

pub use company::{DEPLOYMENTS, PRINCIPALS, Principal};
pub use text::{ANSWERS, PROMPTS};
pub use totals::DemoCounters;
pub use traffic::{Demo, DemoBatch};
pub use truth::{Beside, DemoTruth, PlatformTruth};
