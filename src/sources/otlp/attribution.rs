//! Who caused a call: service, environment, team, user, session, feature, and the metadata that applications attach.
//!
//! Metadata is the one place where a caller chooses the keys. It is kept in `tags` within limits (short keys, short
//! values, few of them), never where the key names content, personal data or a secret.

use crate::model::{Observation, Tags};

use super::pyrepr::Tree;
use super::record::{Attributes, Family, SpanView, clean};

/// Longest key of a tag, characters.
const KEY_LIMIT: usize = 128;
/// Longest value of a tag, characters; a longer one is content, not a label, and is left out.
const VALUE_LIMIT: usize = 256;
/// Most tags of one observation.
const TAG_LIMIT: usize = 32;

/// Families of keys under which applications attach their own metadata, and the prefixes within them.
const METADATA_FAMILIES: [Family; 4] = [Family::Traceloop, Family::Ai, Family::Langfuse, Family::LangSmith];
const METADATA_PREFIXES: [&str; 6] = [
    "traceloop.association.properties.",
    "ai.telemetry.metadata.",
    "ai.settings.context.",
    "langfuse.trace.metadata.",
    "langfuse.observation.metadata.",
    "langsmith.metadata.",
];

/// Words in a metadata key that announce content, personal data or secrets, by their first letter.
const fn refused_words(first: u8) -> &'static [&'static str] {
    match first {
        b'a' => &["answer", "api_key", "apikey", "authorization", "argument"],
        b'c' => &["completion", "content", "cookie"],
        b'd' => &["document"],
        b'e' => &["email", "exception"],
        b'h' => &["header", "history"],
        b'i' => &["input", "ip_address", "instruction"],
        b'm' => &["message"],
        b'o' => &["output"],
        b'p' => &["prompt", "password", "phone"],
        b'q' => &["query", "question"],
        b'r' => &["response", "request_data"],
        b's' => &["secret", "stack_trace"],
        b't' => &["text", "token", "traceback"],
        _ => &[],
    }
}

/// True where a key has such a word in it, whatever its case.
fn is_refused(key: &str) -> bool {
    let bytes = key.as_bytes();
    (0..bytes.len()).any(|at| {
        let rest = bytes.get(at..).unwrap_or_default();
        let words = rest.first().map_or(&[][..], |first| refused_words(first.to_ascii_lowercase()));
        words.iter().any(|word| rest.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word.as_bytes())))
    })
}

/// A short plain label; `None` for null, for long text and for structures, which may hold anything.
fn label(value: &str) -> Option<&str> {
    let structure = |text: &&str| text.starts_with(['{', '[', '(', '<']);
    clean(value).filter(|text| text.chars().count() <= VALUE_LIMIT && !structure(text))
}

/// Adds a tag of the application within the limits.
pub(super) fn put(tags: &mut Tags, key: &str, value: &str) {
    let key = key.trim();
    let Some(value) = label(value) else { return };
    let fits =
        !key.is_empty() && key.chars().count() <= KEY_LIMIT && (tags.len() < TAG_LIMIT || tags.contains_key(key));
    if fits && !is_refused(key) {
        tags.entry(key.to_owned()).or_insert_with(|| value.to_owned());
    }
}

/// Takes over one metadata pair: known names fill their column, every pair becomes a tag.
pub(super) fn take(observation: &mut Observation, key: &str, value: &str) {
    let Some(text) = label(value) else { return };
    if key.len() > 4 * KEY_LIMIT {
        return;
    }
    let mut folded = String::with_capacity(key.len());
    folded.extend(key.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()));
    let column = match folded.as_str() {
        "userid" | "user" | "enduser" | "enduserid" | "langfuseuserid" => &mut observation.user_id,
        "sessionid" | "session" | "conversationid" | "threadid" | "langfusesessionid" => &mut observation.session_id,
        "team" | "teamid" | "teamalias" | "teamname" => &mut observation.team,
        "feature" | "featurename" => &mut observation.feature,
        "costcenter" | "costcentre" => &mut observation.cost_center,
        "environment" | "env" | "deploymentenvironment" => &mut observation.environment,
        _ => return put(&mut observation.tags, key, value),
    };
    if column.is_none() {
        *column = Some(text.to_owned());
    }
    put(&mut observation.tags, key, value);
}

/// Takes over the scalars of a metadata dictionary and its `tags` list (`"feature:checkout"` is a pair).
pub(super) fn take_tree(observation: &mut Observation, tree: &Tree<'_>) {
    for (key, value) in tree.entries() {
        if key == "tags" {
            value.items().iter().filter_map(Tree::text).for_each(|label| take_label(observation, label));
        } else if let Some(value) = value.scalar() {
            take(observation, key, value);
        }
    }
}

/// Takes over one label: `key:value` is a pair, a bare word is true.
pub(super) fn take_label(observation: &mut Observation, label: &str) {
    match label.split_once(':') {
        Some((key, value)) => take(observation, key, value),
        None => put(&mut observation.tags, label, "true"),
    }
}

/// Fills service and environment from the resource and, for libraries that put them there, from the span.
pub(super) fn fill_resource(view: &SpanView<'_>, observation: &mut Observation) {
    let environment = ["deployment.environment.name", "deployment.environment"];
    let first = |keys: &[&str]| view.attributes.first_text(keys).or_else(|| view.resource.first_text(keys));
    observation.service = first(&["service.name"]).filter(|name| !name.starts_with("unknown_service"));
    observation.environment = first(&environment).or_else(|| view.attributes.text("langfuse.environment"));
}

/// Fills user, session, team, feature and tags from the spellings of all conventions.
pub(super) fn fill(view: &SpanView<'_>, observation: &mut Observation) {
    let attributes = &view.attributes;
    let set = |column: &mut Option<String>, keys: &[&str]| {
        if column.is_none() {
            let short = |text: &std::borrow::Cow<'_, str>| text.chars().count() <= VALUE_LIMIT;
            *column = keys.iter().find_map(|key| attributes.word(key)).filter(short).map(Into::into);
        }
    };
    set(
        &mut observation.user_id,
        &["user.id", "langfuse.user.id", "enduser.id", "gen_ai.user", "gen_ai.request.user", "llm.user"],
    );
    set(
        &mut observation.session_id,
        &["gen_ai.conversation.id", "session.id", "langfuse.session.id", "langsmith.trace.session_id"],
    );
    if attributes.has_family(&METADATA_FAMILIES) {
        let name_of =
            |key: &'_ str| METADATA_PREFIXES.iter().find(|prefix| key.starts_with(**prefix)).map(|prefix| prefix.len());
        let mut metadata: Vec<(&str, usize)> = attributes.keys().filter_map(|key| Some((key, name_of(key)?))).collect();
        // Sorted, because the first that fits is kept and the order of attributes means nothing.
        metadata.sort_unstable();
        for (key, at) in metadata {
            if let (Some(name), Some(value)) = (key.get(at..), attributes.word(key)) {
                take(observation, name, &value);
            }
        }
        // Langfuse also writes all metadata as one JSON object.
        for key in ["langfuse.trace.metadata", "langfuse.observation.metadata"] {
            if let Some(tree) = attributes.tree(key) {
                take_tree(observation, &tree);
            }
        }
        for key in ["langfuse.trace.tags", "langsmith.span.tags"] {
            attributes.items(key, TAG_LIMIT).iter().for_each(|label| take_label(observation, label));
        }
    }
    // OpenInference `metadata` is JSON text.
    if attributes.has_family(&[Family::OpenInference]) {
        if let Some(tree) = attributes.tree("metadata") {
            take_tree(observation, &tree);
        }
        attributes.items("tag.tags", TAG_LIMIT).iter().for_each(|label| take_label(observation, label));
    }
    set(&mut observation.feature, &["ai.telemetry.functionId", "traceloop.workflow.name", "gen_ai.agent.name"]);
    if let Some(agent) = attributes.word("gen_ai.agent.name").or_else(|| attributes.word("agent.name")) {
        put(&mut observation.tags, "agent", &agent);
    }
}

/// Adds the operator's default attributes where the span has none.
pub(super) fn fill_defaults(defaults: &Tags, observation: &mut Observation) {
    for (key, value) in defaults {
        if key == "service" && observation.service.is_none() {
            observation.service = clean(value).map(str::to_owned);
        } else if key == "gateway" && observation.gateway.is_none() {
            observation.gateway = clean(value).map(str::to_owned);
        } else if !matches!(key.as_str(), "service" | "gateway") {
            take(observation, key, value);
        }
    }
}

/// Service of a resource, for rows that are not spans.
pub(super) fn service_of(resource: &Attributes<'_>) -> Option<String> {
    resource.text("service.name").filter(|name| !name.starts_with("unknown_service"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_fills_columns_and_stays_within_limits() {
        let mut observation = Observation::default();
        take(&mut observation, "user_id", "u-7");
        take(&mut observation, "teamId", "search");
        take(&mut observation, "system_prompt", "CANARY");
        take(&mut observation, "note", &"x".repeat(VALUE_LIMIT + 1));
        take_label(&mut observation, "feature:checkout");
        take_label(&mut observation, "beta");
        assert_eq!(observation.user_id.as_deref(), Some("u-7"));
        assert_eq!(observation.team.as_deref(), Some("search"));
        assert_eq!(observation.feature.as_deref(), Some("checkout"));
        assert_eq!(observation.tags.get("beta").map(String::as_str), Some("true"));
        assert!(!observation.tags.contains_key("system_prompt") && !observation.tags.contains_key("note"));
        for n in 0..100 {
            put(&mut observation.tags, &format!("k{n}"), "v");
        }
        assert_eq!(observation.tags.len(), TAG_LIMIT);
    }
}
