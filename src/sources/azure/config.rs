//! What an operator may say about Azure: facts that no log holds, such as the SKU of a deployment.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Settings of the Azure format; all optional.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AzureConfig {
    /// What deployments are, by deployment name or, where two accounts share a name, by `account/deployment`.
    /// Compared without case; the longer form wins.
    pub deployments: BTreeMap<String, Deployment>,
}

/// What one deployment is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Deployment {
    /// Model that is deployed, used where a record names none; `None` leaves it open.
    pub model: Option<String>,
    /// Version of that model; `None` leaves it open.
    pub version: Option<String>,
    /// ARM `sku.name`: `Standard`, `GlobalStandard`, `DataZoneStandard`, `ProvisionedManaged`, `GlobalBatch`, …;
    /// `None` leaves tier and scope open.
    pub sku: Option<String>,
}

impl AzureConfig {
    /// What the operator says about a deployment of an account; `None` if nothing.
    #[must_use]
    pub fn deployment(&self, account: Option<&str>, name: &str) -> Option<&Deployment> {
        if self.deployments.is_empty() {
            return None;
        }
        let find = |wanted: &str| {
            self.deployments.iter().find(|(key, _)| key.eq_ignore_ascii_case(wanted)).map(|(_, found)| found)
        };
        account.and_then(|account| find(&format!("{account}/{name}"))).or_else(|| find(name))
    }
}
