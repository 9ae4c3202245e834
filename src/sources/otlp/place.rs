//! Who served a call: platform, region and deployment. A host that belongs to a provider overrides the name that a
//! client wrote, because the SDK of one provider is used against many; a gateway's host proves nothing.

use crate::model::platform;

/// Hosts of providers that are asked through another provider's SDK, and their `gen_ai.provider.name`.
const OTHER_HOSTS: [(&str, &str); 10] = [
    ("api.groq.com", "groq"),
    ("api.mistral.ai", "mistral_ai"),
    ("api.deepseek.com", "deepseek"),
    ("api.x.ai", "x_ai"),
    ("api.perplexity.ai", "perplexity"),
    ("api.cohere.com", "cohere"),
    ("api.together.xyz", "together_ai"),
    ("api.fireworks.ai", "fireworks_ai"),
    ("openrouter.ai", "openrouter"),
    ("api.cerebras.ai", "cerebras"),
];

/// What is known about the place of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Canonical platform.
    pub(super) platform: Option<String>,
    /// Region that the host names.
    pub(super) region: Option<String>,
    /// Azure deployment that the path names.
    pub(super) deployment: Option<String>,
}

/// Decides from the name that the client wrote and from every host or URL that it mentions, the most certain first.
pub(super) fn decide(name: Option<&str>, hosts: &[String]) -> Place {
    let mut place = Place { platform: name.and_then(platform::canonical), ..Place::default() };
    for host in hosts {
        let proven = platform::from_host(host);
        let path = path_of(host);
        if let Some(deployment) = deployment_of(path) {
            place.deployment = place.deployment.or(Some(deployment));
        }
        if let Some((platform, region)) = proven {
            place.platform = Some(platform.to_owned());
            place.region = region;
            return place;
        }
        if let Some((_, name)) = OTHER_HOSTS.iter().find(|(known, _)| *known == host_of(host)) {
            place.platform = Some((*name).to_owned());
            return place;
        }
        // Azure's clients put `/openai/` first into the path, whatever stands in front of the resource.
        let openai_like = matches!(place.platform.as_deref(), None | Some(platform::OPENAI));
        if openai_like && (path == "openai" || path.starts_with("openai/")) {
            place.platform = Some(platform::AZURE_OPENAI.to_owned());
        }
    }
    place
}

fn after_scheme(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, rest)| rest)
}

fn host_of(url: &str) -> String {
    let host = after_scheme(url).split(['/', ':', '?']).next().unwrap_or_default();
    host.trim().to_ascii_lowercase()
}

fn path_of(url: &str) -> &str {
    let path = after_scheme(url).split_once('/').map_or("", |(_, path)| path);
    path.split(['?', '#']).next().unwrap_or_default()
}

fn deployment_of(path: &str) -> Option<String> {
    let (_, rest) = path.split_once("openai/deployments/")?;
    let name = rest.split('/').next()?;
    (!name.is_empty() && name.len() <= 128).then(|| name.to_owned())
}

/// Region in the form of a cloud's own ids: `East US 2` becomes `eastus2`, `us-east-1` stays.
pub(super) fn region(text: &str) -> Option<String> {
    let region: String = text.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_lowercase();
    let plausible = region.len() <= 64 && region.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    (plausible && !region.is_empty()).then_some(region)
}

/// The platform that a library's scope name implies, where a failed span says nothing else.
pub(super) fn of_scope(scope: &str) -> Option<&'static str> {
    let scope = scope.to_ascii_lowercase();
    [("bedrock", platform::BEDROCK), ("anthropic", platform::ANTHROPIC), ("openai", platform::OPENAI)]
        .iter()
        .find(|(word, _)| scope.split(['.', '-', '/', '_']).any(|part| part == *word))
        .map(|(_, platform)| *platform)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform_of(name: &str, host: &str) -> Option<String> {
        decide(Some(name), &[host.to_owned()]).platform
    }

    #[test]
    fn a_host_beats_the_name_and_a_gateway_does_not() {
        for (name, host, expected) in [
            ("openai", "https://acme.openai.azure.com/openai/deployments/gpt/chat/completions", "azure.ai.openai"),
            ("openai", "http://127.0.0.1:18081/openai/", "azure.ai.openai"),
            ("openai", "https://api.groq.com/openai/v1", "groq"),
            ("groq", "http://proxy.internal/openai/v1", "groq"),
            ("openai", "http://127.0.0.1:4000/v1", "openai"),
            ("openai", "bedrock-runtime.eu-west-1.amazonaws.com", "aws.bedrock"),
            ("azure", "proxy.internal", "azure.ai.openai"),
        ] {
            assert_eq!(platform_of(name, host).as_deref(), Some(expected), "{name} {host}");
        }
        let place = decide(None, &["https://x.openai.azure.com/openai/deployments/my-gpt/chat?api-version=1".into()]);
        assert_eq!(place.deployment.as_deref(), Some("my-gpt"));
        let place = decide(None, &["https://bedrock-runtime.us-east-1.amazonaws.com".into()]);
        assert_eq!(place.region.as_deref(), Some("us-east-1"));
    }

    #[test]
    fn regions_and_scopes_are_folded() {
        assert_eq!(region("East US 2").as_deref(), Some("eastus2"));
        assert_eq!(region("what is this?"), None);
        assert_eq!(of_scope("openlit.instrumentation.anthropic"), Some("anthropic"));
        assert_eq!(of_scope("opentelemetry.instrumentation.botocore.bedrock-runtime"), Some("aws.bedrock"));
        assert_eq!(of_scope("openlit"), None);
    }
}
