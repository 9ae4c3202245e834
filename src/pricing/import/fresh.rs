//! Which rows of a catalogue say something new: not what holds already, and nothing over a row of the operator's own.

use std::collections::BTreeMap;

use crate::model::Timestamp;
use crate::pricing::book::PriceBook;
use crate::pricing::key::Layer;
use crate::pricing::rate::Rate;

/// What an import would append.
#[derive(Clone, Debug, Default)]
pub struct NewRows {
    /// To be appended.
    pub added: Vec<Rate>,
    /// What holds until then, for each of them.
    pub before: Vec<Option<Rate>>,
    /// Rows that say what holds already.
    pub same: usize,
    /// Rows that differ from one of the operator's own, with that one: it stays.
    pub kept_back: Vec<(Rate, Rate)>,
}

/// What of the rows of a catalogue is new to a book. `own` are the rows that somebody entered by hand. A price that the book
/// has for the past is not corrected: a new amount holds from `today`.
#[must_use]
pub fn new_rows(book: &PriceBook, own: &[Rate], rates: Vec<Rate>, today: Timestamp) -> NewRows {
    let mut found = NewRows::default();
    let mut by_model: BTreeMap<(&str, &str), Vec<&Rate>> = BTreeMap::new();
    for rate in own {
        by_model.entry((&rate.platform, &rate.model)).or_default().push(rate);
    }
    let mut known: BTreeMap<(String, String), Vec<&Rate>> = BTreeMap::new();
    for rate in book.rates() {
        known.entry((rate.platform.clone(), rate.model.clone())).or_default().push(rate);
    }
    for rate in rates {
        // Periods that are over by now are history: what the book has of it was priced with.
        let over = rate.valid_to.is_some_and(|to| to <= today);
        let here = known.get(&(rate.platform.clone(), rate.model.clone())).map_or(&[][..], Vec::as_slice);
        let alike: Vec<&&Rate> = here.iter().filter(|other| same_thing(other, &rate)).collect();
        if over && !alike.is_empty() {
            found.same += 1;
            continue;
        }
        let at = rate.valid_from.unwrap_or(today).max(today);
        let holds = alike
            .iter()
            .filter(|other| other.valid_at(at))
            .max_by_key(|other| (other.layer, other.valid_from, other.recorded_at));
        if holds.is_some_and(|holds| equal(holds, &rate)) {
            found.same += 1;
            continue;
        }
        let by_hand = by_model.get(&(rate.platform.as_str(), rate.model.as_str()));
        let mine = by_hand.and_then(|rates| {
            rates.iter().find(|own| {
                own.bucket == rate.bucket
                    && own.tier == rate.tier
                    && own.mode == rate.mode
                    && own.scope.overlaps(&rate.scope)
                    && own.valid_to.is_none_or(|to| to > at)
            })
        });
        if let Some(mine) = mine.map(|mine| (*mine).clone()) {
            found.kept_back.push((rate, mine));
            continue;
        }
        // What is unknown to the book may hold from its own start; what contradicts it holds from today.
        let valid_from = if alike.is_empty() { rate.valid_from } else { Some(at) };
        found.before.push(holds.map(|holds| (**holds).clone()));
        let rate = Rate { valid_from, ..rate };
        found.added.push(Rate { row_id: rate.derived_id(Layer::Operator.as_str()), ..rate });
    }
    found
}

fn same_thing(a: &Rate, b: &Rate) -> bool {
    (&a.snapshot, &a.scope, &a.tier, a.mode, a.bucket, a.context_over)
        == (&b.snapshot, &b.scope, &b.tier, b.mode, b.bucket, b.context_over)
}

fn equal(a: &Rate, b: &Rate) -> bool {
    a.currency == b.currency && a.unit_price().ok() == b.unit_price().ok()
}
