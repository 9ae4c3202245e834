//! AWS Data Exports, CUR 2.0: <https://docs.aws.amazon.com/cur/latest/userguide/table-dictionary-cur2-line-item.html>.

use rust_decimal::Decimal;
use serde_json::Value;

use super::super::{BillLine, Category};
use super::table::{Cells, Required, each_line};
use super::{Bill, Names, Problems, meter};
use crate::model::{Interval, platform};

const REQUIRED: Required = &[
    &["line_item_usage_type"],
    &["line_item_line_item_type"],
    &["line_item_product_code"],
    &["line_item_usage_account_id"],
    &["line_item_usage_start_date"],
    &["line_item_usage_end_date"],
    &["line_item_usage_amount"],
    &["line_item_unblended_cost"],
    &["line_item_currency_code"],
];
const COST: &[&str] = &["line_item_unblended_cost"];

pub(super) fn read<'p>(text: &str, names: Names<'_>, problems: &mut Problems<'p>) -> Bill {
    let mut bill = Bill::default();
    let ids = each_line(text, REQUIRED, &["identity_line_item_id"], problems, |cells, problems| {
        line(cells, names, &mut bill, problems)
    });
    Bill { ids, ..bill }
}

/// Takes one line in; gives its cost if it is about models.
fn line(cells: &Cells<'_>, names: Names<'_>, bill: &mut Bill, problems: &mut Problems<'_>) -> Option<Decimal> {
    let cost = cells.amount(COST, problems);
    let start = cells.instant(&["line_item_usage_start_date"], problems);
    let end = cells.instant(&["line_item_usage_end_date"], problems);
    let amount = cells.number(&["line_item_usage_amount"], problems);
    let rate = cells.number(&["line_item_unblended_rate"], problems);
    let currency = cells.text(&["line_item_currency_code"]).unwrap_or("USD").to_uppercase();
    let kind = cells.text(&["line_item_line_item_type"]).unwrap_or_default();
    let Some(category) = category(kind) else {
        let hint =
            "known are Usage, Tax, Credit, Refund, Fee and the kinds of discounts, reservations and savings plans";
        problems.add(cells.line, format!("line_item_line_item_type '{kind}' is not known"), hint);
        return None;
    };
    let (cost, start, end) = (cost?, start?, end?);
    if end < start {
        problems.add(cells.line, "the line ends before it starts", "look into the export");
        return None;
    }
    let code = cells.text(&["line_item_product_code"]).unwrap_or_default();
    let product = product_name(cells);
    let support = code.contains("Support");
    let bedrock = code.contains("Bedrock") || product.as_deref().is_some_and(|name| name.contains("Bedrock"));
    if !support && !bedrock {
        bill.skip(code, cost.number, &currency);
        return None;
    }
    bill.rounded += u64::from(cost.rounded);
    let usage_type = cells.text(&["line_item_usage_type"]).unwrap_or_default();
    let meter = match names.meters.get(usage_type) {
        Some(meter) => meter.clone(),
        None => meter::aws(names.catalog, usage_type, product.as_deref()),
    };
    let description = cells.text(&["line_item_line_item_description"]).unwrap_or_default();
    let unit = cells.text(&["pricing_unit"]).unwrap_or_default();
    let block = block(unit, description);
    let counted = matches!(category, Category::Usage);
    bill.lines.push(BillLine {
        place: problems.at(cells.line),
        platform: platform::BEDROCK.to_owned(),
        account: cells.text(&["line_item_usage_account_id"]).map(str::to_owned),
        region: cells.text(&["product_region_code", "product_region"]).map(str::to_owned),
        model: meter.model,
        bucket: meter.bucket,
        scope: meter.scope,
        tier: meter.tier,
        context_over: None,
        usage_type: usage_type.to_owned(),
        unit: unit.to_owned(),
        period: Interval { from: start, to: end },
        quantity: amount.filter(|_| counted).zip(block).and_then(|(read, block)| read.number.checked_mul(block)),
        unit_price: rate.filter(|_| counted).zip(block).and_then(|(read, block)| read.number.checked_div(block)),
        cost: cost.number,
        currency,
        category: if support { Category::Support } else { category },
        sku: cells.text(&["product_sku", "pricing_rate_id", "pricing_rate_code"]).map(str::to_owned),
    });
    Some(cost.number)
}

fn category(kind: &str) -> Option<Category> {
    Some(match kind {
        "Usage" | "DiscountedUsage" | "SavingsPlanCoveredUsage" => Category::Usage,
        "Tax" => Category::Tax,
        "Credit" => Category::Credit,
        "Refund" => Category::Refund,
        "Fee" | "RIFee" | "SavingsPlanUpfrontFee" | "SavingsPlanRecurringFee" | "Purchase" => Category::Purchase,
        "SavingsPlanNegation" => Category::Discount,
        kind if kind.ends_with("Discount") => Category::Discount,
        _ => return None,
    })
}

/// The product's name, in a column of its own or in the map of all product fields.
fn product_name(cells: &Cells<'_>) -> Option<String> {
    if let Some(name) = cells.text(&["product_product_name"]) {
        return Some(name.to_owned());
    }
    let map: Value = serde_json::from_str(cells.text(&["product"])?).ok()?;
    map.get("product_name").and_then(Value::as_str).map(str::to_owned)
}

/// How many tokens are one unit; `None` if nothing says it. Marketplace lines count `Units`, which their description
/// explains.
fn block(unit: &str, description: &str) -> Option<Decimal> {
    let unit = unit.to_lowercase();
    let thousand = Decimal::ONE_THOUSAND;
    if unit.contains("1k") || unit.contains("1,000 ") || unit.contains("thousand") {
        return Some(thousand);
    }
    if unit.contains("1m") || unit.contains("million") {
        return Some(thousand * thousand);
    }
    if !unit.is_empty() && unit != "unit" && unit != "units" {
        return Some(Decimal::ONE);
    }
    let words = description.to_lowercase();
    if words.contains("million") {
        Some(thousand * thousand)
    } else if words.contains("thousand") || words.contains("1k ") || words.contains("1,000 ") {
        Some(thousand)
    } else {
        None
    }
}
