//! `polymeter attribute`.

use anyhow::Context;
use clap::{Args, Subcommand};

use super::store::{Place, instant};
use crate::app::{self, TestSubject};
use crate::clock::{Clock, SystemClock};
use crate::model::{Call, Timestamp};

#[derive(Debug, Subcommand)]
pub(super) enum Attribute {
    /// Show which rule decides team, feature, cost centre and environment of a call, and why the others do not hold.
    #[command(
        after_help = "Rules are those of --config, else those that the store keeps. Nothing is changed.\n\nExamples:\n  polymeter attribute test --config polymeter.toml --principal arn:aws:iam::111122223333:role/search-web --tag env=prod\n  polymeter attribute test --service chat-api --header x-team=search\n  polymeter attribute test --call $(polymeter sql --format csv \"SELECT call_id FROM calls WHERE team IS NULL LIMIT 1\" | tail -1)"
    )]
    Test(Box<Test>),
}

#[derive(Debug, Args)]
pub(super) struct Test {
    /// This call, by its `call_id`.
    #[arg(long, value_name = "ID")]
    call: Option<String>,
    #[command(flatten)]
    described: Described,
    #[command(flatten)]
    place: Place,
}

/// A call that is described.
#[derive(Debug, Args)]
#[group(multiple = true, conflicts_with = "call")]
struct Described {
    /// IAM ARN, Entra object id, key alias.
    #[arg(long)]
    principal: Option<String>,
    /// Service name of the caller.
    #[arg(long)]
    service: Option<String>,
    /// Alias of the gateway's key.
    #[arg(long)]
    key_alias: Option<String>,
    /// Cloud account or subscription.
    #[arg(long)]
    account: Option<String>,
    /// Deployment.
    #[arg(long)]
    deployment: Option<String>,
    /// Resource path.
    #[arg(long)]
    resource: Option<String>,
    /// Gateway that saw the call.
    #[arg(long)]
    gateway: Option<String>,
    /// Who bills.
    #[arg(long)]
    platform: Option<String>,
    /// Canonical model.
    #[arg(long)]
    model: Option<String>,
    /// Region that is called.
    #[arg(long)]
    region: Option<String>,
    /// End user.
    #[arg(long)]
    user_id: Option<String>,
    /// Team that the call itself names.
    #[arg(long)]
    team: Option<String>,
    /// Feature that the call itself names.
    #[arg(long)]
    feature: Option<String>,
    /// Environment that the call itself names.
    #[arg(long)]
    environment: Option<String>,
    /// A tag; may be given several times.
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = pair)]
    tags: Vec<(String, String)>,
    /// A request header; may be given several times.
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = pair)]
    headers: Vec<(String, String)>,
    /// When the call starts (UTC) [default: now]
    #[arg(long, value_parser = instant)]
    at: Option<Timestamp>,
}

fn pair(text: &str) -> anyhow::Result<(String, String)> {
    let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty()).context("write it as name=value")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Attribute {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let Self::Test(test) = self;
        let (options, _) = test.place.read()?;
        let subject = match test.call {
            Some(id) => TestSubject::Call(id),
            None => TestSubject::Described(Box::new(test.described.call())),
        };
        app::attribute_test(options, subject).await
    }
}

impl Described {
    fn call(self) -> Call {
        let mut tags = crate::model::Tags::new();
        tags.extend(self.tags);
        tags.extend(self.key_alias.map(|alias| ("key_alias".to_owned(), alias)));
        tags.extend(
            self.headers.into_iter().map(|(name, value)| (format!("header.{}", name.to_ascii_lowercase()), value)),
        );
        Call {
            ts: self.at.unwrap_or_else(|| SystemClock.now()),
            principal: self.principal,
            service: self.service,
            account: self.account,
            deployment: self.deployment,
            resource: self.resource,
            gateway: self.gateway,
            platform: self.platform,
            model: self.model,
            region: self.region,
            user_id: self.user_id,
            team: self.team,
            feature: self.feature,
            environment: self.environment,
            tags,
            ..Call::default()
        }
    }
}
