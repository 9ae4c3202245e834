//! What an operator may set for an OTLP receiver or for files of OTLP requests.

use serde::Deserialize;

use crate::model::Tags;

/// Settings of one OTLP source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OtlpConfig {
    /// Values for spans that carry none themselves: `environment`, `service`, `team`, `feature`, `cost_center`,
    /// `gateway` fill the column of that name, every other key becomes a tag.
    pub attributes: Tags,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_default_attributes_and_refuses_unknown_settings() {
        let config: OtlpConfig = toml::from_str("attributes = { environment = \"prod\" }").unwrap();
        assert_eq!(config.attributes.get("environment").map(String::as_str), Some("prod"));
        assert!(toml::from_str::<OtlpConfig>("port = 4317").is_err());
        assert_eq!(toml::from_str::<OtlpConfig>("").unwrap(), OtlpConfig::default());
    }
}
