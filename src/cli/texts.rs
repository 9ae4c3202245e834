//! What the program writes about itself: completions, manual pages, the reference of its configuration.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;

/// Every key of the configuration file, as it is read and tested.
const REFERENCE: &str = include_str!("../../deploy/polymeter.example.toml");

/// Completions of a shell.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell.
    shell: Shell,
}

impl Completions {
    /// Writes them to standard output.
    ///
    /// # Errors
    /// Nobody reads.
    pub fn run(self) -> anyhow::Result<()> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "polymeter", &mut text);
        Ok(std::io::stdout().write_all(&text)?)
    }
}

/// Manual pages.
#[derive(Debug, Args)]
pub struct Man {
    /// Folder for one page a command; without it the first page goes to standard output.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Man {
    /// Writes them.
    ///
    /// # Errors
    /// The folder can't be written.
    pub fn run(self) -> anyhow::Result<()> {
        let command = Cli::command();
        match self.out {
            Some(folder) => {
                std::fs::create_dir_all(&folder)?;
                clap_mangen::generate_to(command, &folder)?;
                writeln!(std::io::stdout(), "manual pages are in {}; try: man {0}/polymeter.1", folder.display())?;
                Ok(())
            }
            None => Ok(clap_mangen::Man::new(command).render(&mut std::io::stdout())?),
        }
    }
}

/// Writes the reference of the configuration, with the version that it is of.
///
/// # Errors
/// Nobody reads.
pub fn config_reference() -> anyhow::Result<()> {
    write!(std::io::stdout(), "# polymeter {}\n{REFERENCE}", env!("CARGO_PKG_VERSION"))?;
    Ok(())
}
