//! The words of price files.

use rust_decimal::Decimal;

use super::Reading;
use crate::model::platform;
use crate::pricing::key::{Bucket, Mode, RateScope};
use crate::sheet::{Fields, nearest};

/// Platforms that the product knows, and the OpenTelemetry names of others.
const PLATFORMS: [&str; 14] = [
    platform::OPENAI,
    platform::AZURE_OPENAI,
    platform::AZURE_INFERENCE,
    platform::BEDROCK,
    platform::VERTEX,
    platform::GEMINI,
    platform::ANTHROPIC,
    "cohere",
    "deepseek",
    "groq",
    "ibm.watsonx.ai",
    "mistral_ai",
    "perplexity",
    "x_ai",
];

const TIERS: [&str; 4] = ["standard", "flex", "priority", "reserved"];

/// ISO 4217, without funds and metals.
const CURRENCIES: &str = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD \
CAD CDF CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG \
HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT \
MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG \
SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VES VND VUV WST XAF XCD \
XOF XPF YER ZAR ZMW ZWG";

/// The platform of a row, by its own name or one of the spellings that gateways use.
pub(super) fn platform_of(fields: &mut Fields<'_>, reading: &Reading<'_>) -> Option<String> {
    let text = fields.required("platform")?;
    let known: Vec<&str> = PLATFORMS.iter().chain(reading.platforms).copied().collect();
    let canonical = if text == "gemini-api" { Some(platform::GEMINI.to_owned()) } else { platform::canonical(text) };
    let found = canonical.filter(|name| known.contains(&name.as_str()));
    if found.is_none() {
        let hint = format!("did you mean '{}'? There are {}", nearest(text, &known), known.join(", "));
        fields.problem("platform", format!("there is no platform '{text}'"), hint);
    }
    found
}

pub(super) fn currency(fields: &mut Fields<'_>) -> Option<String> {
    let text = fields.required("currency")?;
    currency_code(fields, "currency", text)
}

pub(super) fn currency_code(fields: &mut Fields<'_>, name: &str, text: &str) -> Option<String> {
    let known: Vec<&str> = CURRENCIES.split_whitespace().collect();
    if known.contains(&text) {
        return Some(text.to_owned());
    }
    let upper = text.to_uppercase();
    let hint = if known.contains(&upper.as_str()) {
        format!("write {upper}")
    } else {
        "write its ISO 4217 code, for example USD".to_owned()
    };
    fields.problem(name, format!("there is no currency '{text}'"), hint);
    None
}

pub(super) fn scope(fields: &mut Fields<'_>) -> Option<RateScope> {
    if fields.texts("scope").is_empty() {
        return Some(RateScope::Any);
    }
    let words = ["*", "global", "geo:us", "geo:eu", "in_region", "in_region:eu-west-1"];
    fields.one_of("scope", &words, |text| text.parse().ok())
}

/// Tier and mode. `batch`, `provisioned`, `flex` and `priority` are understood in either column.
pub(super) fn tier_and_mode(fields: &mut Fields<'_>) -> Option<(Option<String>, Option<Mode>)> {
    let modes = ["sync", "batch", "provisioned", "flex", "priority"];
    let before = fields.problems();
    let tier = fields.one_of("tier", &TIERS, |text| match text {
        "default" => Some("standard".to_owned()),
        "batch" | "provisioned" => Some(text.to_owned()),
        _ => TIERS.contains(&text).then(|| text.to_owned()),
    });
    let mode = fields.one_of("mode", &modes, |text| modes.contains(&text).then(|| text.to_owned()));
    if fields.problems() > before {
        return None;
    }
    let as_mode = |text: &Option<String>| text.as_deref().and_then(|text| text.parse::<Mode>().ok());
    let as_tier = |text: &Option<String>| text.as_deref().filter(|text| TIERS.contains(text)).map(str::to_owned);
    let (tiers, both) = ((as_tier(&tier), as_tier(&mode)), (as_mode(&tier), as_mode(&mode)));
    let tier_clash = matches!(&tiers, (Some(a), Some(b)) if a != b && a != "standard");
    let mode_clash = matches!(both, (Some(a), Some(b)) if a != b);
    if tier_clash || mode_clash {
        fields.problem("mode", "tier and mode contradict each other", "name flex or priority once, as the tier");
        return None;
    }
    Some((tiers.1.or(tiers.0), both.1.or(both.0)))
}

/// What `amount` is for: `1M`, `1K` or a number of units.
pub(super) fn per(fields: &mut Fields<'_>) -> Option<Decimal> {
    let text = fields.required("per")?;
    let number = match text.to_ascii_uppercase().as_str() {
        "1M" => Some(Decimal::from(1_000_000)),
        "1K" => Some(Decimal::from(1000)),
        _ => fields.decimal("per"),
    };
    if number.is_some_and(|number| number.is_zero()) {
        fields.problem("per", "per is 0", "write 1M, 1K or 1");
        return None;
    }
    number
}

/// The unit as a bucket; `text` is in the cell `name`.
pub(super) fn unit(fields: &mut Fields<'_>, name: &str, text: &str) -> Option<Bucket> {
    let found = text.parse().ok();
    if found.is_none() {
        let words: Vec<&str> = Bucket::ALL.into_iter().map(Bucket::as_str).collect();
        let hint = format!("did you mean '{}'? There are {}", nearest(text, &words), words.join(", "));
        fields.problem(name, format!("there is no unit '{text}'"), hint);
    }
    found
}
