//! Spring AI (Micrometer observations). A model's observation follows the general conventions, with every value as text;
//! the client, its advisors, tools and vector stores are told by `spring.ai.kind` and are never calls. See
//! <https://docs.spring.io/spring-ai/reference/observability/index.html>.

use crate::sources::otlp::record::SpanView;

/// True for spans that Spring AI marks as one of its own layers.
pub(super) fn is_wrapper(view: &SpanView<'_>) -> bool {
    view.attributes.has("spring.ai.kind") || view.span.name.starts_with("spring.ai.")
}

/// True for a span of Spring AI, by its marks.
pub(super) fn is_span(view: &SpanView<'_>) -> bool {
    is_wrapper(view) || view.attributes.is_any("gen_ai.system", &["spring_ai"])
}
