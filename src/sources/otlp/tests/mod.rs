//! Tests of the OTLP normalizer over whole requests.

mod build;
mod calls;
mod hostile;
mod privacy;
mod samples;
