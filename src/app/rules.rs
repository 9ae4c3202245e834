//! What settling needs to know, from the bundled data, the configuration and the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context;
use object_store::{ObjectStoreExt, PutPayload};

use crate::attribution::Attribution;
use crate::catalog::Catalog;
use crate::demo::PRINCIPALS;
use crate::pricing::PriceBook;
use crate::settle::Rules;
use crate::store::Store;

/// Object that marks a store as holding invented calls.
const DEMO_MARK: &str = "demo.txt";

/// Object that holds the principals of the last configuration that calls were settled with.
const PRINCIPALS_KEPT: &str = "principals.json";

/// Principal to team, where a configuration says it.
pub type Said = Option<BTreeMap<String, String>>;

/// Keeps what the configuration of a command that settles says, so that it holds for commands without one too: or each
/// would settle its neighbours' calls by other rules.
pub async fn keep(store: &Store, said: Option<&BTreeMap<String, String>>) -> anyhow::Result<()> {
    if let Some(principals) = said
        && kept(store).await?.unwrap_or_default() != *principals
    {
        store.keep(PRINCIPALS_KEPT, serde_json::to_vec_pretty(principals)?, true).await?;
    }
    Ok(())
}

async fn kept(store: &Store) -> anyhow::Result<Said> {
    let bytes = store.read(PRINCIPALS_KEPT).await?;
    bytes.map(|bytes| serde_json::from_slice(&bytes)).transpose().context("principals.json of the store is damaged")
}

/// The rules for a store. In one that holds demo data the demo's principals have teams, for every process alike.
pub async fn rules(store: &Store, said: Said) -> anyhow::Result<Arc<Rules>> {
    let mut principals = match said {
        Some(principals) => principals,
        None => kept(store).await?.unwrap_or_default(),
    };
    if is_demo(store).await {
        for principal in PRINCIPALS {
            principals.entry(principal.name.to_owned()).or_insert_with(|| principal.team.to_owned());
        }
    }
    Ok(Arc::new(Rules {
        catalog: Catalog::bundled().context("the bundled model catalogue is damaged")?,
        attribution: Attribution::new(principals),
        prices: PriceBook::bundled().context("the bundled price list is damaged")?,
    }))
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
