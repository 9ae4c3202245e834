//! `polymeter prices update`: rows of a public catalogue, appended to a file that finance can see. Nothing of it holds over a
//! row of the operator's own, nothing is changed in place, and nothing is read from the network unless it is named.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};

use super::compiled;
use crate::app::ask::agreed;
use crate::app::whole_files::write_whole;
use crate::app::{StoreOptions, rules};
use crate::catalog::{Catalog, ModelQuery};
use crate::clock::{Clock, SystemClock};
use crate::config::{Recorded, RuleText};
use crate::finance::grid::plain;
use crate::model::HOUR_US;
use crate::pricing::{Imported, Layer, NamedModel, PriceBook, Rate, import_catalogue, new_rows, one_line, write_csv};
use crate::sheet::content_hash;

/// Longest wait for a catalogue.
const DOWNLOAD: Duration = Duration::from_secs(60);
/// The largest catalogue; today's have 3 MB.
const MOST_BYTES: usize = 64 << 20;
/// So many lines of a kind are shown; more are counted.
const SHOWN: usize = 200;

/// What to import.
#[derive(Clone, Debug)]
pub struct PriceUpdate {
    /// File or URL of a catalogue; without one nothing is read.
    pub from: Option<String>,
    /// File that the rows are appended to.
    pub into: PathBuf,
    /// Only these platforms; all without any.
    pub platforms: Vec<String>,
    /// Do not ask.
    pub yes: bool,
    /// Only show what would be appended.
    pub dry_run: bool,
}

/// Appends what a catalogue knows and the price book does not.
///
/// # Errors
/// The catalogue or a price file can't be read, the rows contradict others, or nobody agreed.
pub async fn prices_update(options: StoreOptions, update: PriceUpdate) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let Some(from) = &update.from else {
        return Ok(out.write_all(bundled_told()?.as_bytes())?);
    };
    let now = SystemClock.now();
    let (text, name) = fetched(from).await?;
    let version = content_hash(std::slice::from_ref(&text));
    let version = version.get(..12).unwrap_or(&version);
    let catalog = Catalog::bundled().context("the bundled model catalogue is damaged")?;
    let source = format!("{} sha256:{version}", plain(&name));
    let today = now.floor(24 * HOUR_US);
    let names = |platform: &str, spelling: &str| named(&catalog, platform, spelling);
    let (kind, mut imported) = import_catalogue(&text, &names, &source, today, now).with_context(|| plain(from))?;
    if !update.platforms.is_empty() {
        let wanted: BTreeSet<String> =
            update.platforms.iter().filter_map(|name| crate::model::platform::canonical(name)).collect();
        imported.rates.retain(|rate| wanted.contains(&rate.platform));
    }
    let Imported { rates, notes } = imported;
    let read = rates.len();

    let others = others(&options, &update.into).await?;
    let before = match std::fs::read_to_string(&update.into) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).with_context(|| format!("{} can't be read", update.into.display())),
    };
    let own_file = |text: &str| RuleText { name: update.into.display().to_string(), text: text.to_owned() };
    let with = |text: Option<&str>| -> Vec<RuleText> { others.iter().cloned().chain(text.map(own_file)).collect() };
    let recorded = Recorded { now, unplaced: true, ..Recorded::default() };
    // Rows of the operator's own are all those that no import wrote.
    let by_hand = compiled(&others, None, &recorded)?.prices.book;
    let book = compiled(&with(before.as_deref()), None, &recorded)?.prices.book;
    let own: Vec<Rate> = by_hand.rates().filter(|rate| rate.layer == Layer::Operator).cloned().collect();
    let found = new_rows(&book, &own, rates, today);

    writeln!(
        out,
        "{} from {}: {read} price(s) of known platforms and models, {} the same as those that hold, {} new",
        kind.as_str(),
        plain(&name),
        found.same,
        found.added.len()
    )?;
    let listed: Vec<String> =
        found.kept_back.iter().map(|(new, own)| format!("{}; yours stays: {}", one_line(new), one_line(own))).collect();
    tell(&mut out, "price(s) differ from rows of your own and are not taken", &listed)?;
    tell(&mut out, "entries were left out", &notes)?;
    if found.added.is_empty() {
        return Ok(writeln!(out, "nothing to append")?);
    }
    let after = appended(before.as_deref(), &found.added)?;
    // Checked with everything beside it before anything is written.
    compiled(&with(Some(&after)), None, &recorded)?;
    let line = |(new, before): (&Rate, &Option<Rate>)| {
        let before = before.as_ref().map(|old| format!("; before: {}", one_line(old))).unwrap_or_default();
        format!("{}{before}", one_line(new))
    };
    let added: Vec<String> = found.added.iter().zip(&found.before).map(line).collect();
    tell(&mut out, "added", &added)?;
    if update.dry_run {
        return Ok(writeln!(out, "nothing was written (--dry-run)")?);
    }
    let file = update.into.display();
    if !update.yes && !agreed(&format!("Append {} row(s) to {file}?", found.added.len()))? {
        bail!("nothing was written; say --yes to append them");
    }
    write_whole(&[(&update.into, after.as_bytes())])?;
    writeln!(out, "{} row(s) were appended to {file}", found.added.len())?;
    writeln!(
        out,
        "they hold once {file} is among the `files` of [prices] and the next command settles with that configuration; calls of \
         the past keep their price until `polymeter resettle`"
    )?;
    Ok(())
}

/// What there is without any import, and what an import would need.
fn bundled_told() -> anyhow::Result<String> {
    let book = PriceBook::bundled().context("the bundled list is damaged")?;
    let sources: BTreeSet<&str> = book.rates().map(|rate| rate.source.as_str()).collect();
    let latest = book.rates().map(|rate| rate.recorded_at).max().unwrap_or_default();
    let version = book.version();
    let mut text = format!(
        "the bundled list holds {} prices of {}, imported on {}, version {}\n",
        book.len(),
        sources.into_iter().collect::<Vec<_>>().join(" and "),
        latest.to_string().get(..10).unwrap_or_default(),
        version.get(..12).unwrap_or(&version)
    );
    let _ = writeln!(
        text,
        "nothing is fetched by itself: give --from with a file or URL of the price data of genai-prices (data.json) or of \
         LiteLLM (model_prices_and_context_window.json), and --into with the file to append to"
    );
    Ok(text)
}

/// The text of a catalogue and the name that it goes by: without what a URL may hold as a secret.
async fn fetched(from: &str) -> anyhow::Result<(String, String)> {
    let bytes = if from.starts_with("http://") || from.starts_with("https://") {
        let client = reqwest::Client::builder().timeout(DOWNLOAD).build()?;
        let failed = "the catalogue can't be fetched";
        let mut answer = client.get(from).send().await.map_err(reqwest::Error::without_url).context(failed)?;
        if !answer.status().is_success() {
            bail!("{failed}: the answer was {}", answer.status().as_u16());
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(reqwest::Error::without_url).context(failed)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MOST_BYTES {
                bail!("{failed}: it is larger than {MOST_BYTES} bytes");
            }
        }
        bytes
    } else {
        std::fs::read(from).with_context(|| format!("{from} can't be read"))?
    };
    let text = String::from_utf8(bytes).with_context(|| format!("{} is not UTF-8", plain(from)))?;
    let path = from.split(['?', '#']).next().unwrap_or(from);
    Ok((text, path.rsplit('/').next().unwrap_or(path).to_owned()))
}

fn named(catalog: &Catalog, platform: &str, spelling: &str) -> NamedModel {
    let identity = catalog.resolve(&ModelQuery {
        platform: Some(platform),
        request_model: Some(spelling),
        // A version beside it says that the name is a model, not somebody's deployment.
        model_version: Some("").filter(|_| platform.starts_with("azure")),
        ..ModelQuery::default()
    });
    NamedModel {
        publisher: identity.publisher,
        model: identity.model,
        snapshot: identity.snapshot.filter(|snapshot| !snapshot.is_empty()),
        scope: identity.scope.map(str::to_owned),
        geo: identity.geo,
        tier: identity.tier.map(str::to_owned),
    }
}

/// The price files in force without the one that is appended to.
async fn others(options: &StoreOptions, into: &Path) -> anyhow::Result<Vec<RuleText>> {
    let texts = match &options.said.prices {
        Some(texts) => texts.clone(),
        None => rules::anywhere(options).await?.version.prices,
    };
    // By name alone another file of the operator could be taken for it, and lose its precedence.
    let own = std::fs::read_to_string(into).ok();
    let same =
        |text: &RuleText| Path::new(&text.name).file_name() == into.file_name() && Some(&text.text) == own.as_ref();
    Ok(texts.into_iter().filter(|text| !same(text)).collect())
}

/// The file with rows behind those that it has; these stay as they are, byte for byte.
fn appended(before: Option<&str>, added: &[Rate]) -> anyhow::Result<String> {
    let written = write_csv(added);
    let Some(before) = before.filter(|text| !text.trim().is_empty()) else { return Ok(written) };
    let (header, rows) = written.split_once('\n').unwrap_or_default();
    let first = before.lines().next().unwrap_or_default();
    if first.trim_end_matches('\r') != header {
        bail!("the file to append to has other columns than imports write; give a new file with --into");
    }
    let line = if before.ends_with('\n') { "" } else { "\n" };
    Ok(format!("{before}{line}{rows}"))
}

fn tell(out: &mut impl Write, title: &str, lines: &[String]) -> anyhow::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(out, "{} {title}:", lines.len())?;
    for line in lines.iter().take(SHOWN) {
        writeln!(out, "  {}", plain(line))?;
    }
    if lines.len() > SHOWN {
        writeln!(out, "  and {} more", lines.len() - SHOWN)?;
    }
    Ok(())
}
