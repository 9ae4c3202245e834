//! Who served a call: platform, region and deployment. A host that belongs to a provider overrides the name that a
//! client wrote, because the SDK of one provider is used against many; a gateway's host proves nothing.

use std::borrow::Cow;

use crate::model::platform::{self, ANTHROPIC, AZURE_INFERENCE, AZURE_OPENAI, BEDROCK, GEMINI, OPENAI, VERTEX};

/// Names of platforms as clients and gateways write them, without case and punctuation.
const NAMES: [(&str, &[&str]); 7] = [
    (
        AZURE_OPENAI,
        &[
            "azureopenai",
            "azaiopenai",
            "azureaiopenai",
            "azureopenaichat",
            "azureopenairesponses",
            "azure",
            "azuretext",
        ],
    ),
    (
        AZURE_INFERENCE,
        &["azaiinference", "azureaiinference", "azureinference", "azureai", "azureaifoundry", "azurefoundry"],
    ),
    (
        BEDROCK,
        &[
            "awsbedrock",
            "amazonbedrock",
            "bedrock",
            "bedrockconverse",
            "bedrockruntime",
            "bedrockmantle",
            "aws",
            "awsanthropic",
            "awsbedrockruntime",
            "amazonbedrockconverse",
            "amazon",
        ],
    ),
    (
        VERTEX,
        &[
            "vertexai",
            "vertex",
            "vertexaibeta",
            "gcpvertexai",
            "gcpvertex",
            "gcpvertexgemini",
            "gcpvertexanthropic",
            "gcpanthropic",
            "googlevertex",
            "googlevertexai",
            "googlevertexanthropic",
            "googlevertexaianthropic",
            "vertexanthropic",
            "vertexaianthropic",
        ],
    ),
    (
        GEMINI,
        &[
            "gemini",
            "gcpgemini",
            "gcpgenai",
            "google",
            "googlegla",
            "googleai",
            "googleaistudio",
            "googleaistudiogemini",
            "googlegenai",
            "googlegenerativeai",
            "generativeai",
        ],
    ),
    (OPENAI, &["openai", "openairesponses", "openaichat", "textcompletionopenai"]),
    (ANTHROPIC, &["anthropic", "anthropictext", "anthropicmessages"]),
];

/// Frameworks, which write their own name where a provider belongs.
const FRAMEWORKS: [&str; 19] = [
    "langchain",
    "langgraph",
    "llamaindex",
    "crewai",
    "haystack",
    "strandsagents",
    "strands",
    "springai",
    "semantickernel",
    "autogen",
    "ag2",
    "agno",
    "smolagents",
    "pydanticai",
    "mastra",
    "dspy",
    "letta",
    "openaiagents",
    "microsoftagentframework",
];

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

/// The canonical platform behind a name, in the spellings of clients (`openai.chat`), frameworks (`google-gla`) and
/// gateways (`aws-bedrock`, `gcp_vertex_gemini`); a framework's own name says nothing, an unknown one is kept.
pub(super) fn platform_of(name: &str) -> Option<Cow<'static, str>> {
    // Most clients write the canonical name already.
    let canonical = [OPENAI, ANTHROPIC, BEDROCK, AZURE_OPENAI, GEMINI, VERTEX, AZURE_INFERENCE];
    if let Some(platform) = canonical.iter().find(|platform| **platform == name) {
        return Some(Cow::Borrowed(platform));
    }
    let fold = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let known = |folded: &str| NAMES.iter().find(|(_, names)| names.contains(&folded)).map(|(platform, _)| *platform);
    let folded = fold(name);
    if FRAMEWORKS.contains(&folded.as_str()) {
        return None;
    }
    // `openai.chat`, `google.vertex.anthropic.messages`: a provider and its interfaces, the longest known head counts.
    let heads = std::iter::successors(Some(name), |head| head.rsplit_once('.').map(|(head, _)| head));
    let by_head = || heads.skip(1).find_map(|head| known(&fold(head)));
    match known(&folded).or_else(by_head) {
        Some(platform) => Some(Cow::Borrowed(platform)),
        None => platform::canonical(name).map(Cow::Owned),
    }
}

/// Decides from the name that the client wrote and from every host or URL that it mentions, the most certain first.
pub(super) fn decide(name: Option<&str>, hosts: &[Cow<'_, str>]) -> Place {
    let mut platform = name.and_then(platform_of);
    let mut place = Place::default();
    for url in hosts {
        let path = path_of(url);
        if let Some(deployment) = deployment_of(path) {
            place.deployment = place.deployment.or(Some(deployment));
        }
        let host = host_of(url);
        if let Some((proven, region)) = proven(&host, path, platform.as_deref()) {
            place.platform = Some(proven.to_owned());
            place.region = region;
            return place;
        }
        // Azure's clients put `/openai/` first into the path, whatever stands in front of the resource.
        let openai_like = matches!(platform.as_deref(), None | Some(OPENAI));
        if openai_like && is_openai_path(path) {
            platform = Some(Cow::Borrowed(AZURE_OPENAI));
        }
    }
    place.platform = platform.map(Cow::into_owned);
    place
}

/// Platform and region that a host proves, with the path and the SDK's name where one host serves several platforms.
fn proven(host: &str, path: &str, name: Option<&str>) -> Option<(&'static str, Option<String>)> {
    // Addresses and names without a domain prove nothing.
    if !host.contains('.') || host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    if let Some((_, other)) = OTHER_HOSTS.iter().find(|(known, _)| *known == host) {
        return Some((other, None));
    }
    // A Foundry resource serves OpenAI's interface beside all others under each of its names.
    let foundry =
        [".services.ai.azure.com", ".cognitiveservices.azure.com", ".models.ai.azure.com", ".inference.ai.azure.com"];
    if foundry.iter().any(|end| host.ends_with(end)) {
        let by_name = matches!(name, Some(OPENAI | AZURE_OPENAI)) || host.ends_with(".cognitiveservices.azure.com");
        let other_path = ["models", "anthropic", "providers"].iter().any(|head| path.split('/').next() == Some(head));
        let openai = is_openai_path(path) || (by_name && !other_path && name != Some(AZURE_INFERENCE));
        return Some((if openai { AZURE_OPENAI } else { AZURE_INFERENCE }, None));
    }
    if let Some((platform, region)) = platform::from_host(host) {
        return Some((platform, region));
    }
    // `vpce-1-2.bedrock-runtime.eu-west-1.vpce.amazonaws.com`, `bedrock-runtime.us-east-1.api.aws`.
    if [".amazonaws.com", ".amazonaws.com.cn", ".api.aws"].iter().any(|end| host.ends_with(end)) {
        let mut labels = host.split('.');
        labels.find(|label| label.starts_with("bedrock-runtime") || label.starts_with("bedrock-mantle"))?;
        return Some((BEDROCK, labels.next().map(str::to_owned)));
    }
    // `aiplatform.eu.rep.googleapis.com`
    let region = host.strip_prefix("aiplatform.")?.strip_suffix(".rep.googleapis.com")?;
    Some((VERTEX, Some(region.to_owned())))
}

fn is_openai_path(path: &str) -> bool {
    path == "openai" || path.starts_with("openai/")
}

fn after_scheme(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, rest)| rest)
}

fn host_of(url: &str) -> Cow<'_, str> {
    let host = after_scheme(url).split(['/', ':', '?']).next().unwrap_or_default().trim();
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
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

/// True for a region in AWS's form: `us-east-1`, `us-gov-west-1`.
pub(super) fn is_aws_region(text: &str) -> bool {
    let mut parts = text.split('-').rev();
    let number = parts.next().is_some_and(|part| part.len() == 1 && part.chars().all(|c| c.is_ascii_digit()));
    let words: Vec<&str> = parts.collect();
    let area = words.last().is_some_and(|area| area.len() == 2);
    number && area && words.len() >= 2 && words.iter().all(|w| w.chars().all(|c| c.is_ascii_lowercase()))
}

/// The platform that a library's scope name implies, where a failed span says nothing else.
pub(super) fn of_scope(scope: &str) -> Option<&'static str> {
    let parts = || scope.split(['.', '-', '/', '_']);
    [
        ("bedrock", BEDROCK),
        ("anthropic", ANTHROPIC),
        ("openai", OPENAI),
        ("vertexai", VERTEX),
        ("generativeai", GEMINI),
        ("groq", "groq"),
        ("mistralai", "mistral_ai"),
        ("cohere", "cohere"),
        ("together", "together_ai"),
        ("ollama", "ollama"),
    ]
    .iter()
    .find(|(word, _)| parts().any(|part| part.eq_ignore_ascii_case(word)))
    .map(|(_, platform)| *platform)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform_of_host(name: &str, host: &str) -> Option<String> {
        decide(Some(name), &[host.into()]).platform
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
            ("openai", "https://bedrock-mantle.us-east-1.api.aws/v1", "aws.bedrock"),
            ("anthropic", "vpce-0a-1b.bedrock-runtime.eu-west-1.vpce.amazonaws.com", "aws.bedrock"),
            ("anthropic", "us-east5-aiplatform.googleapis.com", "gcp.vertex_ai"),
            ("anthropic", "aiplatform.eu.rep.googleapis.com", "gcp.vertex_ai"),
            ("azure", "proxy.internal", "azure.ai.openai"),
            ("openai", "acme.services.ai.azure.com", "azure.ai.openai"),
            ("openai", "https://acme.services.ai.azure.com/models/chat/completions", "azure.ai.inference"),
            ("az.ai.inference", "acme.services.ai.azure.com", "azure.ai.inference"),
            ("az.ai.inference", "acme.cognitiveservices.azure.com", "azure.ai.inference"),
            ("anthropic", "https://acme.services.ai.azure.com/anthropic/v1/messages", "azure.ai.inference"),
            ("x", "https://acme.cognitiveservices.azure.com/openai/deployments/g/chat/completions", "azure.ai.openai"),
        ] {
            assert_eq!(platform_of_host(name, host).as_deref(), Some(expected), "{name} {host}");
        }
        let place = decide(None, &["https://x.openai.azure.com/openai/deployments/my-gpt/chat?api-version=1".into()]);
        assert_eq!(place.deployment.as_deref(), Some("my-gpt"));
        for host in
            ["https://bedrock-runtime.us-east-1.amazonaws.com", "vpce-1.bedrock-runtime.us-east-1.vpce.amazonaws.com"]
        {
            assert_eq!(decide(None, &[host.into()]).region.as_deref(), Some("us-east-1"));
        }
    }

    #[test]
    fn names_of_all_clients_and_gateways_are_folded() {
        for (name, expected) in [
            ("aws-bedrock", BEDROCK),
            ("amazon_bedrock", BEDROCK),
            ("amazon-bedrock.converse", BEDROCK),
            ("AWS", BEDROCK),
            ("aws.anthropic", BEDROCK),
            ("bedrock_converse", BEDROCK),
            ("azure-openai", AZURE_OPENAI),
            ("az.ai.openai", AZURE_OPENAI),
            ("azure.openai", AZURE_OPENAI),
            ("Azure", AZURE_OPENAI),
            ("azure-openai.chat", AZURE_OPENAI),
            ("azure_ai", AZURE_INFERENCE),
            ("azure_ai_inference", AZURE_INFERENCE),
            ("google_vertexai", VERTEX),
            ("gcp_vertex_gemini", VERTEX),
            ("gcp.anthropic", VERTEX),
            ("vertex-ai", VERTEX),
            ("google.vertex.chat", VERTEX),
            ("google.vertex.anthropic.messages", VERTEX),
            ("vertex_ai_beta", VERTEX),
            ("google_genai", GEMINI),
            ("google-ai-studio", GEMINI),
            ("google-gla", GEMINI),
            ("google.generative-ai", GEMINI),
            ("google_ai_studio_gemini", GEMINI),
            ("gcp.gen_ai", GEMINI),
            ("openai.embedding", OPENAI),
            ("openai.responses", OPENAI),
            ("text-completion-openai", OPENAI),
            ("anthropic.messages", ANTHROPIC),
            ("Mistral", "mistral"),
            ("workers-ai", "workers-ai"),
            ("gcp.vertex.agent", VERTEX),
        ] {
            assert_eq!(platform_of(name).as_deref(), Some(expected), "{name}");
        }
        for name in ["langchain", "spring_ai", "strands-agents", "LlamaIndex", "", " "] {
            assert_eq!(platform_of(name), None, "{name}");
        }
    }

    #[test]
    fn regions_and_scopes_are_folded() {
        assert_eq!(region("East US 2").as_deref(), Some("eastus2"));
        assert_eq!(region("what is this?"), None);
        assert!(is_aws_region("us-east-1") && is_aws_region("us-gov-west-1"));
        assert!(
            !is_aws_region("gpt-4o-1") && !is_aws_region("us-1") && !is_aws_region("") && !is_aws_region("command-r-8")
        );
        assert_eq!(of_scope("openlit.instrumentation.anthropic"), Some("anthropic"));
        assert_eq!(of_scope("opentelemetry.instrumentation.botocore.bedrock-runtime"), Some("aws.bedrock"));
        assert_eq!(of_scope("openlit"), None);
    }
}
