//! Marks of AWS SDKs on their Bedrock spans, whatever instrumentation made them: `OpenTelemetry`'s botocore and AWS SDK
//! instrumentations. See <https://opentelemetry.io/docs/specs/semconv/gen-ai/aws-bedrock/> and
//! <https://opentelemetry.io/docs/specs/semconv/cloud-providers/aws-sdk/>.

use super::{Draft, note_retries, set};
use crate::sources::otlp::place;
use crate::sources::otlp::record::SpanView;

/// Reads request id, region, streaming and the SDK's own retries.
pub(super) fn read<'a>(view: &SpanView<'a>, draft: &mut Draft<'a>) {
    let attributes = &view.attributes;
    let observation = &mut draft.observation;
    set(&mut observation.provider_request_id, || {
        attributes.first_text(&["aws.request_id", "aws.request.id", "aws.requestId"])
    });
    // `cloud.region` on the span is the region that was called; on the resource it is where the caller runs.
    set(&mut observation.region, || place::region(&attributes.first_text(&["cloud.region", "aws.region"])?));
    set(&mut observation.streaming, || Some(attributes.word("rpc.method")?.ends_with("Stream")));
    note_retries(&mut observation.tags, attributes.count("retry_attempts").unwrap_or(0));
}
