//! Functions that PostgreSQL's clients call to find their way around. What is not there answers as it would in a database
//! without it: no comment, no index, no recovery.

use std::hash::{Hash, Hasher};

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use datafusion::prelude::SessionContext;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog as pg;

use super::statement::setting;
use crate::query::CATALOG;

/// Makes them part of a session of `user`.
pub fn register_functions(context: &SessionContext, user: &str) {
    for function in [
        pg::create_current_database_udf(CATALOG),
        pg::create_current_schema_udf(),
        pg::create_current_schemas_udf(),
        pg::create_pg_get_userbyid_udf(),
        pg::create_pg_table_is_visible(),
        pg::create_pg_get_partkeydef_udf(),
        pg::create_pg_relation_is_publishable_udf(),
        pg::create_pg_get_statisticsobjdef_columns_udf(),
        pg::create_pg_encoding_to_char_udf(),
        pg::create_pg_backend_pid_udf(),
        pg::create_pg_relation_size_udf(),
        pg::create_pg_total_relation_size_udf(),
        pg::create_pg_stat_get_numscans(),
        pg::create_pg_get_constraintdef(),
        pg::create_pg_get_partition_ancestors_udf(),
        pg::format_type::create_format_type_udf(),
        pg::pg_get_expr_udf::create_pg_get_expr_udf(),
        pg::quote_ident_udf::create_quote_ident_udf(),
        pg::quote_ident_udf::create_parse_ident_udf(),
        pg::array_bounds_udf::create_array_upper_udf(),
        pg::array_bounds_udf::create_array_lower_udf(),
    ] {
        context.register_udf(function);
    }
    for name in ["has_table_privilege", "has_schema_privilege", "has_database_privilege", "has_any_column_privilege"] {
        context.register_udf(pg::has_privilege_udf::create_has_privilege_udf(name));
    }
    let text = |text: &str| ScalarValue::Utf8(Some(text.to_owned()));
    let no_text = || ScalarValue::Utf8(None);
    let (yes, no) = (ScalarValue::Boolean(Some(true)), ScalarValue::Boolean(Some(false)));
    let version = format!(
        "PostgreSQL {} (polymeter {})",
        setting("server_version").unwrap_or_default(),
        env!("CARGO_PKG_VERSION")
    );
    for (name, value) in [
        ("version", text(&version)),
        ("session_user", text(user)),
        ("pg_is_in_recovery", no.clone()),
        ("pg_type_is_visible", yes.clone()),
        ("pg_function_is_visible", yes),
        ("pg_advisory_unlock_all", no_text()),
        ("obj_description", no_text()),
        ("col_description", no_text()),
        ("shobj_description", no_text()),
        ("pg_get_viewdef", no_text()),
        ("pg_get_indexdef", no_text()),
        ("pg_get_serial_sequence", no_text()),
        ("pg_get_function_result", no_text()),
        ("pg_get_function_arguments", no_text()),
        ("pg_get_function_identity_arguments", no_text()),
        ("pg_get_function_sqlbody", no_text()),
        ("pg_get_triggerdef", no_text()),
        ("pg_size_pretty", no_text()),
        ("pg_table_size", ScalarValue::Int64(None)),
        ("pg_tablespace_location", no_text()),
        ("inet_server_addr", no_text()),
        ("inet_client_addr", no_text()),
        ("to_regtype", ScalarValue::Int32(None)),
        ("to_regclass", ScalarValue::Int32(None)),
        ("txid_current", ScalarValue::Int64(Some(1))),
        ("pg_postmaster_start_time", ScalarValue::TimestampMicrosecond(None, Some("UTC".into()))),
    ] {
        context.register_udf(ScalarUDF::new_from_impl(Constant::new(name, value)));
    }
    context.register_udf(ScalarUDF::new_from_impl(Setting::new()));
}

/// Answers the same whatever it is given.
#[derive(Debug, PartialEq, Eq)]
struct Constant {
    name: &'static str,
    value: ScalarValue,
    signature: Signature,
}

impl Hash for Constant {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.value.hash(state);
    }
}

impl Constant {
    fn new(name: &'static str, value: ScalarValue) -> Self {
        let signature = Signature::one_of(vec![TypeSignature::Nullary, TypeSignature::VariadicAny], Volatility::Stable);
        Self { name, value, signature }
    }
}

impl ScalarUDFImpl for Constant {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(self.value.data_type())
    }

    fn invoke_with_args(&self, _arguments: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        Ok(ColumnarValue::Scalar(self.value.clone()))
    }
}

/// `current_setting(name [, missing_ok])`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Setting(Signature);

impl Setting {
    fn new() -> Self {
        let text = DataType::Utf8;
        let forms = vec![TypeSignature::Exact(vec![text.clone()]), TypeSignature::Exact(vec![text, DataType::Boolean])];
        Self(Signature::one_of(forms, Volatility::Stable))
    }
}

impl ScalarUDFImpl for Setting {
    fn name(&self) -> &'static str {
        "current_setting"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let name = match arguments.args.first() {
            Some(ColumnarValue::Scalar(name)) => name.try_as_str().flatten().map(str::to_lowercase),
            _ => return Err(DataFusionError::Execution("current_setting takes the name of a setting".to_owned())),
        };
        Ok(ColumnarValue::Scalar(ScalarValue::Utf8(name.and_then(|name| setting(&name)).map(str::to_owned))))
    }
}
