//! Budgets of a running server: looks at them in turn, shows them as metrics and tells whoever wants to know. Tasks of their
//! own beside ingest: whatever a receiver of alerts does, nothing else waits for it.

mod deliver;
mod sent;

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::clock::Clock;
use crate::config::Budgets;
use crate::finance::Terms;
use crate::finance::budget::Alert;
use crate::ledger::View;
use crate::query::{Engine, budget_status};
use crate::store::Store;
use crate::telemetry::{self, metrics};

use deliver::Courier;

/// What looking at budgets needs.
pub struct Watch {
    /// The budgets and who is told.
    pub budgets: Budgets,
    /// The view to ask.
    pub view: Arc<ArcSwap<View>>,
    /// Answers.
    pub engine: Engine,
    /// Exchange rates and commitments.
    pub terms: Arc<Terms>,
    /// Which month it is.
    pub clock: Arc<dyn Clock>,
    /// Remembers what was sent.
    pub store: Store,
}

impl Watch {
    /// Starts one task that looks, and one for each receiver of alerts, so that one that hangs delays no other.
    ///
    /// # Errors
    /// The HTTP client can't be set up.
    pub fn start(self, tasks: &TaskTracker, cancel: &CancellationToken) -> anyhow::Result<()> {
        if self.budgets.plans.is_empty() {
            return Ok(());
        }
        let (told, due) = watch::channel(Arc::new(Vec::new()));
        for target in &self.budgets.targets {
            let courier = Courier::new(target.clone(), self.store.clone(), Arc::clone(&self.clock))?;
            tasks.spawn(courier.run(due.clone(), cancel.clone()));
        }
        tasks.spawn(self.look(told, cancel.clone()));
        Ok(())
    }

    async fn look(self, told: watch::Sender<Arc<Vec<Alert>>>, cancel: CancellationToken) {
        loop {
            let mut alerts = Vec::new();
            for plan in &self.budgets.plans {
                let (view, now) = (self.view.load_full(), self.clock.now());
                match budget_status(&self.engine, &view, plan, None, &self.terms, now).await {
                    Ok(status) => {
                        let budget = &plan.budget;
                        let forecast = &status.forecast;
                        metrics::budget(
                            &budget.name,
                            &budget.currency,
                            forecast.spent,
                            forecast.expected,
                            budget.amount,
                        );
                        alerts.extend(status.alerts());
                    }
                    Err(error) => {
                        warn!(budget = %budget_name(plan), error = %telemetry::chain(&error), "budget can't be looked at");
                    }
                }
            }
            // Nobody listens where nobody is to be told.
            let _ = told.send(Arc::new(alerts));
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(self.budgets.every) => {}
            }
        }
    }
}

fn budget_name(plan: &crate::finance::budget::Plan) -> String {
    crate::finance::grid::plain(&plan.budget.name)
}
