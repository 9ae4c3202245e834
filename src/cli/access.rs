//! `polymeter access`: what a configuration keeps of passwords and tokens.

use std::io::{BufRead, IsTerminal, Write};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

use crate::access::{Role, hash_password, new_token};

#[derive(Debug, Subcommand)]
pub enum Access {
    /// Make a user of a password, which is read from standard input and never shown or kept.
    #[command(
        after_help = "Prints lines for the configuration, or for the file that `[access] file` names, which a running server reads\nagain by itself.\n\nExamples:\n  polymeter access hash ana --role finance >> access.toml\n  pass show polymeter/ana | polymeter access hash ana --role read >> access.toml"
    )]
    Hash(Hash),
    /// Make a token. It is shown once; the configuration keeps its digest.
    #[command(
        after_help = "The token goes to standard error, the lines for the configuration to standard output.\n\nExamples:\n  polymeter access token grafana --role read >> access.toml\n  polymeter access token gateway --role ingest >> access.toml\n  curl -H \"authorization: Bearer $TOKEN\" http://localhost:8080/api/v1/sources"
    )]
    Token(Token),
}

#[derive(Debug, Args)]
pub struct Hash {
    /// Name of the user.
    name: String,
    /// ingest, read, finance or admin.
    #[arg(long, default_value = "read", value_parser = role)]
    role: Role,
}

#[derive(Debug, Args)]
pub struct Token {
    /// Name of the token; its user name on the PostgreSQL wire.
    name: String,
    /// ingest, read, finance or admin.
    #[arg(long, default_value = "read", value_parser = role)]
    role: Role,
}

fn role(text: &str) -> Result<Role, String> {
    Role::from_name(text).ok_or_else(|| format!("there are {}", Role::ALL.map(Role::name).join(", ")))
}

impl Access {
    /// Runs the command.
    ///
    /// # Errors
    /// The password can't be used, or there is nowhere to write to.
    pub fn run(self) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        match self {
            Self::Hash(Hash { name, role }) => {
                check(&name)?;
                let hash = hash_password(&password(&name)?)?;
                writeln!(out, "[[user]]\nname = \"{name}\"\npassword = \"{hash}\"\nrole = \"{role}\"")?;
            }
            Self::Token(Token { name, role }) => {
                check(&name)?;
                let made = new_token()?;
                writeln!(out, "[[token]]\nname = \"{name}\"\nhash = \"{}\"\nrole = \"{role}\"", made.hash)?;
                writeln!(std::io::stderr(), "the token of {name}, shown this once: {}", made.token)?;
            }
        }
        Ok(())
    }
}

fn check(name: &str) -> anyhow::Result<()> {
    let usable = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
    if name.is_empty() || name.len() > 63 || !name.chars().all(usable) {
        bail!("a name has letters, digits, and any of - _ . @, at most 63");
    }
    Ok(())
}

fn password(name: &str) -> anyhow::Result<String> {
    let mut input = std::io::stdin().lock();
    if input.is_terminal() {
        write!(std::io::stderr(), "password of {name} (it is shown while you type): ")?;
    }
    let mut line = String::new();
    input.read_line(&mut line).context("the password can't be read from standard input")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
