//! What a meter's name says: model, bucket, scope and tier. The names are the providers' own abbreviations; words that
//! are not known leave the model open, so that the line stays visible and is never taken for another model. The
//! operator's table comes first.
//!
//! AWS: <https://docs.aws.amazon.com/bedrock/latest/userguide/cost-mgmt-understanding-cur-data.html>.

use std::collections::BTreeMap;

use crate::catalog::{Catalog, ModelQuery};
use crate::model::platform;
use crate::pricing::Bucket;
use crate::sheet::{Fields, Problem, read_csv};

/// What a meter counts. `None` where its name does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meter {
    /// Canonical model.
    pub model: Option<String>,
    /// What is counted.
    pub bucket: Option<Bucket>,
    /// `in_region`, `geo`, `global`.
    pub scope: Option<String>,
    /// `standard`, `batch`, `flex`, `priority`, `provisioned`.
    pub tier: Option<String>,
}

/// The operator's own table of meters, by their names in any case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meters(BTreeMap<String, Meter>);

const COLUMNS: [&str; 5] = ["meter", "model", "bucket", "scope", "tier"];

impl Meters {
    /// Reads `meter,model,bucket,scope,tier`.
    ///
    /// # Errors
    /// Every mistake with its line.
    pub fn read(file: &str, text: &str) -> Result<Self, Vec<Problem>> {
        let sheet = read_csv(file, text)?;
        let (mut meters, mut problems) = (Self::default(), Vec::new());
        for row in sheet.tables.values().flatten() {
            let mut fields = Fields::new(file, row, None, &mut problems);
            fields.known(&COLUMNS);
            let words = Bucket::ALL.map(Bucket::as_str);
            let bucket = fields.one_of("bucket", &words, |text| text.parse().ok());
            let (model, meter) = (fields.required("model"), fields.required("meter"));
            let (scope, tier) = (fields.text("scope").map(str::to_owned), fields.text("tier").map(str::to_owned));
            let meter = meter.map(str::to_lowercase).unwrap_or_default();
            let known = Meter { model: model.map(str::to_owned), bucket, scope, tier };
            if meters.0.get(&meter).is_some_and(|other| *other != known) {
                fields.problem("meter", format!("'{meter}' is there twice"), "keep one of the two");
            }
            meters.0.insert(meter, known);
        }
        if problems.is_empty() { Ok(meters) } else { Err(problems) }
    }

    /// What the operator says of a meter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Meter> {
        self.0.get(&name.trim().to_lowercase())
    }
}

/// The canonical model of a name that is in the catalogue, not only of a known shape: a meter's abbreviation is like an
/// Azure deployment, believed only if it is literally a name.
fn known(catalog: &Catalog, name: &str) -> Option<String> {
    let query = ModelQuery { platform: Some(platform::AZURE_OPENAI), deployment: Some(name), ..ModelQuery::default() };
    catalog.resolve(&query).model
}

/// Kinds of tokens in AWS usage types; the first that is found counts.
const AWS_KINDS: [(&str, Bucket); 10] = [
    ("-cache-read-input-token", Bucket::CacheRead),
    ("-cache-write-input-token", Bucket::CacheWrite5m),
    ("-mantle-cache-read", Bucket::CacheRead),
    ("-mantle-cache-write", Bucket::CacheWrite5m),
    ("-mantle-input-token", Bucket::Input),
    ("-mantle-output-token", Bucket::Output),
    ("-input-token", Bucket::Input),
    ("-output-token", Bucket::Output),
    ("-search-unit", Bucket::SearchUnit),
    ("-created-image", Bucket::Image),
];

/// `USE1-Claude4.6Sonnet-cache-read-input-token-count-cross-region-global`; `product` is the name of a Marketplace
/// product, which such lines carry instead.
pub(super) fn aws(catalog: &Catalog, usage_type: &str, product: Option<&str>) -> Meter {
    let lower = usage_type.to_lowercase();
    if lower.contains("provisionedthroughput") || lower.contains("modelunit") {
        return Meter { bucket: Some(Bucket::Hour), tier: Some("provisioned".to_owned()), ..Meter::default() };
    }
    if let Some((_, marketplace)) = lower.split_once("mp:") {
        return aws_marketplace(catalog, marketplace, product);
    }
    let name = without_region(usage_type);
    let lower = name.to_lowercase();
    let Some((kind, bucket, at)) =
        AWS_KINDS.iter().find_map(|(kind, bucket)| Some((*kind, *bucket, lower.find(kind)?)))
    else {
        return Meter::default();
    };
    let behind = lower.get(at + kind.len()..).unwrap_or_default();
    let mut meter = Meter { bucket: Some(bucket), ..Meter::default() };
    if !aws_words(behind, &mut meter) {
        return meter;
    }
    let short = name.get(..at).unwrap_or_default();
    meter.model = known(catalog, &short.to_lowercase()).or_else(|| known(catalog, &spelled_out(short)));
    meter
}

/// Reads what stands behind the kind of tokens; false if some word is not known: it may be another price.
fn aws_words(behind: &str, meter: &mut Meter) -> bool {
    let mut all = true;
    let mut cross = false;
    for word in behind.split(['-', '_']).filter(|word| !word.is_empty()) {
        match word {
            "s" | "count" | "tokens" | "input" | "token" | "region" | "units" => {}
            "cross" => cross = true,
            "global" => meter.scope = Some("global".to_owned()),
            "geo" => meter.scope = Some("geo".to_owned()),
            "batch" | "flex" | "priority" | "standard" => meter.tier = Some(word.to_owned()),
            "1h" | "1hr" | "1hour" if meter.bucket == Some(Bucket::CacheWrite5m) => {
                meter.bucket = Some(Bucket::CacheWrite1h);
            }
            "5m" | "5min" => {}
            _ => all = false,
        }
    }
    if cross && meter.scope.is_none() {
        meter.scope = Some("geo".to_owned());
    }
    all
}

/// `use1_inputtokencount-units` with `Claude Sonnet 4 (Amazon Bedrock Edition)`.
fn aws_marketplace(catalog: &Catalog, usage: &str, product: Option<&str>) -> Meter {
    const KINDS: [(&str, Bucket); 4] = [
        ("cachereadinputtokencount", Bucket::CacheRead),
        ("cachewriteinputtokencount", Bucket::CacheWrite5m),
        ("inputtokencount", Bucket::Input),
        ("outputtokencount", Bucket::Output),
    ];
    let Some((kind, bucket, at)) = KINDS.iter().find_map(|(kind, bucket)| Some((*kind, *bucket, usage.find(kind)?)))
    else {
        return Meter::default();
    };
    let mut meter = Meter { bucket: Some(bucket), ..Meter::default() };
    if aws_words(usage.get(at + kind.len()..).unwrap_or_default(), &mut meter) {
        let name = product.and_then(|name| name.split('(').next()).unwrap_or_default();
        meter.model = known(catalog, &name.trim().to_lowercase().replace(' ', "-"));
    }
    meter
}

/// Without `USE1-`, `EUC1-`, `APN1-`.
fn without_region(usage_type: &str) -> &str {
    match usage_type.split_once('-') {
        Some((code, rest))
            if (3..=5).contains(&code.len())
                && code.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()) =>
        {
            rest
        }
        _ => usage_type,
    }
}

/// `Claude4.6Sonnet` as `claude-4.6-sonnet`, `Nova2.0Lite` as `nova-2-lite`.
fn spelled_out(short: &str) -> String {
    let mut out = String::new();
    let mut before = '-';
    for sign in short.chars() {
        let turn = (sign.is_ascii_uppercase() && !before.is_ascii_uppercase() && before != '-')
            || (sign.is_ascii_digit() && before.is_ascii_alphabetic() && before != 'v' && before != 'V')
            || (sign.is_ascii_alphabetic() && before.is_ascii_digit());
        // `70B`, `8x7B`: digits and their unit are one word.
        let unit = before.is_ascii_digit() && matches!(sign, 'B' | 'b' | 'x' | 'k' | 'K');
        if turn && !unit {
            out.push('-');
        }
        out.push(sign.to_ascii_lowercase());
        before = sign;
    }
    out.replace(".0-", "-")
}

/// `GPT 5 Mini cchd Inpt Glbl 1M Tokens`, `5.1 codex opt Gl 1M Tokens`, `gpt-4o-mini-0718-Inp-glbl Tokens`.
pub(super) fn azure(catalog: &Catalog, name: &str) -> Meter {
    let lower = name.to_lowercase();
    let mut meter = Meter::default();
    if lower.contains("provisioned") {
        return Meter { bucket: Some(Bucket::Hour), tier: Some("provisioned".to_owned()), ..meter };
    }
    let (mut cached, mut write, mut audio, mut other) = (false, false, false, false);
    let mut direction = None;
    let mut words: Vec<&str> = Vec::new();
    for word in lower.split([' ', '-', '_']).filter(|word| !word.is_empty()) {
        match word {
            "inp" | "inpt" | "input" | "in" => direction = Some(Bucket::Input),
            "opt" | "outp" | "outpt" | "output" | "out" => direction = Some(Bucket::Output),
            "cd" | "cchd" | "cached" | "cache" | "cch" => cached = true,
            "wr" | "wrt" | "write" | "writes" => write = true,
            "aud" => audio = true,
            "gl" | "glbl" | "global" => meter.scope = Some("global".to_owned()),
            "dz" | "dzn" | "dzone" | "datazone" => meter.scope = Some("geo".to_owned()),
            "rgnl" | "regnl" | "regional" => meter.scope = Some("in_region".to_owned()),
            "batch" | "btch" => meter.tier = Some("batch".to_owned()),
            "pp" | "priority" => meter.tier = Some("priority".to_owned()),
            "flex" => meter.tier = Some("flex".to_owned()),
            "1m" | "1k" | "token" | "tokens" | "preview" | "azure" | "openai" => {}
            // Training, hosting and fine-tuned models have prices of their own.
            "ft" | "finetuned" | "training" | "trng" | "hosting" | "hstng" => other = true,
            word => words.push(word),
        }
    }
    meter.bucket = match (direction, cached, audio) {
        (Some(Bucket::Output), _, true) => Some(Bucket::AudioOutput),
        (Some(Bucket::Output), ..) => Some(Bucket::Output),
        (_, true, _) if write => Some(Bucket::CacheWrite5m),
        (_, true, _) => Some(Bucket::CacheRead),
        (Some(_), _, true) => Some(Bucket::AudioInput),
        (Some(bucket), ..) => Some(bucket),
        // Embeddings have one direction only, and their meters do not name it.
        (None, ..) => words.contains(&"embedding").then_some(Bucket::Input),
    };
    if !other && !words.is_empty() {
        let joined = words.join("-");
        let bare = joined.starts_with(|c: char| c.is_ascii_digit());
        meter.model = known(catalog, &if bare { format!("gpt-{joined}") } else { joined });
    }
    meter
}

/// `gpt-4o-2024-08-06, cached input`.
pub(super) fn openai(catalog: &Catalog, line_item: &str) -> Meter {
    let mut meter = Meter::default();
    if line_item.contains('|') {
        return meter;
    }
    let (model, kinds) = line_item.split_once(',').unwrap_or((line_item, ""));
    let (mut cached, mut write, mut audio, mut image, mut other) = (false, false, false, false, false);
    let mut direction = None;
    for word in kinds.split([',', ' ']).map(str::to_lowercase).filter(|word| !word.is_empty()) {
        match word.as_str() {
            "input" => direction = Some(Bucket::Input),
            "output" => direction = Some(Bucket::Output),
            "cached" | "cache" => cached = true,
            "write" | "writes" => write = true,
            "audio" => audio = true,
            "image" => image = true,
            "batch" | "flex" | "priority" => meter.tier = Some(word),
            "text" | "tokens" => {}
            _ => other = true,
        }
    }
    meter.bucket = match direction {
        _ if other => None,
        Some(Bucket::Output) if audio => Some(Bucket::AudioOutput),
        Some(Bucket::Output) => Some(Bucket::Output),
        _ if cached && write => Some(Bucket::CacheWrite5m),
        _ if cached => Some(Bucket::CacheRead),
        Some(_) if audio => Some(Bucket::AudioInput),
        Some(_) if image => Some(Bucket::ImageInput),
        other => other,
    };
    let model = model.trim();
    let spelled = model.strip_prefix("ft-").map_or_else(|| model.to_owned(), |base| format!("ft:{base}"));
    meter.model = full_name(catalog, platform::OPENAI, &spelled);
    meter
}

/// The canonical model of a full name, also of one that only has a known shape.
pub(super) fn full_name(catalog: &Catalog, on: &str, name: &str) -> Option<String> {
    let query = ModelQuery { platform: Some(on), request_model: Some(name), ..ModelQuery::default() };
    catalog.resolve(&query).model
}
