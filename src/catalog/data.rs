//! The catalogue's tables: read once from TOML, then only looked up.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;

const BUNDLED: &str = include_str!("data/models.toml");

/// Why a catalogue can't be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// The text is not TOML of the expected form.
    #[error("reading the model catalogue: {0}")]
    Malformed(String),
    /// Two publishers claim one spelling.
    #[error("model spelling {0:?} is claimed twice")]
    Ambiguous(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    routes: Vec<String>,
    routers: Vec<String>,
    publisher: Vec<PublisherEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PublisherEntry {
    name: String,
    vendors: Vec<String>,
    families: Vec<String>,
    #[serde(default)]
    models: Vec<String>,
    #[serde(default)]
    aliases: HashMap<String, String>,
    #[serde(default)]
    snapshots: HashMap<String, (String, String)>,
    #[serde(default)]
    versions: HashMap<String, (String, String)>,
}

/// What a known spelling stands for.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// Index of the publisher.
    pub publisher: usize,
    /// Canonical name.
    pub model: Arc<str>,
    /// Edition, where the spelling names one.
    pub snapshot: Option<Arc<str>>,
}

/// The tables behind [`super::Catalog`].
#[derive(Clone, Debug, Default)]
pub(super) struct Tables {
    pub publishers: Vec<Arc<str>>,
    pub names: HashMap<String, Known>,
    versions: HashMap<String, HashMap<String, Known>>,
    vendors: HashMap<String, usize>,
    families: Vec<(String, usize)>,
    routes: Vec<String>,
    routers: Vec<String>,
}

impl Tables {
    pub(super) fn bundled() -> Result<Self, CatalogError> {
        Self::parse(BUNDLED)
    }

    pub(super) fn parse(text: &str) -> Result<Self, CatalogError> {
        let file: File = toml::from_str(text).map_err(|error| CatalogError::Malformed(error.to_string()))?;
        let mut tables = Self { routes: file.routes, routers: file.routers, ..Self::default() };
        for entry in file.publisher {
            tables.add(entry)?;
        }
        Ok(tables)
    }

    fn add(&mut self, entry: PublisherEntry) -> Result<(), CatalogError> {
        let publisher = self.publishers.len();
        self.publishers.push(entry.name.into());
        for vendor in entry.vendors {
            self.vendors.insert(vendor, publisher);
        }
        self.families.extend(entry.families.into_iter().map(|family| (family, publisher)));
        for model in entry.models {
            let known = Known { publisher, model: model.as_str().into(), snapshot: None };
            self.name(model, known)?;
        }
        for (alias, model) in entry.aliases {
            self.name(alias, Known { publisher, model: model.into(), snapshot: None })?;
        }
        for (spelling, (model, snapshot)) in entry.snapshots {
            self.name(spelling, Known { publisher, model: model.into(), snapshot: Some(snapshot.into()) })?;
        }
        for (key, (model, snapshot)) in entry.versions {
            let (name, version) = key.split_once(' ').ok_or_else(|| CatalogError::Malformed(key.clone()))?;
            let known = Known { publisher, model: model.into(), snapshot: Some(snapshot.into()) };
            self.versions.entry(name.to_owned()).or_default().insert(version.to_owned(), known);
        }
        Ok(())
    }

    /// The index of a publisher, who is added if there is none of this name; its name is a vendor prefix too.
    pub(super) fn publisher(&mut self, name: &str) -> usize {
        if let Some(known) = self.publishers.iter().position(|publisher| publisher.as_ref() == name) {
            return known;
        }
        self.publishers.push(name.into());
        let publisher = self.publishers.len() - 1;
        self.vendors.entry(name.to_owned()).or_insert(publisher);
        publisher
    }

    fn name(&mut self, spelling: String, known: Known) -> Result<(), CatalogError> {
        if self.names.contains_key(&spelling) {
            return Err(CatalogError::Ambiguous(spelling));
        }
        self.names.insert(spelling, known);
        Ok(())
    }

    pub(super) fn vendor(&self, word: &str) -> Option<usize> {
        self.vendors.get(word).copied()
    }

    pub(super) fn version(&self, model: &str, version: &str) -> Option<&Known> {
        self.versions.get(model).and_then(|versions| versions.get(version))
    }

    pub(super) fn is_route(&self, word: &str) -> bool {
        self.routes.iter().any(|route| route == word)
    }

    pub(super) fn is_router(&self, name: &str) -> bool {
        self.routers.iter().any(|router| router == name)
    }

    /// The publisher whose families have a shape that `name` fits.
    pub(super) fn family(&self, name: &str) -> Option<usize> {
        self.families.iter().find(|(shape, _)| fits(shape, name)).map(|(_, publisher)| *publisher)
    }
}

/// True if `name` has the shape: `#` one digit, `@` one or more letters, `*` (last) anything, else itself.
fn fits(shape: &str, name: &str) -> bool {
    let mut rest = name.chars().peekable();
    for sign in shape.chars() {
        match sign {
            '*' => return true,
            '#' => {
                if !rest.next().is_some_and(|c| c.is_ascii_digit()) {
                    return false;
                }
            }
            '@' => {
                let mut letters = 0_u32;
                while rest.next_if(char::is_ascii_alphabetic).is_some() {
                    letters = letters.saturating_add(1);
                }
                if letters == 0 {
                    return false;
                }
            }
            literal => {
                if rest.next() != Some(literal) {
                    return false;
                }
            }
        }
    }
    rest.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_tell_model_names_from_aliases() {
        assert!(fits("gpt-#*", "gpt-6-astra"));
        assert!(!fits("gpt-#*", "gpt-chat-pilot"));
        assert!(fits("claude-@-#*", "claude-opus-9"));
        assert!(!fits("claude-@-#*", "claude-prod"));
        assert!(fits("o#", "o3") && !fits("o#", "o3x"));
    }
}
