//! `[http]`, `[pg]` and `[access]`: where questions are asked, by whom, and how much each role may ask at once.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::{Table, Value};

use super::Config;
use super::read::{Section, known, section};
use super::receivers;
use crate::access::{Entries, Role, TlsFiles, entries};
use crate::query::RoleLimits;

/// Where questions are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenConfig {
    /// The address; `None` switches it off.
    pub listen: Option<SocketAddr>,
    /// Certificate and key.
    pub tls: Option<TlsFiles>,
    /// Everybody may ask, also from other machines.
    pub allow_unauthenticated: bool,
}

impl ListenConfig {
    /// An address without anything else.
    #[must_use]
    pub const fn at(listen: SocketAddr) -> Self {
        Self { listen: Some(listen), tls: None, allow_unauthenticated: false }
    }

    /// Whether other machines can reach it.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        self.listen.is_some_and(|address| !address.ip().to_canonical().is_loopback())
    }
}

/// Who may ask.
#[derive(Clone, Debug, Default)]
pub struct AccessConfig {
    /// Whether there is a section: from then on everybody logs in.
    pub required: bool,
    /// Users and tokens of the configuration itself.
    pub entries: Entries,
    /// A file with more, read again when it changes.
    pub file: Option<PathBuf>,
    /// Where questions are written down.
    pub audit_file: Option<PathBuf>,
    /// How much each role may ask.
    pub limits: RoleLimits,
}

impl PartialEq for AccessConfig {
    fn eq(&self, other: &Self) -> bool {
        // Verifiers are not compared: two configurations are alike where their words are.
        let names = |config: &Self| {
            let users = config.entries.users.iter().map(|user| user.caller.clone());
            users.chain(config.entries.tokens.iter().map(|token| token.caller.clone())).collect::<Vec<_>>()
        };
        self.required == other.required
            && names(self) == names(other)
            && self.file == other.file
            && self.audit_file == other.audit_file
            && self.limits == other.limits
    }
}

/// Reads the three sections.
pub(super) fn read(table: &Table, folder: &Path, config: &mut Config, problems: &mut Vec<String>) {
    for (name, into) in [("http", &mut config.http), ("pg", &mut config.pg)] {
        section(table, name, &["listen", "tls", "allow_unauthenticated"], problems, |section| {
            let before = into.listen;
            receivers::address(section, "listen", &mut into.listen);
            if name == "http" && before.is_some() && into.listen.is_none() {
                section.problem("listen", "can't be switched off");
                into.listen = before;
            }
            receivers::tls(section, &mut into.tls);
            receivers::allow_unauthenticated(section, &mut into.allow_unauthenticated);
        });
    }
    let keys = ["file", "audit_file", "user", "token", "limits"];
    section(table, "access", &keys, problems, |section| {
        let into = &mut config.access;
        into.required = true;
        for (key, path) in [("file", &mut into.file), ("audit_file", &mut into.audit_file)] {
            let mut text = String::new();
            section.text(key, &mut text);
            if !text.is_empty() {
                *path = Some(folder.join(text));
            } else if section.table.contains_key(key) {
                section.problem(key, "must not be empty");
            }
        }
        into.entries = entries(section.table, "access.", section.problems);
        limits(section, &mut into.limits);
        // With nobody known nobody gets in, which an empty section hardly means.
        if into.entries.users.is_empty() && into.entries.tokens.is_empty() && into.file.is_none() {
            section.problem(
                "file",
                "there are no users and no tokens; name a file, or write [[access.user]] or [[access.token]]",
            );
        }
    });
}

fn limits(section: &mut Section<'_>, into: &mut RoleLimits) {
    let roles = match section.table.get("limits") {
        None => return,
        Some(Value::Table(roles)) => roles,
        Some(_) => return section.problem("limits", "must be sections [access.limits.ROLE]"),
    };
    known(roles, "access.limits", &["read", "finance", "admin"], section.problems);
    for (name, value) in roles {
        let (Some(role), Some(table)) = (Role::from_name(name), value.as_table()) else {
            if !value.is_table() {
                section.problem(&format!("limits.{name}"), "must be a section");
            }
            continue;
        };
        let place = format!("access.limits.{name}");
        known(table, &place, &["rows", "export_rows", "time_s", "concurrent"], section.problems);
        let mut own = Section { name: &place, table, problems: section.problems };
        let Some(limits) = into.of_mut(role) else { continue };
        own.count("rows", &mut limits.rows);
        own.count("export_rows", &mut limits.export_rows);
        own.count("concurrent", &mut limits.concurrent);
        let mut time: Duration = limits.time;
        own.seconds("time_s", &mut time);
        limits.time = time;
    }
}

/// Checks who can reach what.
pub(super) fn check(config: &Config, problems: &mut Vec<String>) {
    for (place, listener) in [("http", &config.http), ("pg", &config.pg)] {
        if let Some(address) = listener.listen.filter(|_| listener.is_remote())
            && !config.access.required
            && !listener.allow_unauthenticated
        {
            problems.push(format!(
                "{place}.listen: other machines can reach {address}, and nothing tells who may ask; add [access] with users \
                 or tokens, or allow_unauthenticated = true (--allow-unauthenticated)"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> String {
        Config::parse(text).unwrap_err().join("\n")
    }

    #[test]
    fn what_others_can_reach_needs_a_log_in_or_a_word() {
        for section in ["http", "pg"] {
            let text = format!("[{section}]\nlisten = '0.0.0.0:9999'\n");
            assert!(problems(&text).starts_with(&format!("{section}.listen: other machines can reach")));
            assert!(Config::parse(&format!("{text}allow_unauthenticated = true\n")).is_ok());
            assert!(Config::parse(&format!("{text}[access]\nfile = 'x'\n")).is_ok());
        }
        assert!(Config::parse("[http]\nlisten = '[::1]:80'\n[pg]\nlisten = '127.0.0.2:1'\n").is_ok());
        assert_eq!(Config::parse("[pg]\nlisten = false\n").unwrap().pg.listen, None);
        assert!(problems("[http]\nlisten = false\n").contains("can't be switched off"));
    }

    #[test]
    fn limits_and_people_are_read_and_every_problem_is_told() {
        let config =
            Config::parse("[access]\nfile = 'who.toml'\n[access.limits.finance]\nrows = 7\ntime_s = 9\n").unwrap();
        let finance = config.access.limits.of(Role::Finance);
        assert_eq!((finance.rows, finance.time), (7, Duration::from_secs(9)));
        assert_eq!(config.access.limits.of(Role::Read), RoleLimits::default().of(Role::Read));
        let told = problems(
            "[access]\nfil = 'x'\n[[access.user]]\nname = 'a'\npassword = 'hunter2'\nrole = 'read'\n\
             [access.limits.reader]\nrows = 1\n[access.limits.read]\nrows = 0\ntime = 3\n[pg]\ntls = 'x'\nlisten = 5\n",
        );
        for expected in [
            "'access.fil'; did you mean 'file'",
            "access.user[0].password: must not be the password itself",
            "access.limits.reader",
            "access.limits.read.rows: must be a number above 0",
            "'access.limits.read.time'",
            "pg.tls: must be written as",
            "pg.listen: must be an address or false",
        ] {
            assert!(told.contains(expected), "{expected} is not in {told}");
        }
        assert!(!told.contains("hunter2"));
        assert!(problems("[access]\n").contains("there are no users and no tokens"));
    }
}
