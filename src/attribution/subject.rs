//! What a rule looks at in a call.

use std::fmt;
use std::str::FromStr;

use crate::model::Call;

/// Something that a call says, to be matched or taken over.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// `principal`: IAM ARN, Entra object id or key alias; the role or user name inside an ARN matches too.
    Principal,
    /// `key_alias`: the alias of a gateway's key.
    KeyAlias,
    /// `deployment`: Azure deployment.
    Deployment,
    /// `account`: cloud account or subscription.
    Account,
    /// `service`: `service.name` of the caller.
    Service,
    /// `resource`: resource path.
    Resource,
    /// `gateway`: the gateway that saw the call.
    Gateway,
    /// `platform`: who billed it.
    Platform,
    /// `model`: canonical model, or the one that was asked for where that is not known.
    Model,
    /// `region`: the region that was called.
    Region,
    /// `user_id`: end user.
    UserId,
    /// `team`, `feature`, `cost_center`, `environment`: what witnesses said themselves.
    Said(Field),
    /// `tag.NAME`: a tag.
    Tag(String),
    /// `header.NAME`: an HTTP request header that a gateway or client recorded as an attribute.
    Header(String),
}

/// What rules decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// Team.
    Team,
    /// Feature.
    Feature,
    /// Cost centre.
    CostCenter,
    /// Environment.
    Environment,
}

impl Field {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Team, Self::Feature, Self::CostCenter, Self::Environment];

    /// The column.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Team => "team",
            Self::Feature => "feature",
            Self::CostCenter => "cost_center",
            Self::Environment => "environment",
        }
    }

    /// What a call holds.
    #[must_use]
    pub const fn of(self, call: &Call) -> Option<&String> {
        match self {
            Self::Team => call.team.as_ref(),
            Self::Feature => call.feature.as_ref(),
            Self::CostCenter => call.cost_center.as_ref(),
            Self::Environment => call.environment.as_ref(),
        }
    }

    /// The place for it in a call.
    pub(super) const fn of_mut(self, call: &mut Call) -> &mut Option<String> {
        match self {
            Self::Team => &mut call.team,
            Self::Feature => &mut call.feature,
            Self::CostCenter => &mut call.cost_center,
            Self::Environment => &mut call.environment,
        }
    }

    /// Well-known names of tags that say it.
    pub(super) const fn tags(self) -> &'static [&'static str] {
        match self {
            Self::Team => &["team", "team_id"],
            Self::Feature => &["feature", "application", "app"],
            Self::CostCenter => &["cost_center", "cost-center", "costcenter", "costCenter"],
            Self::Environment => &["environment", "env", "stage"],
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Field {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|field| field.as_str() == text).ok_or(())
    }
}

impl Subject {
    /// The names of all, for hints.
    pub const NAMES: [&'static str; 17] = [
        "principal",
        "key_alias",
        "deployment",
        "account",
        "service",
        "resource",
        "gateway",
        "platform",
        "model",
        "region",
        "user_id",
        "team",
        "feature",
        "cost_center",
        "environment",
        "tag.NAME",
        "header.NAME",
    ];

    /// The first text under which a call says it.
    #[must_use]
    pub fn text<'a>(&self, call: &'a Call) -> Option<&'a str> {
        self.texts(call).into_iter().next()
    }

    /// Every text under which a call says it.
    pub(super) fn texts<'a>(&self, call: &'a Call) -> Vec<&'a str> {
        let tag = |name: &str| call.tags.get(name).map(String::as_str);
        let one = |text: &'a Option<String>| text.as_deref().into_iter().collect();
        match self {
            Self::Principal => {
                let principal = call.principal.as_deref();
                principal.into_iter().chain(principal.and_then(name_in_arn)).collect()
            }
            Self::KeyAlias => {
                [tag("key_alias"), tag("user_api_key_alias"), call.principal.as_deref()].into_iter().flatten().collect()
            }
            Self::Deployment => one(&call.deployment),
            Self::Account => one(&call.account),
            Self::Service => one(&call.service),
            Self::Resource => one(&call.resource),
            Self::Gateway => one(&call.gateway),
            Self::Platform => one(&call.platform),
            Self::Model => call.model.as_deref().or(call.request_model.as_deref()).into_iter().collect(),
            Self::Region => one(&call.region),
            Self::UserId => one(&call.user_id),
            Self::Said(field) => field.of(call).map(String::as_str).into_iter().collect(),
            Self::Tag(name) => tag(name).into_iter().collect(),
            Self::Header(name) => {
                let name = name.to_ascii_lowercase();
                let names = [
                    format!("http.request.header.{name}"),
                    format!("http.request.header.{}", name.replace('-', "_")),
                    format!("header.{name}"),
                    name,
                ];
                names.iter().filter_map(|name| tag(name)).collect()
            }
        }
    }
}

/// The role or user that an ARN names. Never the session of an assumed role, which its caller names as it likes.
fn name_in_arn(principal: &str) -> Option<&str> {
    let resource = principal.strip_prefix("arn:")?.rsplit(':').next()?;
    let (kind, name) = resource.split_once('/')?;
    match kind {
        "assumed-role" => name.split('/').next(),
        _ => name.rsplit('/').next(),
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Principal => f.write_str("principal"),
            Self::KeyAlias => f.write_str("key_alias"),
            Self::Deployment => f.write_str("deployment"),
            Self::Account => f.write_str("account"),
            Self::Service => f.write_str("service"),
            Self::Resource => f.write_str("resource"),
            Self::Gateway => f.write_str("gateway"),
            Self::Platform => f.write_str("platform"),
            Self::Model => f.write_str("model"),
            Self::Region => f.write_str("region"),
            Self::UserId => f.write_str("user_id"),
            Self::Said(field) => write!(f, "{field}"),
            Self::Tag(name) => write!(f, "tag.{name}"),
            Self::Header(name) => write!(f, "header.{name}"),
        }
    }
}

impl FromStr for Subject {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        if let Ok(field) = text.parse() {
            return Ok(Self::Said(field));
        }
        match text.split_once('.') {
            Some(("tag", name)) if !name.is_empty() => return Ok(Self::Tag(name.to_owned())),
            Some(("header", name)) if !name.is_empty() => return Ok(Self::Header(name.to_owned())),
            Some(_) => return Err(()),
            None => {}
        }
        Ok(match text {
            "principal" => Self::Principal,
            "key_alias" => Self::KeyAlias,
            "deployment" => Self::Deployment,
            "account" => Self::Account,
            "service" => Self::Service,
            "resource" => Self::Resource,
            "gateway" => Self::Gateway,
            "platform" => Self::Platform,
            "model" => Self::Model,
            "region" => Self::Region,
            "user_id" => Self::UserId,
            _ => return Err(()),
        })
    }
}
