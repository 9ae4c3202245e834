//! A month in FOCUS as it was closed, or as it is with the corrections that are posted in it. FOCUS and bills are of UTC:
//! only months that were closed in UTC are the same months.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::Value;

use super::{Moment, PeriodError, Periods};
use crate::finance::ask::{Ask, Column, UNKNOWN};
use crate::finance::calendar::Zone;
use crate::finance::chargeback::{Corrected, differences};
use crate::finance::focus::{CorrectionLine, FocusAsk, FocusExport};
use crate::finance::grid::pretty;
use crate::finance::period::{Closed, State};
use crate::ledger::View;
use crate::query::{FocusSources, ReportFailure, focus, focus_parquet};
use crate::sheet::sha256;

/// Attributes of a correction, in the order they are grouped by; those behind the fifth are tags.
const BY: [&str; 10] =
    ["platform", "model", "publisher", "account", "region", "team", "feature", "environment", "cost_center", "service"];

/// Form of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FocusForm {
    /// As every tool reads it.
    Csv,
    /// With exact decimals.
    Parquet,
}

impl FocusForm {
    /// Ending of its files.
    #[must_use]
    pub const fn ending(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Parquet => "parquet",
        }
    }
}

/// An export as bytes.
#[derive(Clone, Debug)]
pub struct FocusFile {
    /// The rows.
    pub bytes: Vec<u8>,
    /// What stands beside them, as JSON.
    pub manifest: String,
    /// What is in it and what is not, for people.
    pub summary: String,
}

impl FocusFile {
    /// SHA-256 of the rows, lower-case hex.
    #[must_use]
    pub fn sha256(&self) -> String {
        sha256(&self.bytes)
    }

    /// The manifest of a file with this name.
    #[must_use]
    pub fn manifest_of(&self, name: &str) -> String {
        let mut manifest: Value = serde_json::from_str(&self.manifest).unwrap_or_default();
        if let Some(file) = manifest.get_mut("file") {
            *file = name.into();
        }
        pretty(&manifest)
    }
}

impl Periods {
    /// The export of a month in a form: of a closed month the bytes that were made first.
    ///
    /// # Errors
    /// The export can't be made.
    pub async fn focus(&self, ask: &FocusAsk, form: FocusForm, moment: Moment<'_>) -> Result<FocusFile, PeriodError> {
        let books = self.books().await?;
        match books.state(ask.month, Zone::UTC) {
            State::Closed(closed) => self.focus_closed(closed, books.closed(), ask, form, moment.live).await,
            State::TakesCorrections => {
                let question = grouped(ask);
                let changes = self.changes(books.closed(), moment.live).await?;
                let corrected = self.corrected(&changes, books.closed(), &question, moment.live).await?;
                made(&self.focus_live(ask, moment, &lines(&corrected)?).await?, form)
            }
            State::Open | State::OtherCalendar(_) => made(&self.focus_live(ask, moment, &[]).await?, form),
        }
    }

    async fn focus_live(
        &self,
        ask: &FocusAsk,
        moment: Moment<'_>,
        corrections: &[CorrectionLine],
    ) -> Result<FocusExport, PeriodError> {
        let of = FocusSources { rules: self.engine.rules(), terms: moment.terms, corrections };
        Ok(focus(&self.engine, moment.live, ask.clone(), of, moment.now).await?)
    }

    async fn focus_closed(
        &self,
        closed: &Closed,
        all: &[Closed],
        ask: &FocusAsk,
        form: FocusForm,
        live: &View,
    ) -> Result<FocusFile, PeriodError> {
        let question = question(ask);
        let rows = form.ending().to_owned();
        let [manifest, summary] = ["manifest", "summary"].map(|part| format!("{rows}.{part}"));
        if let Some(file) = self.kept_file(closed, &question, [&rows, &manifest, &summary]).await? {
            return Ok(file);
        }
        self.whole(closed).await?;
        let pinned = self.pinned(closed).await?;
        self.same_book(closed, &pinned.rules)?;
        let copy = self.copy_of(closed, live).await?;
        let corrections = lines(&self.corrected_by(closed, all, &grouped(ask), live).await?)?;
        let of = FocusSources { rules: &pinned.rules, terms: &pinned.terms, corrections: &corrections };
        let file = made(&focus(&self.engine, &copy, ask.clone(), of, closed.at()).await?, form)?;
        // Whatever another process kept first is what everybody gets.
        let keep = async |part: &str, bytes: Vec<u8>| self.kept(closed, &question, part, async { Ok(bytes) }).await;
        let bytes = keep(&rows, file.bytes).await?;
        let manifest = text(keep(&manifest, file.manifest.into()).await?);
        let summary = text(keep(&summary, file.summary.into()).await?);
        Ok(FocusFile { bytes, manifest, summary })
    }

    async fn kept_file(
        &self,
        closed: &Closed,
        question: &str,
        parts: [&str; 3],
    ) -> Result<Option<FocusFile>, PeriodError> {
        let [rows, manifest, summary] = parts;
        let Some(bytes) = self.kept_before(closed, question, rows).await? else { return Ok(None) };
        let Some(manifest) = self.kept_before(closed, question, manifest).await? else { return Ok(None) };
        let Some(summary) = self.kept_before(closed, question, summary).await? else { return Ok(None) };
        Ok(Some(FocusFile { bytes, manifest: text(manifest), summary: text(summary) }))
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

fn made(export: &FocusExport, form: FocusForm) -> Result<FocusFile, PeriodError> {
    let bytes = match form {
        FocusForm::Csv => export.csv().into_bytes(),
        FocusForm::Parquet => focus_parquet(export).map_err(ReportFailure::from)?,
    };
    let manifest = export.manifest(&export.file_name(form.ending()), &bytes);
    Ok(FocusFile { bytes, manifest: manifest.to_json(), summary: manifest.summary() })
}

/// The export as one line of text, the same for the same question.
fn question(ask: &FocusAsk) -> String {
    let payers: Vec<String> = ask.billing_accounts.iter().map(|(platform, id)| format!("{platform}={id}")).collect();
    let (granularity, version) = (if ask.hourly { "hour" } else { "day" }, ask.version.as_str());
    format!("focus month={} granularity={granularity} version={version} billing={}", ask.month, payers.join(","))
}

/// What corrections of the month are asked by.
fn grouped(ask: &FocusAsk) -> Ask {
    let by = BY.iter().filter_map(|name| Column::ALL.into_iter().find(|column| column.name() == *name)).collect();
    Ask { month: ask.month, zone: Zone::UTC, by, currency: None }
}

/// Corrections as lines of an export. What has no price, before and after, has no line: there is no money to correct.
fn lines(corrected: &[Corrected]) -> Result<Vec<CorrectionLine>, PeriodError> {
    let mut all = Vec::new();
    for one in corrected {
        for difference in differences(one)? {
            let Some(currency) = difference.currency else { continue };
            let mut values: BTreeMap<&str, String> =
                BY.into_iter().zip(difference.keys).filter_map(|(name, value)| Some((name, value?))).collect();
            let mut take = |name: &str| values.remove(name);
            all.push(CorrectionLine {
                platform: take("platform").unwrap_or_else(|| UNKNOWN.to_owned()),
                model: take("model"),
                publisher: take("publisher"),
                account: take("account"),
                region: take("region"),
                tags: values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
                tokens: Decimal::from(difference.input_tokens) + Decimal::from(difference.output_tokens),
                list_cost: difference.list_cost,
                cost: difference.cost,
                currency,
                of: difference.of,
                line: None,
                reason: difference.reason.as_str().to_owned(),
            });
        }
    }
    Ok(all)
}
