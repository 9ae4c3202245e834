//! What calls would cost under another contract: it holds with its platforms in the place of all others there.

use std::collections::BTreeSet;

use super::book::PriceBook;
use super::contract::{Contract, Contracts};
use super::price::{PriceQuery, Priced};
use super::rate::PriceError;
use super::what_if::{Assumed, Elsewhere, NotComparable, WhatIf};
use crate::model::{Pattern, Timestamp};

/// Why a contract can't be tried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnderError {
    /// There is none with this id.
    #[error("there is no contract '{id}'; {}", told(.known))]
    Unknown {
        /// As it was asked for.
        id: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// Its terms depend on the account, and the accounts of the calls are others.
    #[error("contract '{id}' has terms of its own for the accounts {}; say which holds: account => '…'", .accounts.join(", "))]
    Accounts {
        /// The contract.
        id: String,
        /// Its accounts.
        accounts: Vec<String>,
    },
    /// It is with others than where the calls would go.
    #[error("contract '{id}' is with {}, not with {asked}", .platforms.join(", "))]
    Platform {
        /// The contract.
        id: String,
        /// Its platforms.
        platforms: Vec<String>,
        /// The one asked for.
        asked: String,
    },
    /// Its rows contradict each other without their accounts.
    #[error(transparent)]
    Price(#[from] PriceError),
}

fn told(ids: &[String]) -> String {
    if ids.is_empty() { "the price files hold none".to_owned() } else { format!("there are {}", ids.join(", ")) }
}

/// A price book in which one contract holds in the place of all others with its platforms.
#[derive(Clone, Debug)]
pub struct Under {
    book: PriceBook,
    platforms: BTreeSet<String>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    /// It holds for every account.
    any_account: bool,
}

impl PriceBook {
    /// This book with other contracts in the place of its own.
    ///
    /// # Errors
    /// They contradict each other.
    pub fn with_contracts(&self, contracts: Vec<Contract>) -> Result<Self, PriceError> {
        let mut book = self.clone();
        book.contracts = Contracts::new(contracts)?;
        Ok(book)
    }

    /// This book with one of its contracts in the place of all others with the same platforms. Before its first day its terms
    /// of that day hold, after its last those of its last. It holds for every account, unless it tells accounts apart: then
    /// `account` must say which of them the calls would be billed to.
    ///
    /// # Errors
    /// There is no such contract, or nobody says which account.
    pub fn under(&self, id: &str, platform: Option<&str>, account: Option<&str>) -> Result<Under, UnderError> {
        let own: Vec<&Contract> = self.contracts().filter(|contract| contract.contract_id == id).collect();
        if own.is_empty() {
            let known: BTreeSet<String> = self.contracts().map(|contract| contract.contract_id.clone()).collect();
            return Err(UnderError::Unknown { id: id.to_owned(), known: known.into_iter().collect() });
        }
        let platforms: BTreeSet<String> = own.iter().map(|contract| contract.platform.clone()).collect();
        if let Some(asked) = platform
            && !platforms.contains(asked)
        {
            let platforms = platforms.into_iter().collect();
            return Err(UnderError::Platform { id: id.to_owned(), platforms, asked: asked.to_owned() });
        }
        let accounts: BTreeSet<Option<&str>> =
            own.iter().map(|contract| contract.account.as_ref().map(Pattern::as_str)).collect();
        if accounts.len() > 1 && account.is_none() {
            let accounts = accounts.into_iter().map(|account| account.unwrap_or("(any)").to_owned()).collect();
            return Err(UnderError::Accounts { id: id.to_owned(), accounts });
        }
        let from = own.iter().map(|contract| contract.valid_from).min().flatten();
        let open = own.iter().any(|contract| contract.valid_to.is_none());
        let to = if open { None } else { own.iter().filter_map(|contract| contract.valid_to).max() };
        let any_account = accounts.len() == 1;
        let always = |contract: &Contract| Contract {
            account: if any_account { None } else { contract.account.clone() },
            valid_from: contract.valid_from.filter(|at| Some(*at) != from),
            valid_to: contract.valid_to.filter(|at| Some(*at) != to),
            ..contract.clone()
        };
        let others = self.contracts().filter(|contract| !platforms.contains(&contract.platform)).cloned();
        let rows = others.chain(own.iter().map(|contract| always(contract))).collect();
        let book = self.with_contracts(rows)?;
        Ok(Under { book, platforms, from, to, any_account })
    }
}

impl Under {
    /// Compares what a call cost with what it would cost under the contract.
    #[must_use]
    pub fn compared(&self, here: Priced, q: &PriceQuery<'_>, to: &Elsewhere<'_>) -> WhatIf {
        let there = to.platform.or(q.platform);
        if there.is_none_or(|platform| !self.platforms.contains(platform)) {
            let not_comparable = vec![NotComparable::OtherPlatform];
            return WhatIf { here, elsewhere: Priced::default(), difference: None, assumed: vec![], not_comparable };
        }
        let mut compared = self.book.compared(here, q, to);
        compared.assumed.retain(|assumed| !self.any_account || *assumed != Assumed::NoAccount);
        if self.from.is_some_and(|from| q.at < from) || self.to.is_some_and(|to| q.at >= to) {
            compared.assumed.push(Assumed::ContractDates);
        }
        compared
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Usage;
    use crate::pricing::{Prices, Reading, assemble, read_file};

    const FILE: &str = "source = 'test'\n\
        [[price]]\nplatform='azure.ai.openai'\nmodel='gpt-4o'\nunit='input'\namount='2.50'\nper='1M'\ncurrency='USD'\nvalid_from=2026-01-01\n\
        [[price]]\nplatform='azure.ai.openai'\nmodel='gpt-4o'\nunit='output'\namount='10'\nper='1M'\ncurrency='USD'\nvalid_from=2026-01-01\n\
        [[contract]]\ncontract_id='now'\nplatform='azure.ai.openai'\nmodel='gpt-4o'\nfactor=0.5\nvalid_from=2026-01-01\n\
        [[contract]]\ncontract_id='premium'\nplatform='azure.ai.openai'\naccount='sub-9'\nfactor=1.15\nvalid_from=2027-01-01\n\
        [[contract]]\ncontract_id='two'\nplatform='azure.ai.openai'\naccount='a'\nfactor=1.10\nvalid_from=2028-01-01\n\
        [[contract]]\ncontract_id='two'\nplatform='azure.ai.openai'\naccount='b'\nfactor=1.20\nvalid_from=2028-02-01\n";

    fn book() -> PriceBook {
        let at = Timestamp::parse("2026-01-01T00:00:00Z").unwrap();
        let file = read_file("t.toml", FILE, &Reading::operator(at)).unwrap();
        let Prices { book, .. } = assemble(Vec::new(), vec![file], None).unwrap();
        book
    }

    #[test]
    fn a_contract_to_come_is_tried_on_calls_of_today_and_replaces_the_one_in_force() {
        let book = book();
        let usage = Usage { input: Some(1_234_567), output: Some(89_012), ..Usage::default() };
        let at = Timestamp::parse("2026-10-05T12:00:00Z").unwrap();
        let q = PriceQuery {
            platform: Some("azure.ai.openai"),
            model: Some("gpt-4o"),
            account: Some("sub-1"),
            ..PriceQuery::new(at, &usage)
        };
        let here = book.price(&q);
        assert_eq!(here.cost.unwrap().0, "1.98826875".parse().unwrap());
        let found = book.under("premium", None, None).unwrap().compared(here.clone(), &q, &Elsewhere::default());
        assert_eq!(found.elsewhere.cost.unwrap().0, "4.573018125".parse().unwrap());
        assert_eq!(found.difference, Some("2.584749375".parse().unwrap()));
        assert_eq!(found.assumed, [Assumed::ContractDates]);
        let other = PriceQuery { platform: Some("aws.bedrock"), ..q };
        let found = book.under("premium", None, None).unwrap().compared(here, &other, &Elsewhere::default());
        assert_eq!((found.difference, found.not_comparable), (None, vec![NotComparable::OtherPlatform]));
    }

    #[test]
    fn what_can_not_be_tried_says_why() {
        let wrong = |id, platform, account| book().under(id, platform, account).unwrap_err().to_string();
        assert!(wrong("nix", None, None).contains("there are now, premium, two"));
        assert!(wrong("two", None, None).contains("accounts a, b"));
        assert!(wrong("premium", Some("openai"), None).contains("is with azure.ai.openai, not with openai"));
        assert!(book().under("two", None, Some("a")).is_ok());
    }
}
