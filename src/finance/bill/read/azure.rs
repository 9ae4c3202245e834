//! Azure cost exports:
//! <https://learn.microsoft.com/azure/cost-management-billing/automate/understand-usage-details-fields>.
//!
//! The quantity is in tokens; the `1K` or `1M` of the unit is the block of the price only. But an export whose counts of
//! tokens have fractions counts in blocks, and is read so.

use rust_decimal::Decimal;

use super::super::{BillLine, Category};
use super::number::day_from;
use super::table::{Cells, Required, each_line};
use super::{Bill, Names, Problems, meter};
use crate::model::platform;

const DATE: &[&str] = &["date", "usagedate", "usagedatetime"];
const QUANTITY: &[&str] = &["quantity", "usagequantity", "consumedquantity"];
const COST: &[&str] = &["costinbillingcurrency", "cost", "pretaxcost", "paygcostinbillingcurrency"];
const CURRENCY: &[&str] = &["billingcurrency", "billingcurrencycode", "currency"];
const RESOURCE: &[&str] = &["resourceid", "instanceid"];
const REQUIRED: Required =
    &[DATE, &["metercategory"], &["metername"], QUANTITY, &["unitofmeasure"], COST, CURRENCY, RESOURCE];

pub(super) fn read<'p>(text: &str, names: Names<'_>, problems: &mut Problems<'p>) -> Bill {
    let mut bill = Bill::default();
    each_line(text, REQUIRED, &[], problems, |cells, problems| line(cells, names, &mut bill, problems));
    let tokens = |line: &&mut BillLine| block(line).is_some();
    let fraction = bill
        .lines
        .iter_mut()
        .filter(tokens)
        .any(|line| line.quantity.is_some_and(|count| !count.round_dp(6).is_integer()));
    for line in &mut bill.lines {
        let Some(block) = block(line).filter(|_| fraction) else { continue };
        line.quantity = line.quantity.and_then(|count| count.checked_mul(block));
    }
    bill
}

/// How many tokens the block of the unit has.
fn block(line: &BillLine) -> Option<Decimal> {
    let unit = format!("{} {}", line.unit, line.usage_type).to_lowercase();
    let counts_tokens = line.bucket.is_some_and(|bucket| bucket != crate::pricing::Bucket::Hour);
    let thousand = Decimal::ONE_THOUSAND;
    match () {
        () if !counts_tokens => None,
        () if unit.contains("1m") => Some(thousand * thousand),
        () if unit.contains("1k") => Some(thousand),
        () => None,
    }
}

fn line(cells: &Cells<'_>, names: Names<'_>, bill: &mut Bill, problems: &mut Problems<'_>) -> Option<Decimal> {
    let cost = cells.amount(COST, problems);
    let start = cells.instant(DATE, problems);
    let quantity = cells.number(QUANTITY, problems);
    let currency = cells.text(CURRENCY).unwrap_or_default().to_uppercase();
    if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
        problems.add(cells.line, format!("the currency '{currency}' is none"), "it must be like EUR");
    }
    let kind = cells.text(&["chargetype"]).unwrap_or("Usage");
    let Some(category) = category(kind) else {
        let hint =
            "known are Usage, Purchase, Refund, Credit, Tax, Adjustment, RoundingAdjustment and UnusedReservation";
        problems.add(cells.line, format!("ChargeType '{kind}' is not known"), hint);
        return None;
    };
    let (cost, start) = (cost?, start?);
    let service = cells.text(&["metercategory"]).unwrap_or_default();
    let support = service.to_lowercase().contains("support");
    let resource = cells.text(RESOURCE).unwrap_or_default().to_lowercase();
    if !support && !about_models(service, &resource, cells) {
        bill.skip(service, cost.number, &currency);
        return None;
    }
    bill.rounded += u64::from(cost.rounded);
    let name = cells.text(&["metername"]).unwrap_or_default();
    let meter = names.meters.get(name).cloned().unwrap_or_else(|| meter::azure(names.catalog, name));
    let counted = category == Category::Usage;
    bill.lines.push(BillLine {
        place: problems.at(cells.line),
        platform: platform_of(meter.model.as_deref()).to_owned(),
        account: account(&resource, cells.text(&["subscriptionid", "subscriptionguid"])),
        region: cells.text(&["resourcelocation", "resourcelocationnormalized"]).map(str::to_lowercase),
        model: meter.model,
        bucket: meter.bucket,
        scope: meter.scope,
        tier: meter.tier,
        context_over: None,
        usage_type: name.to_owned(),
        unit: cells.text(&["unitofmeasure"]).unwrap_or_default().to_owned(),
        period: day_from(start),
        quantity: quantity.filter(|_| counted).map(|read| read.number),
        unit_price: None,
        cost: cost.number,
        currency,
        category: if support { Category::Support } else { category },
        sku: cells.text(&["meterid"]).map(str::to_owned),
    });
    Some(cost.number)
}

/// Other Cognitive Services are billed on the same kind of resource, but in categories of their own.
fn about_models(service: &str, resource: &str, cells: &Cells<'_>) -> bool {
    let service = service.to_lowercase();
    let named = ["foundry models", "azure openai", "openai service"].iter().any(|word| service.contains(word));
    let product = cells.text(&["metersubcategory", "productname", "product"]).unwrap_or_default().to_lowercase();
    named || (resource.contains("microsoft.cognitiveservices") && product.contains("openai"))
}

fn category(kind: &str) -> Option<Category> {
    Some(match kind.to_lowercase().as_str() {
        "usage" | "unusedreservation" | "unusedsavingsplan" => Category::Usage,
        "purchase" => Category::Purchase,
        "refund" => Category::Refund,
        "credit" => Category::Credit,
        "tax" => Category::Tax,
        "adjustment" | "roundingadjustment" => Category::Adjustment,
        "support" => Category::Support,
        _ => return None,
    })
}

/// Models of others than OpenAI are metered as another platform.
fn platform_of(model: Option<&str>) -> &'static str {
    let openai = |name: &str| {
        ["gpt-", "o1", "o3", "o4", "text-embedding-", "dall-e", "whisper", "tts-", "codex", "sora"]
            .iter()
            .any(|start| name.starts_with(start))
    };
    if model.is_none_or(openai) { platform::AZURE_OPENAI } else { platform::AZURE_INFERENCE }
}

/// The subscription, as calls name their account; from the resource if the export has no column for it.
fn account(resource: &str, subscription: Option<&str>) -> Option<String> {
    let from_resource = || resource.split_once("/subscriptions/").and_then(|(_, rest)| rest.split('/').next());
    subscription.map(str::to_lowercase).or_else(|| from_resource().map(str::to_owned))
}
