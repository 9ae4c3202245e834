//! Token counts as clients write them, and their one canonical form. The same key means input *with* cached tokens in
//! one library and *without* them in another, so every reader says which of both it saw.

use crate::model::{Tags, Usage};

use super::pyrepr::Tree;

/// What a reported input count covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Basis {
    /// Tokens read from or written to a cache are part of it.
    Inclusive,
    /// It counts fresh tokens only.
    Exclusive,
    /// The library is not known: decided by arithmetic and marked as assumed.
    #[default]
    Unknown,
}

/// Counts before they are brought to the canonical form; absent is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Counts as written.
    pub(super) usage: Usage,
    /// What `usage.input` covers.
    pub(super) basis: Basis,
}

/// Tag that marks a decision about the input count that no library's documentation covers.
const BASIS_TAG: &str = "otlp.input_basis";

impl Counts {
    /// Fills what is absent from a second reading of the same call on the same basis.
    pub(super) fn fill(&mut self, other: &Usage) {
        let own = &mut self.usage;
        own.input = own.input.or(other.input);
        own.cache_read = own.cache_read.or(other.cache_read);
        own.cache_write = own.cache_write.or(other.cache_write);
        own.cache_write_1h = own.cache_write_1h.or(other.cache_write_1h);
        own.output = own.output.or(other.output);
        own.reasoning = own.reasoning.or(other.reasoning);
        own.audio_input = own.audio_input.or(other.audio_input);
        own.audio_output = own.audio_output.or(other.audio_output);
        own.image_input = own.image_input.or(other.image_input);
        own.images = own.images.or(other.images);
    }

    /// The canonical counts. Where the numbers themselves prove the basis wrong (a part larger than its whole), the
    /// numbers win; what was assumed is tagged.
    pub(super) fn canonical(self, tags: &mut Tags) -> Usage {
        let mut usage = self.usage;
        let cached = usage.cache_read.unwrap_or(0).saturating_add(usage.cache_write.unwrap_or(0));
        let too_large = usage.input.is_some_and(|input| cached > input);
        let exclusive = self.basis == Basis::Exclusive || too_large;
        if exclusive && usage.input.is_some() {
            usage.input = usage.input.map(|fresh| fresh.saturating_add(cached));
        }
        if usage.input.is_none() && cached > 0 {
            // A lone cache count is a lower bound of the input, no more: the whole input is not known.
            usage.cache_read = None;
            usage.cache_write = None;
            usage.cache_write_1h = None;
            tags.insert(BASIS_TAG.to_owned(), "input_missing".to_owned());
        } else if cached > 0 && (self.basis == Basis::Unknown || (self.basis == Basis::Inclusive && too_large)) {
            let word = if exclusive { "assumed_exclusive" } else { "assumed_inclusive" };
            tags.insert(BASIS_TAG.to_owned(), word.to_owned());
        }
        if let (Some(reasoning), Some(output)) = (usage.reasoning, usage.output)
            && reasoning > output
        {
            usage.output = Some(output.saturating_add(reasoning));
            tags.insert("otlp.output_basis".to_owned(), "assumed_exclusive".to_owned());
        }
        usage
    }
}

/// Counts of a provider's own usage object in any of its shapes, already canonical; empty where there are none.
pub(super) fn from_object(tree: &Tree) -> Usage {
    if tree.get("promptTokenCount").is_some() || tree.get("candidatesTokenCount").is_some() {
        return gemini(tree);
    }
    if tree.get("inputTokens").is_some() || tree.get("outputTokens").is_some() {
        return camel_case(tree);
    }
    if tree.get("prompt_tokens").is_some() || tree.get("completion_tokens").is_some() {
        return openai(tree);
    }
    if tree.get("input_tokens").is_some() || tree.get("output_tokens").is_some() {
        return snake_case(tree);
    }
    if tree.get("input").is_some() || tree.get("output").is_some() {
        return buckets(tree);
    }
    Usage::default()
}

/// Gemini `usageMetadata`: thoughts are beside the candidates, the cached part is inside the prompt.
fn gemini(tree: &Tree) -> Usage {
    let n = |key: &str| tree.count(&[&[key]]);
    let thoughts = n("thoughtsTokenCount");
    Usage {
        input: n("promptTokenCount").map(|p| p.saturating_add(n("toolUsePromptTokenCount").unwrap_or(0))),
        cache_read: n("cachedContentTokenCount"),
        output: match (n("candidatesTokenCount"), thoughts) {
            (None, None) => None,
            (candidates, thoughts) => Some(candidates.unwrap_or(0).saturating_add(thoughts.unwrap_or(0))),
        },
        reasoning: thoughts,
        ..Usage::default()
    }
}

/// Bedrock Converse: fresh, read and written tokens side by side.
fn camel_case(tree: &Tree) -> Usage {
    let n = |key: &str| tree.count(&[&[key]]);
    Usage::from_disjoint(n("inputTokens"), n("cacheReadInputTokens"), n("cacheWriteInputTokens"), n("outputTokens"))
}

/// OpenAI chat completions, and what gateways make of other providers in that shape: the prompt is the whole.
fn openai(tree: &Tree) -> Usage {
    let write_1h = tree.count(&[
        &["prompt_tokens_details", "cache_creation_token_details", "ephemeral_1h_input_tokens"],
        &["cache_creation", "ephemeral_1h_input_tokens"],
    ]);
    let input = tree.count(&[&["prompt_tokens"]]);
    let part = |paths: &[&[&str]]| input.and(tree.count(paths));
    Usage {
        input,
        cache_read: part(&[&["prompt_tokens_details", "cached_tokens"], &["cache_read_input_tokens"]]),
        cache_write: part(&[
            &["prompt_tokens_details", "cache_write_tokens"],
            &["prompt_tokens_details", "cache_creation_tokens"],
            &["cache_creation_input_tokens"],
        ]),
        cache_write_1h: write_1h.filter(|n| *n > 0),
        output: tree.count(&[&["completion_tokens"]]),
        reasoning: tree.count(&[&["completion_tokens_details", "reasoning_tokens"]]),
        audio_input: tree.count(&[&["prompt_tokens_details", "audio_tokens"]]),
        audio_output: tree.count(&[&["completion_tokens_details", "audio_tokens"]]),
        image_input: tree.count(&[&["prompt_tokens_details", "image_tokens"]]),
        images: None,
    }
}

/// OpenAI Responses (details inside, the input is the whole) or Anthropic (cache counts beside fresh input).
fn snake_case(tree: &Tree) -> Usage {
    let input = tree.count(&[&["input_tokens"]]);
    let output = tree.count(&[&["output_tokens"]]);
    let read = tree.count(&[&["cache_read_input_tokens"]]);
    let write = tree.count(&[&["cache_creation_input_tokens"]]);
    let mut usage = if read.is_some() || write.is_some() {
        Usage::from_disjoint(input, read, write, output)
    } else {
        let cached = tree.count(&[&["input_tokens_details", "cached_tokens"]]);
        Usage { input, cache_read: cached, output, ..Usage::default() }
    };
    usage.cache_write_1h = tree.count(&[&["cache_creation", "ephemeral_1h_input_tokens"]]).filter(|n| *n > 0);
    usage.reasoning = tree.count(&[&["output_tokens_details", "reasoning_tokens"]]);
    usage
}

/// Langfuse `usage_details`: disjoint buckets named `input`, `input_…`, `output`, `output_…`.
fn buckets(tree: &Tree) -> Usage {
    let n = |paths: &[&[&str]]| tree.count(paths);
    let read = n(&[&["input_cache_read"], &["input_cached_tokens"], &["cache_read_input_tokens"]]);
    let write = n(&[&["input_cache_creation"], &["cache_creation_input_tokens"]]);
    let reasoning = n(&[&["output_reasoning"], &["output_reasoning_tokens"]]);
    let output = n(&[&["output"]]).map(|plain| plain.saturating_add(reasoning.unwrap_or(0)));
    Usage { reasoning, ..Usage::from_disjoint(n(&[&["input"]]), read, write, output) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Usage {
        from_object(&Tree::parse(text).unwrap())
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
            "{'input': 300, 'output': 44, 'input_cached_tokens': 2000, 'cache_creation_input_tokens': 700}",
        ] {
            assert_eq!(parse(text), whole, "{text}");
        }
    }

    #[test]
    fn gemini_thoughts_are_added_to_the_output() {
        let usage = parse("{'promptTokenCount': 40, 'candidatesTokenCount': 56, 'thoughtsTokenCount': 200}");
        assert_eq!((usage.input, usage.output, usage.reasoning), (Some(40), Some(256), Some(200)));
    }

    #[test]
    fn arithmetic_decides_where_the_library_is_unknown() {
        let counts = |input, basis| Counts {
            usage: Usage { input: Some(input), cache_read: Some(2000), ..Usage::default() },
            basis,
        };
        let mut tags = Tags::new();
        assert_eq!(counts(3000, Basis::Unknown).canonical(&mut tags).input, Some(3000));
        assert_eq!(tags.get(BASIS_TAG).map(String::as_str), Some("assumed_inclusive"));
        assert_eq!(counts(300, Basis::Unknown).canonical(&mut tags).input, Some(2300));
        assert_eq!(counts(300, Basis::Inclusive).canonical(&mut tags).input, Some(2300));
        let mut tags = Tags::new();
        assert_eq!(counts(3000, Basis::Exclusive).canonical(&mut tags).input, Some(5000));
        assert!(tags.is_empty());
        assert_eq!(parse("{'x': 1}"), Usage::default());
    }
}
