//! bedrock
