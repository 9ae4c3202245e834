//! Tests of the OTLP normalizer over whole requests.

mod build;
mod calls;
mod dialects;
mod frameworks;
mod fuzz;
mod gateways;
mod hostile;
mod privacy;
mod samples;
mod vocabulary;
