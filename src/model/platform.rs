//! Platforms: who served and billed a call, by the OpenTelemetry `gen_ai.provider.name` values.

/// Amazon Bedrock.
pub const BEDROCK: &str = "aws.bedrock";
/// Azure OpenAI, also inside Azure AI Foundry.
pub const AZURE_OPENAI: &str = "azure.ai.openai";
/// Other models of Azure AI Foundry.
pub const AZURE_INFERENCE: &str = "azure.ai.inference";
/// Google Vertex AI.
pub const VERTEX: &str = "gcp.vertex_ai";
/// The Gemini API.
pub const GEMINI: &str = "gcp.gemini";
/// The OpenAI API.
pub const OPENAI: &str = "openai";
/// The Anthropic API.
pub const ANTHROPIC: &str = "anthropic";

/// The canonical spelling of a platform name that a client or gateway wrote; an unknown one is kept in lower case.
#[must_use]
pub fn canonical(name: &str) -> Option<String> {
    let lower = name.trim().to_ascii_lowercase();
    let known = match lower.as_str() {
        "" => return None,
        "az.ai.openai" | "azure.ai.openai" | "azure.openai" | "azure" | "azure_openai" | "azure-openai" => AZURE_OPENAI,
        "az.ai.inference" | "azure.ai.inference" | "azure_ai" | "azure.inference" => AZURE_INFERENCE,
        "aws.bedrock" | "aws_bedrock" | "bedrock" | "bedrock_converse" | "amazon-bedrock" | "aws" | "aws.anthropic"
        | "amazon_bedrock" | "bedrock-runtime" => BEDROCK,
        "vertex_ai" | "gcp.vertex_ai" | "google-vertex" | "gcp.anthropic" | "vertexai" | "vertex" => VERTEX,
        "gemini" | "gcp.gemini" | "google" | "gcp.gen_ai" | "google_ai_studio" | "google.generative-ai" => GEMINI,
        "openai" => OPENAI,
        "anthropic" => ANTHROPIC,
        other => {
            // Vercel writes `openai.chat`, `amazon-bedrock.converse`: the part before the dot is the provider.
            let head = other.split('.').next().unwrap_or(other);
            return if head != other && matches!(head, "openai" | "anthropic" | "azure" | "amazon-bedrock" | "google") {
                canonical(head)
            } else {
                Some(lower)
            };
        }
    };
    Some(known.to_owned())
}

/// Platform and region that a host name proves; `None` for gateways, loopback and everything else.
#[must_use]
pub fn from_host(host: &str) -> Option<(&'static str, Option<String>)> {
    let host = host.trim().to_ascii_lowercase();
    let host = host.split("://").last().unwrap_or_default();
    let host = host.split(['/', ':', '?']).next().unwrap_or_default();
    if [".openai.azure.com", ".cognitiveservices.azure.com", ".openai.azure.us", ".openai.azure.cn"]
        .iter()
        .any(|end| host.ends_with(end))
    {
        return Some((AZURE_OPENAI, None));
    }
    if host.ends_with(".services.ai.azure.com") || host.ends_with(".models.ai.azure.com") {
        return Some((AZURE_INFERENCE, None));
    }
    if let Some(rest) = host.strip_prefix("bedrock-runtime.").or_else(|| host.strip_prefix("bedrock-runtime-fips."))
        && (host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn"))
    {
        return Some((BEDROCK, rest.split('.').next().map(str::to_owned)));
    }
    if let Some(region) = host.strip_suffix("-aiplatform.googleapis.com") {
        return Some((VERTEX, Some(region.to_owned())));
    }
    match host {
        "aiplatform.googleapis.com" => Some((VERTEX, None)),
        "generativelanguage.googleapis.com" => Some((GEMINI, None)),
        "api.openai.com" | "eu.api.openai.com" | "us.api.openai.com" => Some((OPENAI, None)),
        "api.anthropic.com" => Some((ANTHROPIC, None)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_the_spellings_of_a_platform() {
        for (name, expected) in
            [("AWS", BEDROCK), ("openai.chat", OPENAI), ("az.ai.openai", AZURE_OPENAI), ("azure_ai", AZURE_INFERENCE)]
        {
            assert_eq!(canonical(name).as_deref(), Some(expected));
        }
        assert_eq!(canonical("Mistral").as_deref(), Some("mistral"));
        assert_eq!(canonical(" "), None);
    }

    #[test]
    fn a_host_proves_platform_and_region() {
        assert_eq!(
            from_host("https://bedrock-runtime.eu-west-1.amazonaws.com/x"),
            Some((BEDROCK, Some("eu-west-1".into())))
        );
        assert_eq!(from_host("my.openai.azure.com"), Some((AZURE_OPENAI, None)));
        assert_eq!(from_host("127.0.0.1:4000"), None);
    }
}
