//! Accounts and resources in the words of FOCUS.

use std::collections::BTreeMap;

use super::line::{Party, Resource};
use crate::model::platform;

/// Who pays where no record names an account. The column may not be null.
const NOBODY: &str = "(unknown)";

/// Who pays, and whose usage it is. `billing` names the payer of a platform; without one the account itself is taken.
pub fn accounts(on: &str, account: Option<&str>, billing: &BTreeMap<String, String>) -> (Party, Option<Party>) {
    let party = |id: &str, kind: &str| Party { id: id.to_owned(), name: None, kind: kind.to_owned() };
    let sub = account.map(|id| party(id, kind(on)));
    let payer = match billing.get(on) {
        Some(payer) => party(payer, "Payer"),
        None => party(account.unwrap_or(NOBODY), "Payer"),
    };
    (payer, sub)
}

fn kind(on: &str) -> &'static str {
    match on {
        platform::AZURE_OPENAI | platform::AZURE_INFERENCE => "Subscription",
        platform::OPENAI | platform::VERTEX | platform::GEMINI => "Project",
        platform::ANTHROPIC => "Workspace",
        _ => "Account",
    }
}

/// What served a call.
pub fn resource(on: &str, resource: Option<&str>, deployment: Option<&str>) -> Option<Resource> {
    let azure = matches!(on, platform::AZURE_OPENAI | platform::AZURE_INFERENCE);
    match (resource, deployment) {
        (Some(resource), Some(deployment)) if azure => Some(Resource {
            id: format!("{resource}/deployments/{deployment}"),
            name: Some(deployment.to_owned()),
            kind: "Model Deployment".to_owned(),
        }),
        (Some(resource), _) => {
            let profile = resource.contains("inference-profile");
            let kind = if profile { "Inference Profile" } else { "Model Resource" };
            Some(Resource { id: resource.to_owned(), name: None, kind: kind.to_owned() })
        }
        (None, Some(deployment)) => {
            Some(Resource { id: deployment.to_owned(), name: None, kind: "Model Deployment".to_owned() })
        }
        (None, None) => None,
    }
}
