//! What settling needs to know, from the bundled data, the configuration and the store.

mod kept;

use std::sync::Arc;

use anyhow::{Context, anyhow};
use object_store::{ObjectStoreExt, PutPayload};

use kept::Version;
pub use kept::{keep, keep_version, version};

use super::{StoreOptions, existing_store};
use crate::attribution::Attribution;
use crate::catalog::Catalog;
use crate::clock::{Clock, SystemClock};
use crate::config::Said;
use crate::demo::PRINCIPALS;
use crate::finance::Terms;
use crate::settle::Rules;
use crate::store::Store;

/// Object that marks a store as holding invented calls.
const DEMO_MARK: &str = "demo.txt";

/// What holds for a store.
pub struct InForce {
    /// What calls are settled with.
    pub rules: Arc<Rules>,
    /// What reports need beside them.
    pub terms: Arc<Terms>,
    /// The texts.
    pub version: Version,
}

/// The rules for a store. In one that holds demo data the demo's principals have teams, for every process alike.
pub async fn rules(store: &Store, said: &Said) -> anyhow::Result<Arc<Rules>> {
    Ok(in_force(store, said).await?.rules)
}

/// What holds for a store: what is said, and where nothing is said, what is kept.
pub async fn in_force(store: &Store, said: &Said) -> anyhow::Result<InForce> {
    let version = kept::candidate(store, said, SystemClock.now()).await?;
    compiled(version, is_demo(store).await)
}

/// What holds for the store if there is one, else what is said and the bundled list.
pub async fn anywhere(options: &StoreOptions) -> anyhow::Result<InForce> {
    match existing_store(&options.data).await {
        Ok(store) => in_force(&store, &options.said).await,
        Err(_) if !options.data.contains("://") => compiled(kept::alone(&options.said, SystemClock.now()), false),
        Err(error) => Err(error),
    }
}

/// A version as what calls are settled with.
fn compiled(version: Version, demo: bool) -> anyhow::Result<InForce> {
    let compiled = version.compile().map_err(|problems| anyhow!("{}", listed(&problems)))?;
    let mut principals = version.principals.clone();
    if demo {
        for principal in PRINCIPALS {
            principals.entry(principal.name.to_owned()).or_insert_with(|| principal.team.to_owned());
        }
    }
    let terms = Terms {
        version: version.version.clone(),
        prices_version: compiled.prices.book.version(),
        exchange: compiled.prices.exchange,
        splits: compiled.rules.splits,
        commitments: compiled.prices.commitments,
        currency: version.currency.clone(),
    };
    let rules = Rules {
        catalog: Catalog::bundled().context("the bundled model catalogue is damaged")?,
        attribution: Attribution::new(principals).with_rules(compiled.rules.rules),
        prices: compiled.prices.book,
    };
    Ok(InForce { rules: Arc::new(rules), terms: Arc::new(terms), version })
}

/// Mistakes in files, one a line.
pub fn listed(problems: &[crate::sheet::Problem]) -> String {
    match problems {
        [only] => only.to_string(),
        all => all.iter().fold(format!("{} problems", all.len()), |text, problem| format!("{text}\n  - {problem}")),
    }
}

/// Whether the store is marked as demo data.
pub async fn is_demo(store: &Store) -> bool {
    store.objects().head(&store.path(DEMO_MARK)).await.is_ok()
}

/// Marks the store as demo data.
pub async fn mark_demo(store: &Store) -> anyhow::Result<()> {
    let text = PutPayload::from_static(b"This store holds invented calls, made by `polymeter serve --demo`.\n");
    store.objects().put(&store.path(DEMO_MARK), text).await.context("the store can't be written")?;
    Ok(())
}
