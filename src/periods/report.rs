//! A month's chargeback as it was closed, or as it is with the corrections that are posted in it.

use std::collections::BTreeMap;

use super::{PeriodError, Periods, Pinned};
use crate::finance::Terms;
use crate::finance::ask::Ask;
use crate::finance::chargeback::{Report, Warning};
use crate::finance::period::{Books, Closed, State};
use crate::ledger::View;
use crate::model::Timestamp;
use crate::query::{Delivered, Known, chargeback};
use crate::settle::Rules;

/// What of a month is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Basis {
    /// Its closed figures if it is closed; else the ledger, and the corrections that are posted in it.
    #[default]
    Posted,
    /// What the ledger says today, whatever is closed.
    Restated,
}

/// One moment to report from.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// The ledger.
    pub live: &'a View,
    /// What holds for reports.
    pub terms: &'a Terms,
    /// How far followed sources are complete, where a server follows them.
    pub complete_to: &'a BTreeMap<String, Option<String>>,
    /// Now.
    pub now: Timestamp,
}

impl Periods {
    /// Who pays what for a month.
    ///
    /// # Errors
    /// The question can't be answered.
    pub async fn chargeback(&self, ask: Ask, basis: Basis, moment: Moment<'_>) -> Result<Report, PeriodError> {
        self.report_by(&self.books().await?, ask, basis, moment).await
    }

    /// The same as bytes in a form: of a closed month those that were made first, whoever made them.
    ///
    /// # Errors
    /// The question can't be answered, or the report not be written.
    pub async fn written(
        &self,
        ask: Ask,
        basis: Basis,
        moment: Moment<'_>,
        form: &str,
        write: impl FnOnce(&Report) -> Result<Vec<u8>, PeriodError>,
    ) -> Result<Vec<u8>, PeriodError> {
        let books = self.books().await?;
        let (question, state) = (ask.question(), books.state(ask.month, ask.zone));
        let make = async { write(&self.report_by(&books, ask, basis, moment).await?) };
        match state {
            State::Closed(closed) if basis == Basis::Posted => self.kept(closed, &question, form, make).await,
            _ => make.await,
        }
    }

    async fn report_by(
        &self,
        books: &Books,
        ask: Ask,
        basis: Basis,
        moment: Moment<'_>,
    ) -> Result<Report, PeriodError> {
        let state = if basis == Basis::Restated { State::Open } else { books.state(ask.month, ask.zone) };
        let Moment { live, terms, complete_to, now } = moment;
        let known = Known { complete_to: complete_to.clone(), now, delivered: None };
        match state {
            State::Closed(closed) => self.as_closed(closed, books.closed(), ask, live).await,
            State::TakesCorrections => {
                let report = chargeback(&self.engine, live, ask.clone(), terms, known).await?;
                let changes = self.changes(books.closed(), live).await?;
                let corrected = self.corrected(&changes, books.closed(), &ask, live).await?;
                Ok(report.with_corrections(&corrected)?)
            }
            State::Open => Ok(chargeback(&self.engine, live, ask, terms, known).await?),
            State::OtherCalendar(zone) => {
                let mut report = chargeback(&self.engine, live, ask, terms, known).await?;
                let text = format!(
                    "months of this store are closed in {zone}: this report of another calendar is no closed month and has \
                     no corrections"
                );
                report.warnings.push(Warning { code: "other_calendar", text });
                Ok(report)
            }
        }
    }

    async fn as_closed(&self, closed: &Closed, all: &[Closed], ask: Ask, live: &View) -> Result<Report, PeriodError> {
        self.whole(closed).await?;
        let Pinned { terms, rules } = self.pinned(closed).await?;
        if !terms.commitments.is_empty() {
            self.same_book(closed, &rules)?;
        }
        let known = Known {
            complete_to: closed.complete_to.clone(),
            now: closed.at(),
            delivered: Some(Delivered { sources: closed.seen(), set_aside: closed.set_aside.clone() }),
        };
        let copy = self.copy_of(closed, live).await?;
        let corrected = self.corrected_by(closed, all, &ask, live).await?;
        let mut report = chargeback(&self.engine.with_rules(rules), &copy, ask, &terms, known)
            .await?
            .with_corrections(&corrected)?;
        self.same_as_closed(closed, &report)?;
        report.closed = Some(format!("{} by {}", closed.closed_at, closed.by));
        Ok(report)
    }

    /// Where prices are needed anew they are those of the close, the bundled list included.
    pub(super) fn same_book(&self, closed: &Closed, rules: &Rules) -> Result<(), PeriodError> {
        if rules.prices.version() == closed.prices_version {
            return Ok(());
        }
        Err(PeriodError::OtherBook { month: closed.month, polymeter: closed.polymeter.clone() })
    }

    /// What was in force when a month was closed.
    pub(super) async fn pinned(&self, closed: &Closed) -> Result<Pinned, PeriodError> {
        let object = format!("{}/rules.json", closed.folder);
        let damaged = |detail: String| PeriodError::Damaged { object: object.clone(), detail };
        let bytes = self.store.read(&object).await?.ok_or_else(|| damaged("it is not there".to_owned()))?;
        let Pinned { terms, rules } = (self.pinned_of)(&bytes).map_err(damaged)?;
        // A newer program may bring another bundled list: the version is the one that was closed with.
        let (version, prices_version) = (closed.rules_version.clone(), closed.prices_version.clone());
        Ok(Pinned { terms: Terms { version, prices_version, ..terms }, rules })
    }

    /// The copy says what the close wrote down of it.
    fn same_as_closed(&self, closed: &Closed, report: &Report) -> Result<(), PeriodError> {
        let told = |cost: Option<rust_decimal::Decimal>| cost.map(|cost| cost.normalize().to_string());
        let of_ledger = report.totals.iter().filter(|total| total.currency.is_some() || report.totals.len() == 1);
        for total in of_ledger {
            let posted = closed.totals.iter().find(|posted| posted.currency == total.currency);
            let cost = posted.and_then(|posted| posted.cost.clone());
            if cost != told(total.figures.cost) {
                return Err(PeriodError::Damaged {
                    object: closed.folder.clone(),
                    detail: format!("its calls cost {:?}, closed were {cost:?}", told(total.figures.cost)),
                });
            }
        }
        Ok(())
    }
}
