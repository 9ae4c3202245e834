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

/// The rules for a store. In one that holds demo data the demo's principals have teams, for every process alike.
pub async fn rules(store: &Store, mut principals: BTreeMap<String, String>) -> anyhow::Result<Arc<Rules>> {
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
