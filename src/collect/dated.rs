//! Folders by the hour, `2026/11/21/14/` or `y=2026/m=11/d=21/h=14/`: found once in a while, so that a look at what is
//! new lists a few hours and not everything that was ever written.

use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;

use super::{ObjectEntry, Objects, ObjectsError};
use crate::model::{HOUR_US, Timestamp};

/// Folders that are looked into for dated ones at most; where there are more, everything is listed.
const MAX_FOLDERS: usize = 5_000;
/// Folders above the dated ones at most.
const MAX_DEPTH: usize = 24;
/// Folders that are listed at once.
const AT_ONCE: usize = 8;
/// Writers' clocks may run ahead by this.
const AHEAD_US: i64 = 2 * HOUR_US;

/// A folder whose content lies in folders by year, month, day and hour.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dated {
    root: Path,
    style: Style,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Style {
    /// `2026/11/21/14`
    Plain,
    /// `y=2026/m=11/d=21/h=14`
    Keyed,
}

impl Style {
    fn of_year(name: &str) -> Option<Self> {
        let year = |text: &str| text.len() == 4 && text.starts_with("20") && text.bytes().all(|b| b.is_ascii_digit());
        match name.strip_prefix("y=") {
            Some(rest) => year(rest).then_some(Self::Keyed),
            None => year(name).then_some(Self::Plain),
        }
    }
}

impl Dated {
    fn of(folder: &Path, children: &[Path]) -> Option<Self> {
        let style = children.iter().filter_map(Path::filename).find_map(Style::of_year)?;
        Some(Self { root: folder.clone(), style })
    }

    /// The folder itself.
    #[must_use]
    pub const fn root(&self) -> &Path {
        &self.root
    }

    /// Its folder of a day.
    #[must_use]
    pub fn day(&self, at: Timestamp) -> Path {
        let day = at.day();
        let form = match self.style {
            Style::Plain => day.format("%Y/%m/%d"),
            Style::Keyed => day.format("y=%Y/m=%m/d=%d"),
        };
        form.to_string().split('/').fold(self.root.clone(), |path, part| path.join(part))
    }

    /// Its folder of an hour.
    #[must_use]
    pub fn hour(&self, at: Timestamp) -> Path {
        let hour = at.0.div_euclid(HOUR_US).rem_euclid(24);
        match self.style {
            Style::Plain => self.day(at).join(format!("{hour:02}")),
            Style::Keyed => self.day(at).join(format!("h={hour:02}")),
        }
    }

    /// Its folders of the days from `from` to `to`.
    #[must_use]
    pub fn days(&self, from: Timestamp, to: Timestamp) -> Vec<Path> {
        const DAY_US: i64 = 24 * HOUR_US;
        let (first, last) = (from.0.div_euclid(DAY_US), to.0.div_euclid(DAY_US));
        (first..=last).map(|day| self.day(Timestamp(day.saturating_mul(DAY_US)))).collect()
    }

    /// The objects in the folders from the hour of `from` on: one listing where the store can begin at a key, one a day
    /// elsewhere.
    ///
    /// # Errors
    /// The store can't be listed.
    pub async fn since(
        &self,
        objects: &Objects,
        from: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<ObjectEntry>, ObjectsError> {
        if objects.lists_from_key() {
            return objects.after(&self.root, Some(&self.hour(from))).await;
        }
        let mut entries = Vec::new();
        for day in self.days(from, now.plus(AHEAD_US)) {
            entries.extend(objects.after(&day, None).await?);
        }
        Ok(entries)
    }
}

/// What a location is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Folders by the hour.
    pub dated: Vec<Dated>,
    /// Objects that lie outside of them.
    pub loose: Vec<ObjectEntry>,
}

/// Finds the dated folders below a location; `None` where there are too many other folders to look into.
///
/// # Errors
/// The store can't be listed.
pub async fn discover(objects: &Objects) -> Result<Option<Layout>, ObjectsError> {
    let (mut layout, mut folders, mut looked) = (Layout::default(), vec![objects.prefix().clone()], 0);
    for _ in 0..MAX_DEPTH {
        looked += folders.len();
        if looked > MAX_FOLDERS {
            return Ok(None);
        }
        let listed: Vec<_> = stream::iter(std::mem::take(&mut folders))
            .map(|folder| async move {
                let (loose, children) = objects.folder(&folder).await?;
                Ok::<_, ObjectsError>((folder, loose, children))
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        for (folder, loose, children) in listed {
            layout.loose.extend(loose);
            let dated = Dated::of(&folder, &children);
            let year = |child: &Path| child.filename().and_then(Style::of_year).is_some();
            folders.extend(children.into_iter().filter(|child| !year(child)));
            layout.dated.extend(dated);
        }
        if folders.is_empty() {
            layout.dated.sort();
            return Ok(Some(layout));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn names_folders_of_both_styles() {
        let root = Path::from("AWSLogs/1111/BedrockModelInvocationLogs/us-east-1");
        let plain = Dated::of(&root, &[root.clone().join("amazon"), root.clone().join("2026")]).unwrap();
        assert_eq!(plain.hour(at("2026-01-02T03:59:59Z")), root.clone().join("2026").join("01").join("02").join("03"));
        let keyed = Dated::of(&root, &[root.clone().join("y=2026")]).unwrap();
        assert!(keyed.hour(at("2026-12-31T23:00:00Z")).as_ref().ends_with("/y=2026/m=12/d=31/h=23"));
        let days = keyed.days(at("2025-12-30T23:00:00Z"), at("2026-01-01T00:00:00Z"));
        assert_eq!(days.len(), 3);
        assert!(days[2].as_ref().ends_with("y=2026/m=01/d=01"));
        for other in ["123456789012", "y=26", "1999", "20x6", "us-east-1"] {
            assert_eq!(Dated::of(&root, &[root.clone().join(other)]), None, "{other}");
        }
    }

    #[tokio::test]
    async fn finds_dated_folders_and_what_lies_beside_them() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "{}\n").unwrap();
        };
        file("AWSLogs/111111111111/BedrockModelInvocationLogs/us-east-1/2026/11/20/23/old.json.gz");
        file("AWSLogs/111111111111/BedrockModelInvocationLogs/us-east-1/2026/11/21/10/new.json.gz");
        file("AWSLogs/222222222222/BedrockModelInvocationLogs/eu-west-1/2026/11/21/11/other.json.gz");
        file("by-hand.json");
        let objects = Objects::open(dir.path().to_str().unwrap()).await.unwrap();
        let layout = discover(&objects).await.unwrap().unwrap();
        assert_eq!((layout.dated.len(), layout.loose.len()), (2, 1));
        let now = at("2026-11-21T11:30:00Z");
        let found = layout.dated[0].since(&objects, at("2026-11-21T09:30:00Z"), now).await.unwrap();
        let names: Vec<_> = found.iter().filter_map(|entry| entry.path.filename()).collect();
        assert_eq!(names, ["new.json.gz"]);
    }
}
