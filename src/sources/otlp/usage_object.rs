//! A provider's own usage object as clients and gateways copy it into an attribute: the shapes of OpenAI (chat and
//! Responses), Anthropic, Bedrock, Gemini, and Langfuse's buckets. See
//! <https://platform.openai.com/docs/api-reference/chat/object>, <https://docs.claude.com/en/api/messages>,
//! <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_TokenUsage.html>,
//! <https://ai.google.dev/api/generate-content#UsageMetadata> and
//! <https://langfuse.com/docs/observability/features/token-and-cost-tracking>.

use crate::model::{Tags, Usage};

use super::pyrepr::Tree;
use super::usage::{Basis, Counts};

/// The counts, already canonical; empty where the object has none of the known shapes.
pub(super) fn read(tree: &Tree<'_>) -> Usage {
    let has = |keys: [&str; 2]| keys.iter().any(|key| tree.get(key).is_some());
    if has(["promptTokenCount", "candidatesTokenCount"]) {
        return gemini(tree, &GEMINI_CAMEL);
    }
    if has(["prompt_token_count", "candidates_token_count"]) {
        return gemini(tree, &GEMINI_SNAKE);
    }
    if has(["inputTokens", "outputTokens"]) {
        return camel_case(tree);
    }
    if has(["prompt_tokens", "completion_tokens"]) {
        return chat(tree);
    }
    if has(["input_tokens", "output_tokens"]) {
        return snake_case(tree);
    }
    if has(["promptTokens", "completionTokens"]) {
        return prompt_camel_case(tree);
    }
    if has(["input", "output"]) {
        return buckets(tree);
    }
    Usage::default()
}

/// Names of Gemini's fields: prompt, tool prompt, cached, candidates, thoughts, prompt details, candidate details.
type GeminiNames = [&'static str; 7];
const GEMINI_CAMEL: GeminiNames = [
    "promptTokenCount",
    "toolUsePromptTokenCount",
    "cachedContentTokenCount",
    "candidatesTokenCount",
    "thoughtsTokenCount",
    "promptTokensDetails",
    "candidatesTokensDetails",
];
const GEMINI_SNAKE: GeminiNames = [
    "prompt_token_count",
    "tool_use_prompt_token_count",
    "cached_content_token_count",
    "candidates_token_count",
    "thoughts_token_count",
    "prompt_tokens_details",
    "candidates_tokens_details",
];

/// Gemini `usageMetadata`: thoughts are beside the candidates, the cached part is inside the prompt.
fn gemini(tree: &Tree<'_>, names: &GeminiNames) -> Usage {
    let [prompt, tool, cached, candidates, thoughts, input_details, output_details] = *names;
    let n = |key: &str| tree.count(&[&[key]]);
    let thoughts = n(thoughts);
    Usage {
        input: n(prompt).map(|prompt| prompt.saturating_add(n(tool).unwrap_or(0))),
        cache_read: n(prompt).and(n(cached)),
        output: match (n(candidates), thoughts) {
            (None, None) => None,
            (candidates, thoughts) => Some(candidates.unwrap_or(0).saturating_add(thoughts.unwrap_or(0))),
        },
        reasoning: thoughts,
        audio_input: modality(tree, input_details, "AUDIO"),
        image_input: modality(tree, input_details, "IMAGE"),
        audio_output: modality(tree, output_details, "AUDIO"),
        ..Usage::default()
    }
}

/// `[{'modality': 'AUDIO', 'tokenCount': 5}, …]`
fn modality(tree: &Tree<'_>, details: &str, kind: &str) -> Option<u64> {
    let is_kind = |entry: &&Tree<'_>| {
        let word = entry.get("modality").and_then(Tree::text);
        word.is_some_and(|word| word.rsplit('.').next() == Some(kind))
    };
    tree.get(details)?.items().iter().find(is_kind)?.count(&[&["tokenCount"], &["token_count"]])
}

/// Bedrock Converse: fresh, read and written tokens side by side.
fn camel_case(tree: &Tree<'_>) -> Usage {
    let n = |keys: &[&str]| keys.iter().find_map(|key| tree.count(&[&[key]]));
    let written_1h = tree.get("cacheDetails").and_then(|details| {
        let hour = |entry: &&Tree<'_>| entry.get("ttl").and_then(Tree::text) == Some("1h");
        details.items().iter().find(hour)?.count(&[&["inputTokens"]])
    });
    let usage = Usage::from_disjoint(
        n(&["inputTokens"]),
        n(&["cacheReadInputTokens", "cacheReadInputTokenCount"]),
        n(&["cacheWriteInputTokens", "cacheWriteInputTokenCount"]),
        n(&["outputTokens"]),
    );
    Usage { cache_write_1h: written_1h.filter(|n| *n > 0), ..usage }
}

/// OpenAI chat completions, and what gateways make of other providers in that shape: the prompt is the whole. Some who
/// speak it (xAI) put reasoning beside the completion, which their total proves.
fn chat(tree: &Tree<'_>) -> Usage {
    let n = |paths: &[&[&str]]| tree.count(paths);
    let input = n(&[&["prompt_tokens"]]);
    let part = |paths: &[&[&str]]| input.and(tree.count(paths));
    let (write_5m, write_1h) = ephemeral(tree, &["prompt_tokens_details", "cache_creation_token_details"]);
    let usage = Usage {
        input,
        cache_read: part(&[
            &["prompt_tokens_details", "cached_tokens"],
            &["cache_read_input_tokens"],
            &["prompt_cache_hit_tokens"],
        ]),
        cache_write: part(&[
            &["prompt_tokens_details", "cache_write_tokens"],
            &["prompt_tokens_details", "cache_creation_tokens"],
            &["cache_creation_input_tokens"],
        ])
        .or(input.and(sum(write_5m, write_1h))),
        cache_write_1h: write_1h,
        output: n(&[&["completion_tokens"]]),
        reasoning: n(&[&["completion_tokens_details", "reasoning_tokens"]]),
        audio_input: n(&[&["prompt_tokens_details", "audio_tokens"]]),
        audio_output: n(&[&["completion_tokens_details", "audio_tokens"]]),
        image_input: n(&[&["prompt_tokens_details", "image_tokens"]]),
        images: None,
    };
    let total = n(&[&["total_tokens"]]);
    Counts { usage, total, basis: Basis::Inclusive }.canonical(&mut Tags::new())
}

/// Tokens written to Anthropic's cache for five minutes and for an hour.
fn ephemeral(tree: &Tree<'_>, path: &[&str]) -> (Option<u64>, Option<u64>) {
    let n = |name: &str| {
        let below = tree.at(path).and_then(|details| details.count(&[&[name]]));
        below.or_else(|| tree.count(&[&["cache_creation", name]])).filter(|n| *n > 0)
    };
    (n("ephemeral_5m_input_tokens"), n("ephemeral_1h_input_tokens"))
}

fn sum(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    (a.is_some() || b.is_some()).then(|| a.unwrap_or(0).saturating_add(b.unwrap_or(0)))
}

/// OpenAI Responses and images (details inside, the input is the whole) or Anthropic (cache counts beside fresh input).
fn snake_case(tree: &Tree<'_>) -> Usage {
    let n = |paths: &[&[&str]]| tree.count(paths);
    let (input, output) = (n(&[&["input_tokens"]]), n(&[&["output_tokens"]]));
    let read = n(&[&["cache_read_input_tokens"]]);
    let (write_5m, write_1h) = ephemeral(tree, &[]);
    let write = n(&[&["cache_creation_input_tokens"]]).or(sum(write_5m, write_1h));
    let whole = tree.get("input_tokens_details").is_some();
    let mut usage = if !whole && (read.is_some() || write.is_some()) {
        Usage { cache_write_1h: write_1h, ..Usage::from_disjoint(input, read, write, output) }
    } else {
        let cached = n(&[&["input_tokens_details", "cached_tokens"], &["cache_read_input_tokens"]]);
        Usage { input, cache_read: input.and(cached), output, ..Usage::default() }
    };
    usage.reasoning = n(&[&["output_tokens_details", "reasoning_tokens"]]);
    usage.audio_input = n(&[&["input_tokens_details", "audio_tokens"]]);
    usage.image_input = n(&[&["input_tokens_details", "image_tokens"]]);
    usage.audio_output = n(&[&["output_tokens_details", "audio_tokens"]]);
    usage
}

/// `promptTokens` and `completionTokens`, as JavaScript wrappers write them.
fn prompt_camel_case(tree: &Tree<'_>) -> Usage {
    let n = |key: &str| tree.count(&[&[key]]);
    Usage { input: n("promptTokens"), output: n("completionTokens"), ..Usage::default() }
}

/// Langfuse `usage_details`: disjoint buckets named `input`, `input_…`, `output`, `output_…`, whose sum is the `total`.
/// Who puts the whole into `input` gives a total that says so.
fn buckets(tree: &Tree<'_>) -> Usage {
    let mut usage = Usage::default();
    let (mut plain_input, mut plain_output, mut total) = (None, None, None);
    let (mut beside_input, mut beside_output) = (0_u64, 0_u64);
    for (key, value) in tree.entries() {
        let Some(n) = value.count(&[&[]]) else { continue };
        let key = key.to_ascii_lowercase();
        let has = |word: &str| key.contains(word);
        match key.as_str() {
            "input" => plain_input = Some(n),
            "output" => plain_output = Some(n),
            "total" => total = Some(n),
            _ if has("cache_read") || has("cached") => add(&mut usage.cache_read, &mut beside_input, n),
            _ if has("cache_creation") || has("cache_write") => add(&mut usage.cache_write, &mut beside_input, n),
            _ if has("reasoning") => add(&mut usage.reasoning, &mut beside_output, n),
            _ if key.starts_with("input_audio") => add(&mut usage.audio_input, &mut beside_input, n),
            _ if key.starts_with("input_image") => add(&mut usage.image_input, &mut beside_input, n),
            _ if key.starts_with("output_audio") => add(&mut usage.audio_output, &mut beside_output, n),
            _ => {}
        }
    }
    let sum = |input: u64, output: u64| {
        plain_input.unwrap_or(0).saturating_add(plain_output.unwrap_or(0)).saturating_add(input).saturating_add(output)
    };
    let beside = beside_input > 0 || beside_output > 0;
    let inside = beside
        && total == Some(sum(0, 0))
        && Some(beside_input) <= plain_input
        && beside_output <= plain_output.unwrap_or(0);
    if inside {
        (beside_input, beside_output) = (0, 0);
    }
    usage.input = plain_input.map(|n| n.saturating_add(beside_input));
    usage.output = plain_output.map(|n| n.saturating_add(beside_output));
    if usage.input.is_none() {
        (usage.cache_read, usage.cache_write, usage.audio_input, usage.image_input) = (None, None, None, None);
    }
    if usage.output.is_none() {
        (usage.reasoning, usage.audio_output) = (None, None);
    }
    usage
}

fn add(part: &mut Option<u64>, beside: &mut u64, n: u64) {
    *part = Some(part.unwrap_or(0).saturating_add(n));
    *beside = beside.saturating_add(n);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Usage {
        read(&Tree::parse(text).unwrap())
    }

    #[test]
    fn every_shape_of_a_usage_object_gives_the_same_call() {
        let whole = Usage {
            input: Some(3000),
            cache_read: Some(2000),
            cache_write: Some(700),
            output: Some(44),
            ..Usage::default()
        };
        for text in [
            "{'inputTokens': 300, 'outputTokens': 44, 'totalTokens': 3044, 'cacheReadInputTokens': 2000, 'cacheWriteInputTokens': 700}",
            "{'input_tokens': 300, 'output_tokens': 44, 'cache_read_input_tokens': 2000, 'cache_creation_input_tokens': 700}",
            "{'prompt_tokens': 3000, 'completion_tokens': 44, 'prompt_tokens_details': {'cached_tokens': 2000, 'cache_creation_tokens': 700}}",
            "{'prompt_tokens': 3000, 'completion_tokens': 44, 'cache_read_input_tokens': 2000, 'cache_creation_input_tokens': 700, 'prompt_tokens_details': None}",
            "Usage(completion_tokens=44, prompt_tokens=3000, total_tokens=3044, prompt_tokens_details=Details(cached_tokens=2000, cache_write_tokens=700))",
            "{'input': 300, 'output': 44, 'input_cached_tokens': 2000, 'cache_creation_input_tokens': 700}",
            "{\"input\": 300, \"output\": 44, \"input_cache_read\": 2000, \"input_cache_creation\": 700, \"total\": 3044}",
            "{\"input\": 3000, \"output\": 44, \"input_cache_read\": 2000, \"input_cache_creation\": 700, \"total\": 3044}",
            "{\"input\": 300, \"output\": 44, \"cache_read\": 2000, \"cache_write\": 700}",
        ] {
            assert_eq!(parse(text), whole, "{text}");
        }
    }

    #[test]
    fn hours_of_cache_are_a_part_of_what_was_written() {
        for text in [
            "{'input_tokens': 300, 'output_tokens': 44, 'cache_creation_input_tokens': 700, 'cache_creation': {'ephemeral_5m_input_tokens': 200, 'ephemeral_1h_input_tokens': 500}}",
            "{'input_tokens': 300, 'output_tokens': 44, 'cache_creation': {'ephemeral_5m_input_tokens': 200, 'ephemeral_1h_input_tokens': 500}}",
            "{'prompt_tokens': 1000, 'completion_tokens': 44, 'prompt_tokens_details': {'cache_creation_token_details': {'ephemeral_5m_input_tokens': 200, 'ephemeral_1h_input_tokens': 500}}}",
            "{'inputTokens': 300, 'outputTokens': 44, 'cacheWriteInputTokens': 700, 'cacheDetails': [{'ttl': '5m', 'inputTokens': 200}, {'ttl': '1h', 'inputTokens': 500}]}",
        ] {
            let usage = parse(text);
            assert_eq!(
                (usage.input, usage.cache_write, usage.cache_write_1h),
                (Some(1000), Some(700), Some(500)),
                "{text}"
            );
        }
    }

    #[test]
    fn gemini_thoughts_are_added_to_the_output() {
        for text in [
            "{'promptTokenCount': 40, 'candidatesTokenCount': 56, 'thoughtsTokenCount': 200, 'promptTokensDetails': [{'modality': 'TEXT', 'tokenCount': 30}, {'modality': 'AUDIO', 'tokenCount': 10}]}",
            "{'prompt_token_count': 40, 'candidates_token_count': 56, 'thoughts_token_count': 200, 'prompt_tokens_details': [ModalityTokenCount(modality='MediaModality.AUDIO', token_count=10)]}",
        ] {
            let usage = parse(text);
            assert_eq!((usage.input, usage.output, usage.reasoning), (Some(40), Some(256), Some(200)), "{text}");
            assert_eq!(usage.audio_input, Some(10), "{text}");
        }
    }

    #[test]
    fn responses_and_images_keep_their_details_inside() {
        let usage = parse(
            "{'input_tokens': 70, 'output_tokens': 300, 'input_tokens_details': {'cached_tokens': 32, 'image_tokens': 9}, 'output_tokens_details': {'reasoning_tokens': 256}, 'cache_read_input_tokens': 32}",
        );
        assert_eq!((usage.input, usage.cache_read, usage.image_input), (Some(70), Some(32), Some(9)));
        assert_eq!((usage.output, usage.reasoning), (Some(300), Some(256)));
        let beside = parse(
            "{'prompt_tokens': 10, 'completion_tokens': 5, 'total_tokens': 115, 'completion_tokens_details': {'reasoning_tokens': 100}}",
        );
        assert_eq!((beside.output, beside.reasoning), (Some(105), Some(100)));
        let deepseek = parse(
            "{'prompt_tokens': 10, 'completion_tokens': 5, 'prompt_cache_hit_tokens': 8, 'prompt_cache_miss_tokens': 2}",
        );
        assert_eq!((deepseek.input, deepseek.cache_read), (Some(10), Some(8)));
        let audio = parse("{\"input\": 5, \"input_audio\": 7, \"output\": 1, \"output_reasoning_tokens\": 3}");
        assert_eq!(
            (audio.input, audio.audio_input, audio.output, audio.reasoning),
            (Some(12), Some(7), Some(4), Some(3))
        );
        assert_eq!(parse("{'x': 1}"), Usage::default());
    }
}
