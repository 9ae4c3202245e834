//! Parse, run, exit code.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use polymeter::cli::Cli;

/// Unoptimised query planning recurses deeply.
const STACK_BYTES: usize = 16 << 20;

/// What the allocator reads at the start of a process: milliseconds that it waits before it gives memory back. An import
/// needs what it frees again at once; with the allocator's own ten, a tenth of its time went into getting it back.
const KEEP_MEMORY: (&str, &str) = ("MIMALLOC_PURGE_DELAY", "50");

fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.is_import() && std::env::var_os(KEEP_MEMORY.0).is_none() {
        begin_again();
    }
    // Two crypto providers are in the tree; the first to be installed is the one that is used.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        return ExitCode::FAILURE;
    }
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime =
        builder.enable_all().thread_stack_size(STACK_BYTES).max_blocking_threads(cli.blocking_threads()).build();
    let outcome = runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(cli.run()));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // There is nowhere left to report a failure to report.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Becomes the same command with [`KEEP_MEMORY`] in its environment. Returns where that can't be had; then it goes on
/// without.
#[cfg(unix)]
fn begin_again() {
    use std::os::unix::process::CommandExt;

    let mut args = std::env::args_os();
    if let (Ok(program), Some(name)) = (std::env::current_exe(), args.next())
        && program.is_file()
    {
        let (variable, value) = KEEP_MEMORY;
        let _failed = std::process::Command::new(program).arg0(name).args(args).env(variable, value).exec();
    }
}

#[cfg(not(unix))]
const fn begin_again() {}
