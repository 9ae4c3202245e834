//! Users and tokens as they are written in TOML: in the configuration, and in the file that it names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use toml::{Table, Value};

use super::hash::{Password, read_digest};
use super::{Caller, Entries, Role, SCOPE_COLUMNS, Scope, SecretError, Token, User};

const USER_KEYS: [&str; 4] = ["name", "password", "role", "scope"];
const TOKEN_KEYS: [&str; 4] = ["name", "hash", "role", "scope"];

/// Reads `[[user]]` and `[[token]]` of a table; `place` is where it lies, with a dot at its end.
pub fn entries(table: &Table, place: &str, problems: &mut Vec<String>) -> Entries {
    let mut entries = Entries::default();
    for (place, entry) in listed(table, place, "user", problems) {
        known(entry, &place, &USER_KEYS, problems);
        let secret = secret(entry, &place, "password", Password::read, problems);
        if let (Some(caller), Some(password)) = (caller(entry, &place, problems), secret) {
            entries.users.push(User { caller, password });
        }
    }
    for (place, entry) in listed(table, place, "token", problems) {
        known(entry, &place, &TOKEN_KEYS, problems);
        let secret = secret(entry, &place, "hash", read_digest, problems);
        if let (Some(caller), Some(digest)) = (caller(entry, &place, problems), secret) {
            entries.tokens.push(Token { caller, digest });
        }
    }
    for name in entries.twice() {
        problems.push(format!("{place}user/token: the name '{name}' is there twice"));
    }
    entries
}

/// Reads a file of them.
///
/// # Errors
/// All that is wrong in it; secrets are not told.
pub(super) fn file(text: &str, name: &str) -> Result<Entries, SecretError> {
    // The parser would show the line, which may hold a secret.
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        SecretError::new(format!("{name}:{}: is no TOML: {}", before.lines().count().max(1), error.message()))
    })?;
    let mut problems = Vec::new();
    known(&table, "", &["user", "token"], &mut problems);
    let entries = entries(&table, "", &mut problems);
    match problems.as_slice() {
        [] => Ok(entries),
        all => Err(SecretError::new(format!("{name}: {}", all.join("; ")))),
    }
}

fn listed<'a>(table: &'a Table, place: &str, key: &str, problems: &mut Vec<String>) -> Vec<(String, &'a Table)> {
    let entries = match table.get(key) {
        None => return Vec::new(),
        Some(Value::Array(entries)) => entries,
        Some(_) => {
            problems.push(format!("'{place}{key}' must be written as [[{place}{key}]]"));
            return Vec::new();
        }
    };
    let mut tables = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let place = format!("{place}{key}[{index}]");
        match entry.as_table() {
            Some(entry) => tables.push((place, entry)),
            None => problems.push(format!("{place} must be a table")),
        }
    }
    tables
}

fn known(entry: &Table, place: &str, keys: &[&str], problems: &mut Vec<String>) {
    for key in entry.keys().filter(|key| !keys.contains(&key.as_str())) {
        let dot = if place.is_empty() { "" } else { "." };
        problems.push(format!("unknown key '{place}{dot}{key}'; did you mean '{}'?", nearest(key, keys)));
    }
}

fn nearest<'a>(word: &str, words: &[&'a str]) -> &'a str {
    let best = words.iter().max_by(|a, b| strsim::jaro_winkler(word, a).total_cmp(&strsim::jaro_winkler(word, b)));
    best.copied().unwrap_or_default()
}

fn secret<T>(
    entry: &Table,
    place: &str,
    key: &str,
    read: impl Fn(&str) -> Result<T, SecretError>,
    problems: &mut Vec<String>,
) -> Option<T> {
    match entry.get(key).map(|value| value.as_str().map(read)) {
        Some(Some(Ok(secret))) => return Some(secret),
        Some(Some(Err(error))) => problems.push(format!("{place}.{key}: {error}")),
        Some(None) => problems.push(format!("{place}.{key}: must be text")),
        None => problems.push(format!("{place}.{key}: is required")),
    }
    None
}

fn caller(entry: &Table, place: &str, problems: &mut Vec<String>) -> Option<Caller> {
    let before = problems.len();
    let name = entry.get("name").and_then(Value::as_str).unwrap_or_default();
    let usable = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
    if name.is_empty() || name.len() > 63 || !name.chars().all(usable) {
        problems.push(format!("{place}.name: is required: letters, digits, and any of - _ . @, at most 63"));
    }
    let role = entry.get("role").and_then(Value::as_str).unwrap_or_default();
    let Some(role) = Role::from_name(role) else {
        problems.push(format!("{place}.role: must be one of {}, not '{role}'", Role::ALL.map(Role::name).join(", ")));
        return None;
    };
    let scope = entry.get("scope").map(|scope| read_scope(scope, place, problems));
    if scope.is_some() && !matches!(role, Role::Read | Role::Finance) {
        problems.push(format!("{place}.scope: bounds what somebody reads; the role '{role}' can't have one"));
    }
    (problems.len() == before).then(|| Caller { name: Arc::from(name), role, scope: scope.flatten().map(Arc::new) })
}

fn read_scope(scope: &Value, place: &str, problems: &mut Vec<String>) -> Option<Scope> {
    let Some(table) = scope.as_table() else {
        problems.push(format!("{place}.scope: must be written as {{ team = \"search\" }}"));
        return None;
    };
    let mut columns = BTreeMap::new();
    for (column, value) in table {
        if !SCOPE_COLUMNS.contains(&column.as_str()) {
            let hint = nearest(column, &SCOPE_COLUMNS);
            problems.push(format!("{place}.scope: rows can't be told by '{column}'; did you mean '{hint}'?"));
            continue;
        }
        let values = match value {
            Value::String(one) => Some(vec![one.clone()]),
            Value::Array(many) => many.iter().map(|one| one.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        match values.filter(|values| !values.is_empty()) {
            Some(values) => {
                columns.insert(column.clone(), values);
            }
            None => problems.push(format!("{place}.scope.{column}: must be a text or a list of texts")),
        }
    }
    let scope = Scope::new(columns);
    // A scope that was meant and is not there would show everything.
    if scope.is_none() {
        problems.push(format!("{place}.scope: names no column with a value"));
    }
    scope
}

impl Entries {
    /// Names that are there more than once.
    pub(super) fn twice(&self) -> BTreeSet<Arc<str>> {
        let mut seen = BTreeSet::new();
        let users = self.users.iter().map(|user| &user.caller);
        let names = users.chain(self.tokens.iter().map(|token| &token.caller)).map(|caller| Arc::clone(&caller.name));
        names.filter(|name| !seen.insert(Arc::clone(name))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn users_and_tokens_are_read_with_their_scopes() {
        let hash = super::super::hash_password("correct horse").unwrap();
        let text = format!(
            "[[user]]\nname = 'ana'\npassword = '{hash}'\nrole = 'finance'\nscope = {{ team = ['a', 'b'] }}\n\
             [[token]]\nname = 'gateway'\nhash = '{DIGEST}'\nrole = 'ingest'\n"
        );
        let entries = file(&text, "f").unwrap();
        assert_eq!(entries.users[0].caller.scope.as_ref().unwrap().to_string(), "team IN ('a', 'b')");
        assert_eq!((&*entries.tokens[0].caller.name, entries.tokens[0].caller.role), ("gateway", Role::Ingest));
    }

    #[test]
    fn every_problem_is_told_and_no_secret() {
        let text = format!(
            "[[user]]\nname = 'a b'\npassword = 'hunter2hunter2'\nrole = 'reader'\n\
             [[token]]\nname = 'x'\nhash = 'pm_secret'\nrole = 'read'\nscope = {{ teem = 'a' }}\n\
             [[token]]\nname = 'y'\nhash = '{DIGEST}'\nrole = 'admin'\nscope = {{ team = [] }}\nrules = 1\n\
             [[token]]\nname = 'z'\nhash = '{DIGEST}'\nrole = 'read'\n[[token]]\nname = 'z'\nhash = '{DIGEST}'\nrole = 'read'\n"
        );
        let error = file(&text, "access.toml").unwrap_err().to_string();
        for expected in [
            "access.toml: ",
            "user[0].name: is required",
            "user[0].password: must not be the password itself",
            "user[0].role: must be one of ingest, read, finance, admin, not 'reader'",
            "token[0].hash: must not be the token itself",
            "did you mean 'team'",
            "token[1].scope.team: must be a text",
            "token[1].scope: bounds what somebody reads",
            "did you mean 'role'",
            "the name 'z' is there twice",
        ] {
            assert!(error.contains(expected), "{expected} is not in {error}");
        }
        assert!(!error.contains("hunter2") && !error.contains("pm_secret"), "{error}");
        let broken = file("[[user]]\nname = 'a'\npassword = 'hunter2\n", "f").unwrap_err().to_string();
        assert!(broken.starts_with("f:3:") && !broken.contains("hunter2"), "{broken}");
    }
}
