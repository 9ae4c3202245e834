//! `polymeter prices list`: the rows of the price book in force, for other programs.

use std::io::Write;

use anyhow::bail;

use crate::app::{StoreOptions, rules};
use crate::model::platform;
use crate::pricing::{Rate, write_csv};

/// Writes the rows: as CSV in the form of a price file, without contracts; as JSON all of it.
///
/// # Errors
/// The rules of the store or configuration are wrong, or there is no such platform.
pub async fn prices_list(
    options: StoreOptions,
    platform: Option<&str>,
    model: Option<&str>,
    csv: bool,
) -> anyhow::Result<()> {
    let in_force = rules::anywhere(&options).await?;
    let book = &in_force.rules.prices;
    let platform = platform.map(|name| platform::canonical(name).unwrap_or_else(|| name.to_owned()));
    if let Some(name) = &platform
        && !book.platforms().contains(&name.as_str())
    {
        bail!("there is no price for platform '{name}'; there are {}", book.platforms().join(", "));
    }
    let wanted = |own_platform: &str, own_model: Option<&str>| {
        platform.as_deref().is_none_or(|name| name == own_platform)
            && model.is_none_or(|name| own_model.is_none_or(|own| own == name))
    };
    let mut out = std::io::stdout().lock();
    if csv {
        let mut rates: Vec<&Rate> = book.rates().filter(|rate| wanted(&rate.platform, Some(&rate.model))).collect();
        rates.sort_by(|a, b| a.row_id.cmp(&b.row_id));
        return Ok(out.write_all(write_csv(rates).as_bytes())?);
    }
    serde_json::to_writer_pretty(&mut out, &book.json(&wanted))?;
    Ok(writeln!(out)?)
}
