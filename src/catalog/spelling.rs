//! Takes a spelling apart: ARN, resource path, gateway route, geographic prefix, vendor. What remains is the name with
//! its dates and versions.
//!
//! Bedrock ids and profiles: <https://docs.aws.amazon.com/bedrock/latest/userguide/models-supported.html>,
//! <https://docs.aws.amazon.com/bedrock/latest/userguide/inference-profiles-support.html>.

use super::data::Tables;
use crate::model::platform;

/// In the region that was called.
pub(super) const IN_REGION: &str = "in_region";
/// Anywhere in one geography.
pub(super) const GEO: &str = "geo";
/// Anywhere.
pub(super) const GLOBAL: &str = "global";

/// Geographies of cross-region inference profiles.
const GEOGRAPHIES: [&str; 13] = ["us", "us-gov", "eu", "apac", "jp", "au", "ca", "in", "sa", "me", "af", "uk", "il"];

/// The parts of a spelling, lower-case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Spelling<'a> {
    /// Name with dates and versions; empty where the id is opaque.
    pub name: &'a str,
    /// Index of the publisher that a vendor prefix names.
    pub vendor: Option<usize>,
    /// What the id says of the scope.
    pub scope: Option<&'static str>,
    /// The geography, for scope `geo`.
    pub geo: Option<&'a str>,
    /// `provisioned` where the id proves it.
    pub tier: Option<&'static str>,
    /// The id can't be an alias that somebody chose: a Bedrock id or ARN.
    pub certain: bool,
    /// Trained further by a customer: another model with other prices.
    pub fine_tuned: bool,
}

/// Takes `text` (lower-case) apart.
pub(super) fn parse<'a>(text: &'a str, on: Option<&str>, tables: &Tables) -> Spelling<'a> {
    let bedrock = on == Some(platform::BEDROCK);
    if let Some(rest) = text.strip_prefix("arn:") {
        return arn(rest, tables);
    }
    let mut spelling =
        if text.contains('/') { path(text, on, tables) } else { Spelling { name: text, ..Spelling::default() } };
    if spelling.name.starts_with("arn:") {
        return parse(spelling.name, on, tables);
    }
    let shape = if spelling.vendor.is_none() || bedrock { vendor_id(spelling.name, tables) } else { None };
    if let Some(id) = shape {
        spelling.name = id.name;
        spelling.vendor = id.vendor;
        if bedrock || on.is_none() {
            spelling.certain = true;
            spelling.scope = id.scope;
            spelling.geo = id.geo;
        }
    } else if bedrock && spelling.scope.is_none() && !text.contains('/') && tables.family(spelling.name).is_none() {
        // A plain id that names no known vendor; a known family without its vendor had its prefix, and with it the
        // scope, cut off by the instrumentation.
        let geography = spelling.name.split_once('.').and_then(|(head, _)| prefix(head));
        (spelling.scope, spelling.geo) = geography.map_or((Some(IN_REGION), None), |(scope, geo)| (Some(scope), geo));
        spelling.certain = true;
    }
    fine_tune(spelling)
}

/// The part after `arn:`: `partition:service:region:account:resource`.
fn arn<'a>(rest: &'a str, tables: &Tables) -> Spelling<'a> {
    let mut opaque = Spelling { certain: true, ..Spelling::default() };
    let mut parts = rest.splitn(5, ':').skip(1);
    let (service, resource) = (parts.next(), parts.nth(2).unwrap_or_default());
    let (kind, id) = resource.split_once('/').unwrap_or((resource, ""));
    match (service, kind) {
        (Some("bedrock"), "foundation-model" | "inference-profile") => {
            let found = vendor_id(id, tables).unwrap_or(Spelling { name: id, scope: Some(IN_REGION), ..opaque });
            Spelling { certain: true, ..found }
        }
        (Some("bedrock"), "provisioned-model") => {
            opaque.tier = Some("provisioned");
            opaque
        }
        _ => opaque,
    }
}

/// `[geo.]vendor.name`, if the vendor is known.
fn vendor_id<'a>(id: &'a str, tables: &Tables) -> Option<Spelling<'a>> {
    let (head, rest) = id.split_once('.')?;
    if let Some(vendor) = tables.vendor(head) {
        return Some(vendor_name(head, rest, id, vendor));
    }
    let (word, name) = rest.split_once('.')?;
    let vendor = tables.vendor(word)?;
    // A geography that is not in the list yet: only a short word can stand before a known vendor.
    let short = head.len() <= 8 && head.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    let (scope, geo) = prefix(head).or_else(|| short.then_some((GEO, Some(head))))?;
    Some(Spelling { scope: Some(scope), geo, ..vendor_name(word, name, rest, vendor) })
}

fn vendor_name<'a>(word: &str, name: &'a str, id: &'a str, vendor: usize) -> Spelling<'a> {
    // `deepseek.r1` is no name without its vendor.
    let name = if word == "deepseek" { id } else { name };
    Spelling { name, vendor: Some(vendor), scope: Some(IN_REGION), ..Spelling::default() }
}

fn prefix(word: &str) -> Option<(&'static str, Option<&str>)> {
    if word == "global" {
        return Some((GLOBAL, None));
    }
    GEOGRAPHIES.contains(&word).then_some((GEO, Some(word)))
}

/// `route/…/name`, `publishers/x/models/y`, `projects/p/locations/l/publishers/x/models/y`, `models/y`. A word that
/// is neither a route, a vendor, a region nor a geography makes the whole unknown.
fn path<'a>(text: &'a str, on: Option<&str>, tables: &Tables) -> Spelling<'a> {
    let mut spelling = Spelling::default();
    let mut words = text.trim_matches('/').split('/').peekable();
    while let Some(word) = words.next() {
        if word.starts_with("arn:") {
            // The resource of an ARN has slashes of its own.
            spelling.name = text.find("arn:").and_then(|at| text.get(at..)).unwrap_or_default();
            return spelling;
        }
        if words.peek().is_none() {
            spelling.name = word;
            return spelling;
        }
        match word {
            "projects" | "https:" | "http:" => {
                words.next();
            }
            "locations" => {
                let place = words.next().unwrap_or_default();
                (spelling.scope, spelling.geo) = match place {
                    "global" => (Some(GLOBAL), None),
                    "us" | "eu" => (Some(GEO), Some(place)),
                    _ => (Some(IN_REGION), None),
                };
            }
            "publishers" => {
                let publisher = words.next().unwrap_or_default();
                spelling.vendor = tables.vendor(publisher);
            }
            "endpoints" | "tunedmodels" | "deployments" => return Spelling::default(),
            "global" => spelling.scope = Some(GLOBAL),
            "1-month-commitment" | "6-month-commitment" => spelling.tier = Some("provisioned"),
            _ if tables.is_route(word) => {}
            _ if GEOGRAPHIES.contains(&word) && on != Some(platform::BEDROCK) => {
                (spelling.scope, spelling.geo) = (Some(GEO), Some(word));
            }
            _ if is_region(word) => {}
            _ => match tables.vendor(word) {
                Some(vendor) => spelling.vendor = Some(vendor),
                None => return Spelling::default(),
            },
        }
    }
    spelling
}

/// `us-east-1`, `eu-central-2`, `us-gov-west-1`, `us-east5`.
fn is_region(word: &str) -> bool {
    word.contains('-')
        && word.ends_with(|c: char| c.is_ascii_digit())
        && GEO_WORDS.iter().any(|geo| word.starts_with(geo))
}

const GEO_WORDS: [&str; 12] =
    ["us-", "eu-", "ap-", "ca-", "sa-", "me-", "af-", "il-", "mx-", "asia-", "europe-", "northamerica-"];

/// `ft:base:org::id` of OpenAI and `base.ft-id` of Azure.
fn fine_tune(spelling: Spelling<'_>) -> Spelling<'_> {
    if let Some(rest) = spelling.name.strip_prefix("ft:") {
        let base = rest.split(':').next().unwrap_or_default();
        return Spelling { name: base, fine_tuned: true, ..spelling };
    }
    if let Some((base, _)) = spelling.name.split_once(".ft-") {
        return Spelling { name: base, fine_tuned: true, ..spelling };
    }
    spelling
}
