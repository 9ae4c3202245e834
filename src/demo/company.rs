//! The cast: teams, what they build, and the places that serve their models.

use crate::model::platform;

/// Who calls, as the clouds' own logs know it, and the team that it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Principal {
    /// IAM role name, Entra object id or gateway key alias.
    pub name: &'static str,
    /// Team that owns it.
    pub team: &'static str,
}

/// Principals with their teams: what an operator would put into the attribution rules, because Azure's records name
/// only an object id.
pub const PRINCIPALS: [Principal; 6] = [
    Principal { name: SEARCH.role, team: SEARCH.name },
    Principal { name: SEARCH.object_id, team: SEARCH.name },
    Principal { name: SEARCH.key_alias, team: SEARCH.name },
    Principal { name: SUPPORT.role, team: SUPPORT.name },
    Principal { name: SUPPORT.object_id, team: SUPPORT.name },
    Principal { name: SUPPORT.key_alias, team: SUPPORT.name },
];

/// The Azure deployments of the company; all are pay-as-you-go at Global Standard, which no log says.
pub const DEPLOYMENTS: [&str; 4] = ["gpt-4o-prod", "gpt-41-prod", "gpt-41-mini", "embed-3-small"];

/// A team and what the clouds and the gateway call it.
#[derive(Debug)]
pub(super) struct Team {
    pub(super) name: &'static str,
    pub(super) gateway_id: &'static str,
    pub(super) role: &'static str,
    pub(super) object_id: &'static str,
    pub(super) key_alias: &'static str,
    pub(super) key_hash: &'static str,
    pub(super) cost_center: &'static str,
}

const SEARCH: Team = Team {
    name: "search",
    gateway_id: "team-search-001",
    role: "search-llm-invoker",
    object_id: "5f1c7a52-3f0e-4c7d-9a51-0b6f2f6f1a01",
    key_alias: "search-key",
    key_hash: "6b1f0c1d6f3f4a0c8f5d7e2b9a4c3d1e0f7a6b5c4d3e2f1a0b9c8d7e6f5a4b3c",
    cost_center: "CC-1001",
};

const SUPPORT: Team = Team {
    name: "support",
    gateway_id: "team-support-002",
    role: "support-llm-invoker",
    object_id: "c20d8e1b-64a9-4f3b-8a1e-93c5d7b0e202",
    key_alias: "support-key",
    key_hash: "1d9e8f7a6b5c4d3e2f1a0b9c8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d9e",
    cost_center: "CC-2002",
};

/// What a feature asks of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One question, one answer.
    Chat,
    /// A turn of an agent with tools.
    Agent,
    /// Vectors, no output tokens.
    Embeddings,
}

/// Something that a team built on models. Chances are per mille, token counts medians.
#[derive(Debug)]
pub(super) struct Feature {
    pub(super) name: &'static str,
    pub(super) service: &'static str,
    pub(super) team: Option<&'static Team>,
    pub(super) kind: Kind,
    pub(super) weight: u64,
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
    /// Chance that a long prompt finds its beginning in a cache.
    pub(super) cached: u64,
    pub(super) streamed: u64,
    /// Places and their weights.
    pub(super) places: &'static [(&'static Place, u64)],
    /// Where the gateway goes when the first place fails; it takes one of another platform.
    pub(super) rescue: &'static [&'static Place],
}

/// Who serves a place, with what only this platform's records name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Platform {
    /// An Azure OpenAI account with a deployment.
    Azure { account: &'static str, region_name: &'static str, deployment: &'static str, version: &'static str },
    /// Amazon Bedrock; the regions that the profile may run in are empty where the model id is no profile.
    Bedrock { runs_in: &'static [&'static str] },
    /// api.openai.com
    OpenAi,
    /// api.anthropic.com
    Anthropic,
}

/// One model at one platform. Speeds are medians.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) platform: Platform,
    pub(super) region: &'static str,
    /// Model as the request names it.
    pub(super) model: &'static str,
    /// Model as the answer names it.
    pub(super) answers_as: &'static str,
    /// Alias at the gateway.
    pub(super) group: &'static str,
    pub(super) first_token_ms: u64,
    pub(super) tokens_per_s: u64,
    /// Counts reasoning tokens inside the output.
    pub(super) reasons: bool,
}

impl Place {
    /// The `gen_ai.provider.name` value.
    pub(super) const fn platform_name(&self) -> &'static str {
        match self.platform {
            Platform::Azure { .. } => platform::AZURE_OPENAI,
            Platform::Bedrock { .. } => platform::BEDROCK,
            Platform::OpenAi => platform::OPENAI,
            Platform::Anthropic => platform::ANTHROPIC,
        }
    }

    /// True where the cloud writes a log of its own.
    pub(super) const fn is_logged(&self) -> bool {
        matches!(self.platform, Platform::Azure { .. } | Platform::Bedrock { .. })
    }

    /// True for models with Anthropic's body and cache.
    pub(super) fn is_claude(&self) -> bool {
        self.model.contains("claude")
    }
}

const fn azure(
    east: bool,
    deployment: &'static str,
    model: &'static str,
    version: &'static str,
    answers_as: &'static str,
    group: &'static str,
    speed: (u64, u64),
) -> Place {
    let (account, region, region_name) = if east {
        ("aoai-acme-eastus", "eastus", "East US")
    } else {
        ("aoai-acme-swedencentral", "swedencentral", "Sweden Central")
    };
    Place {
        platform: Platform::Azure { account, region_name, deployment, version },
        region,
        model,
        answers_as,
        group,
        first_token_ms: speed.0,
        tokens_per_s: speed.1,
        reasons: false,
    }
}

const fn bedrock(
    region: &'static str,
    runs_in: &'static [&'static str],
    model: &'static str,
    answers_as: &'static str,
    group: &'static str,
    speed: (u64, u64),
) -> Place {
    Place {
        platform: Platform::Bedrock { runs_in },
        region,
        model,
        answers_as,
        group,
        first_token_ms: speed.0,
        tokens_per_s: speed.1,
        reasons: false,
    }
}

const US: &[&str] = &["us-east-1", "us-east-2", "us-west-2"];
const EU: &[&str] = &["eu-central-1", "eu-west-1", "eu-west-3", "eu-north-1"];
const ANYWHERE: &[&str] = &["us-east-1", "us-east-2", "us-west-2", "ap-northeast-1", "eu-west-1"];

const GPT4O_EAST: Place =
    azure(true, "gpt-4o-prod", "gpt-4o", "2024-11-20", "gpt-4o-2024-11-20", "gpt-4o-azure", (420, 85));
const GPT4O_SWEDEN: Place =
    azure(false, "gpt-4o-prod", "gpt-4o", "2024-11-20", "gpt-4o-2024-11-20", "gpt-4o-azure-eu", (450, 80));
const GPT41_EAST: Place =
    azure(true, "gpt-41-prod", "gpt-4.1", "2025-04-14", "gpt-4.1-2025-04-14", "gpt-4.1-azure", (480, 75));
const GPT41_MINI_EAST: Place =
    azure(true, "gpt-41-mini", "gpt-4.1-mini", "2025-04-14", "gpt-4.1-mini-2025-04-14", "gpt-4.1-mini", (290, 120));
const GPT41_MINI_SWEDEN: Place =
    azure(false, "gpt-41-mini", "gpt-4.1-mini", "2025-04-14", "gpt-4.1-mini-2025-04-14", "gpt-4.1-mini-eu", (310, 115));
const EMBED_EAST: Place =
    azure(true, "embed-3-small", "text-embedding-3-small", "1", "text-embedding-3-small", "embeddings", (60, 1000));
const SONNET_ID: &str = "claude-sonnet-4-20250514";
const HAIKU_ID: &str = "claude-haiku-4-5-20251001";
const SONNET_US: Place = bedrock(
    "us-east-1",
    US,
    "us.anthropic.claude-sonnet-4-20250514-v1:0",
    SONNET_ID,
    "claude-sonnet-bedrock",
    (980, 62),
);
const SONNET_EU: Place = bedrock(
    "eu-central-1",
    EU,
    "eu.anthropic.claude-sonnet-4-20250514-v1:0",
    SONNET_ID,
    "claude-sonnet-bedrock-eu",
    (1050, 58),
);
const HAIKU_EU: Place = bedrock(
    "eu-central-1",
    EU,
    "eu.anthropic.claude-haiku-4-5-20251001-v1:0",
    HAIKU_ID,
    "claude-haiku-bedrock-eu",
    (520, 130),
);
const HAIKU_GLOBAL: Place = bedrock(
    "us-east-1",
    ANYWHERE,
    "global.anthropic.claude-haiku-4-5-20251001-v1:0",
    HAIKU_ID,
    "claude-haiku-bedrock",
    (500, 135),
);
const NOVA_LITE: Place =
    bedrock("us-east-1", &[], "amazon.nova-lite-v1:0", "amazon.nova-lite-v1:0", "nova-lite", (260, 150));
const TITAN: Place = bedrock(
    "us-east-1",
    &[],
    "amazon.titan-embed-text-v2:0",
    "amazon.titan-embed-text-v2:0",
    "embeddings-titan",
    (70, 1000),
);
const GPT4O_DIRECT: Place = Place {
    platform: Platform::OpenAi,
    region: "",
    model: "gpt-4o",
    answers_as: "gpt-4o-2024-11-20",
    group: "gpt-4o",
    first_token_ms: 460,
    tokens_per_s: 80,
    reasons: false,
};
const GPT5_DIRECT: Place = Place {
    platform: Platform::OpenAi,
    region: "",
    model: "gpt-5",
    answers_as: "gpt-5-2025-08-07",
    group: "gpt-5",
    first_token_ms: 2400,
    tokens_per_s: 90,
    reasons: true,
};
const SONNET_DIRECT: Place = Place {
    platform: Platform::Anthropic,
    region: "",
    model: SONNET_ID,
    answers_as: SONNET_ID,
    group: "claude-sonnet",
    first_token_ms: 900,
    tokens_per_s: 66,
    reasons: false,
};

/// Everything that is called, with its share of the traffic.
pub(super) const FEATURES: &[Feature] = &[
    Feature {
        name: "semantic-search",
        service: "search-api",
        team: Some(&SEARCH),
        kind: Kind::Embeddings,
        weight: 28,
        input_tokens: 180,
        output_tokens: 0,
        cached: 0,
        streamed: 0,
        places: &[(&EMBED_EAST, 65), (&TITAN, 35)],
        rescue: &[],
    },
    Feature {
        name: "answer-synthesis",
        service: "search-api",
        team: Some(&SEARCH),
        kind: Kind::Chat,
        weight: 22,
        input_tokens: 3200,
        output_tokens: 320,
        cached: 600,
        streamed: 850,
        places: &[(&GPT4O_EAST, 40), (&SONNET_US, 20), (&GPT4O_DIRECT, 25), (&GPT41_EAST, 15)],
        rescue: &[&SONNET_US, &GPT4O_DIRECT],
    },
    Feature {
        name: "query-rewrite",
        service: "query-service",
        team: Some(&SEARCH),
        kind: Kind::Chat,
        weight: 15,
        input_tokens: 250,
        output_tokens: 40,
        cached: 0,
        streamed: 0,
        places: &[(&GPT41_MINI_EAST, 45), (&NOVA_LITE, 30), (&HAIKU_GLOBAL, 25)],
        rescue: &[&GPT4O_DIRECT, &HAIKU_GLOBAL],
    },
    Feature {
        name: "ticket-triage",
        service: "ticket-worker",
        team: Some(&SUPPORT),
        kind: Kind::Chat,
        weight: 13,
        input_tokens: 900,
        output_tokens: 60,
        cached: 300,
        streamed: 0,
        places: &[(&GPT41_MINI_SWEDEN, 55), (&HAIKU_EU, 45)],
        rescue: &[&GPT4O_DIRECT, &HAIKU_EU],
    },
    Feature {
        name: "reply-draft",
        service: "agent-desk",
        team: Some(&SUPPORT),
        kind: Kind::Chat,
        weight: 12,
        input_tokens: 2600,
        output_tokens: 380,
        cached: 500,
        streamed: 900,
        places: &[(&SONNET_EU, 40), (&GPT4O_SWEDEN, 30), (&SONNET_DIRECT, 30)],
        rescue: &[&SONNET_DIRECT, &GPT4O_DIRECT],
    },
    Feature {
        name: "support-agent",
        service: "agent-desk",
        team: Some(&SUPPORT),
        kind: Kind::Agent,
        weight: 8,
        input_tokens: 8500,
        output_tokens: 450,
        cached: 850,
        streamed: 500,
        places: &[(&SONNET_US, 30), (&SONNET_DIRECT, 25), (&GPT5_DIRECT, 45)],
        rescue: &[&SONNET_DIRECT, &GPT4O_DIRECT],
    },
    Feature {
        name: "notebook",
        service: "shared-notebooks",
        team: None,
        kind: Kind::Chat,
        weight: 2,
        input_tokens: 1200,
        output_tokens: 420,
        cached: 0,
        streamed: 400,
        places: &[(&GPT4O_EAST, 60), (&SONNET_US, 40)],
        rescue: &[],
    },
];
