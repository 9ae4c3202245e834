//! The columns of each kind of row, by name and in order. Names of `calls` are a public contract.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};

use super::ColumnError;
use super::cell::{Cell, normalized};
use crate::model::{Call, Observation, ProviderMetric, Quarantined, Timestamp};

/// A kind of row that is stored as a table.
pub trait Row: Default + Clone {
    /// Name of the table that keeps these rows.
    const TABLE: &'static str;

    /// The stored columns, without the partition column `day`.
    fn schema() -> SchemaRef;

    /// The rows as one batch of [`Row::schema`].
    ///
    /// # Errors
    /// Arrow refuses (a column over 2 GiB).
    fn encode<'a>(rows: impl Iterator<Item = &'a Self> + Clone) -> Result<RecordBatch, ColumnError>
    where
        Self: 'a;

    /// The rows of a batch. A column that the batch lacks keeps its default, an unknown one is ignored.
    ///
    /// # Errors
    /// A column has a foreign type or an unreadable value.
    fn decode(batch: &RecordBatch) -> Result<Vec<Self>, ColumnError>;

    /// The instant that decides the row's day.
    fn instant(&self) -> Timestamp;
}

macro_rules! table {
    ($row:ty, $table:literal, $instant:ident, { $($name:literal : $type:ty = $($path:ident).+;)+ }) => {
        impl Row for $row {
            const TABLE: &'static str = $table;

            fn schema() -> SchemaRef {
                Arc::new(Schema::new(vec![
                    $(Field::new($name, <$type as Cell>::data_type(), <$type as Cell>::NULLABLE),)+
                ]))
            }

            fn encode<'a>(rows: impl Iterator<Item = &'a Self> + Clone) -> Result<RecordBatch, ColumnError> {
                let columns = vec![$(<$type as Cell>::column(rows.clone().map(|row| &row.$($path).+)),)+];
                Ok(RecordBatch::try_new(Self::schema(), columns)?)
            }

            fn decode(batch: &RecordBatch) -> Result<Vec<Self>, ColumnError> {
                let mut rows = vec![Self::default(); batch.num_rows()];
                $(
                    if let Some(column) = batch.column_by_name($name) {
                        let expected = <$type as Cell>::data_type();
                        let column = normalized(column, &expected).ok_or_else(|| ColumnError::Type {
                            column: $name,
                            found: column.data_type().to_string(),
                            expected: expected.to_string(),
                        })?;
                        let cells = <$type as Cell>::cells(&column).ok_or(ColumnError::Value { column: $name })?;
                        rows.iter_mut().zip(cells).for_each(|(row, cell)| row.$($path).+ = cell);
                    }
                )+
                Ok(rows)
            }

            fn instant(&self) -> Timestamp {
                self.$instant
            }
        }
    };
}

type Text = Option<String>;
type Count = Option<u64>;
type Millis = Option<f64>;
type Amount = Option<crate::model::Money>;
type Maybe = Option<bool>;
type Tags = crate::model::Tags;
type Id = crate::model::RecordId;

table!(Observation, "observations", ts, {
    "observation_id": Id = observation_id;
    "source": String = source;
    "dialect": String = dialect;
    "witness": crate::model::Witness = witness;
    "observed_at": Timestamp = observed_at;
    "ts": Timestamp = ts;
    "ts_assumed": bool = ts_assumed;
    "provider_request_id": Text = provider_request_id;
    "response_id": Text = response_id;
    "gateway_request_id": Text = gateway_request_id;
    "trace_id": Text = trace_id;
    "span_id": Text = span_id;
    "parent_span_id": Text = parent_span_id;
    "chain_id": Text = chain_id;
    "platform": Text = platform;
    "request_model": Text = request_model;
    "response_model": Text = response_model;
    "model_version": Text = model_version;
    "deployment": Text = deployment;
    "region": Text = region;
    "served_region": Text = served_region;
    "account": Text = account;
    "resource": Text = resource;
    "operation": Text = operation;
    "streaming": Maybe = streaming;
    "tier": Text = tier;
    "outcome": Option<crate::model::Outcome> = outcome;
    "http_status": Option<u16> = http_status;
    "error_code": Text = error_code;
    "finish_reason": Text = finish_reason;
    "input_tokens": Count = usage.input;
    "cache_read_tokens": Count = usage.cache_read;
    "cache_write_tokens": Count = usage.cache_write;
    "cache_write_1h_tokens": Count = usage.cache_write_1h;
    "output_tokens": Count = usage.output;
    "reasoning_tokens": Count = usage.reasoning;
    "audio_input_tokens": Count = usage.audio_input;
    "audio_output_tokens": Count = usage.audio_output;
    "image_input_tokens": Count = usage.image_input;
    "images": Count = usage.images;
    "usage_status": crate::model::UsageStatus = usage_status;
    "duration_ms": Millis = duration_ms;
    "ttft_ms": Millis = ttft_ms;
    "service": Text = service;
    "environment": Text = environment;
    "team": Text = team;
    "feature": Text = feature;
    "cost_center": Text = cost_center;
    "principal": Text = principal;
    "user_id": Text = user_id;
    "session_id": Text = session_id;
    "gateway": Text = gateway;
    "tags": Tags = tags;
});

table!(Call, "calls", ts, {
    "call_id": Id = call_id;
    "ts": Timestamp = ts;
    "platform": Text = platform;
    "publisher": Text = publisher;
    "model": Text = model;
    "request_model": Text = request_model;
    "response_model": Text = response_model;
    "deployment": Text = deployment;
    "region": Text = region;
    "served_region": Text = served_region;
    "scope": Text = scope;
    "account": Text = account;
    "resource": Text = resource;
    "operation": Text = operation;
    "streaming": Maybe = streaming;
    "tier": Text = tier;
    "outcome": crate::model::Outcome = outcome;
    "http_status": Option<u16> = http_status;
    "error_code": Text = error_code;
    "finish_reason": Text = finish_reason;
    "input_tokens": Count = usage.input;
    "cache_read_tokens": Count = usage.cache_read;
    "cache_write_tokens": Count = usage.cache_write;
    "cache_write_1h_tokens": Count = usage.cache_write_1h;
    "output_tokens": Count = usage.output;
    "reasoning_tokens": Count = usage.reasoning;
    "audio_input_tokens": Count = usage.audio_input;
    "audio_output_tokens": Count = usage.audio_output;
    "image_input_tokens": Count = usage.image_input;
    "images": Count = usage.images;
    "usage_status": crate::model::UsageStatus = usage_status;
    "duration_ms": Millis = duration_ms;
    "provider_duration_ms": Millis = provider_duration_ms;
    "ttft_ms": Millis = ttft_ms;
    "provider_ttft_ms": Millis = provider_ttft_ms;
    "service": Text = service;
    "environment": Text = environment;
    "team": Text = team;
    "feature": Text = feature;
    "cost_center": Text = cost_center;
    "principal": Text = principal;
    "user_id": Text = user_id;
    "session_id": Text = session_id;
    "gateway": Text = gateway;
    "tags": Tags = tags;
    "list_cost": Amount = list_cost;
    "cost": Amount = cost;
    "currency": Text = currency;
    "cost_status": crate::model::CostStatus = cost_status;
    "rate_ids": Vec<String> = rate_ids;
    "witnesses": Vec<String> = witnesses;
    "provider_request_id": Text = provider_request_id;
    "response_id": Text = response_id;
    "trace_id": Text = trace_id;
    "span_id": Text = span_id;
    "chain_id": Text = chain_id;
    "attempt": Option<u16> = attempt;
    "conflict": bool = conflict;
    "observed_at": Timestamp = observed_at;
    "settled_at": Timestamp = settled_at;
});

table!(ProviderMetric, "provider_metrics", ts, {
    "metric_id": Id = metric_id;
    "source": String = source;
    "observed_at": Timestamp = observed_at;
    "ts": Timestamp = ts;
    "interval_s": Count = interval_s;
    "platform": Text = platform;
    "account": Text = account;
    "resource": Text = resource;
    "region": Text = region;
    "deployment": Text = deployment;
    "model": Text = model;
    "name": String = name;
    "unit": Text = unit;
    "count": Millis = count;
    "total": Millis = total;
    "minimum": Millis = minimum;
    "maximum": Millis = maximum;
    "average": Millis = average;
    "dimensions": Tags = dimensions;
});

table!(Quarantined, "quarantine", ts, {
    "quarantine_id": Id = quarantine_id;
    "observed_at": Timestamp = observed_at;
    "ts": Timestamp = ts;
    "source": String = source;
    "object": String = object;
    "position": u64 = position;
    "bytes": u64 = bytes;
    "reason": String = reason;
    "detail": String = detail;
    "resolved_at": Option<Timestamp> = resolved_at;
});

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Money, Outcome, RecordId, Usage, Witness};

    #[test]
    fn an_observation_survives_a_round_trip() {
        let full = Observation {
            observation_id: RecordId([7; 16]),
            source: "s".into(),
            witness: Witness::Gateway,
            ts: Timestamp(1_700_000_000_000_000),
            outcome: Some(Outcome::Throttled),
            http_status: Some(429),
            usage: Usage { input: Some(3), cache_read: Some(0), ..Usage::default() },
            duration_ms: Some(1.5),
            tags: [("a".to_owned(), "b".to_owned())].into(),
            ..Observation::default()
        };
        let rows = [full, Observation::default()];
        let batch = Observation::encode(rows.iter()).unwrap();
        assert_eq!(Observation::decode(&batch).unwrap(), rows);
    }

    #[test]
    fn a_call_survives_a_round_trip_and_a_missing_column_is_its_default() {
        let call = Call {
            cost: Some(Money("0.000000000001".parse().unwrap())),
            rate_ids: vec!["r1".into(), "r2".into()],
            ..Call::default()
        };
        let batch = Call::encode(std::iter::once(&call)).unwrap();
        assert_eq!(Call::decode(&batch).unwrap(), std::slice::from_ref(&call));
        let index = batch.schema().index_of("cost").unwrap();
        let mut fewer = batch;
        fewer.remove_column(index);
        assert_eq!(Call::decode(&fewer).unwrap(), [Call { cost: None, ..call }]);
    }
}
