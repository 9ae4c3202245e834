//! Reports of closed months are kept as they were made first: what was handed out once is handed out again, byte by byte,
//! by whatever version of the program.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{PeriodError, Periods};
use crate::finance::period::Closed;
use crate::sheet::sha256;

/// What is known of a report that was made of a closed month.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptReport {
    /// What was asked.
    pub question: String,
    /// SHA-256 of the bytes, lower-case hex.
    pub sha256: String,
    /// Version of the program that made it.
    pub polymeter: String,
}

/// What a look at a closed month found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Files of rows and texts that are as they were.
    pub files: usize,
    /// Reports that are as they were.
    pub reports: usize,
    /// What is not.
    pub damaged: Vec<String>,
}

impl Periods {
    /// A report of a closed month: the bytes that were kept, or those that are made now and kept from now on.
    ///
    /// # Errors
    /// What was kept is damaged, or the report can't be made.
    pub async fn kept(
        &self,
        closed: &Closed,
        question: &str,
        form: &str,
        make: impl Future<Output = Result<Vec<u8>, PeriodError>>,
    ) -> Result<Vec<u8>, PeriodError> {
        let (name, about) = names(closed, question, form);
        if let Some(bytes) = self.kept_bytes(&name, &about).await? {
            return Ok(bytes);
        }
        let bytes = make.await?;
        if !self.keeps {
            return Ok(bytes);
        }
        // Whoever makes it first says what it is: the bytes come before what is said of them.
        self.store.create(&name, bytes).await?;
        let bytes = self.store.read(&name).await?.ok_or_else(|| gone(&name))?.to_vec();
        let kept = KeptReport {
            question: question.to_owned(),
            sha256: sha256(&bytes),
            polymeter: env!("CARGO_PKG_VERSION").to_owned(),
        };
        self.store.create(&about, serde_json::to_vec_pretty(&kept).unwrap_or_default()).await?;
        Ok(bytes)
    }

    /// The bytes that were kept, if any were.
    pub(super) async fn kept_before(
        &self,
        closed: &Closed,
        question: &str,
        form: &str,
    ) -> Result<Option<Vec<u8>>, PeriodError> {
        let (name, about) = names(closed, question, form);
        self.kept_bytes(&name, &about).await
    }

    async fn kept_bytes(&self, name: &str, about: &str) -> Result<Option<Vec<u8>>, PeriodError> {
        let Some(told) = self.store.read(about).await? else { return Ok(None) };
        let damaged = |object: &str, detail: String| PeriodError::Damaged { object: object.to_owned(), detail };
        let told: KeptReport = serde_json::from_slice(&told).map_err(|error| damaged(about, error.to_string()))?;
        let bytes = self.store.read(name).await?.ok_or_else(|| gone(name))?.to_vec();
        if sha256(&bytes) != told.sha256 {
            return Err(damaged(name, "its SHA-256 is another than when it was made".to_owned()));
        }
        Ok(Some(bytes))
    }

    /// Refuses a copy that is not whole: a report of it would be of other data.
    pub(super) async fn whole(&self, closed: &Closed) -> Result<(), PeriodError> {
        let found: BTreeMap<String, u64> = self.store.below(&closed.folder).await?.into_iter().collect();
        match closed.files.iter().find(|file| found.get(&file.path) != Some(&file.bytes)) {
            None => Ok(()),
            Some(file) => {
                let detail = "it is not as it was when the month was closed".to_owned();
                Err(PeriodError::Damaged { object: format!("{}/{}", closed.folder, file.path), detail })
            }
        }
    }

    /// Looks at every file and report of a closed month.
    ///
    /// # Errors
    /// The store fails; what is damaged is in the verdict.
    pub async fn verify(&self, closed: &Closed) -> Result<Verdict, PeriodError> {
        let mut verdict = Verdict::default();
        for file in &closed.files {
            let name = format!("{}/{}", closed.folder, file.path);
            match self.store.read(&name).await? {
                Some(bytes) if sha256(&bytes) == file.sha256 => verdict.files += 1,
                Some(_) => {
                    verdict.damaged.push(format!("{name}: its SHA-256 is another than when the month was closed"))
                }
                None => verdict.damaged.push(format!("{name}: it is not there")),
            }
        }
        for (path, _) in self.store.below(&format!("{}/reports", closed.folder)).await? {
            let about = format!("{}/reports/{path}", closed.folder);
            let Some(name) =
                about.strip_suffix(".json").filter(|name| name.rsplit('/').next().is_some_and(|n| n.contains('.')))
            else {
                continue;
            };
            match self.kept_bytes(name, &about).await {
                Ok(_) => verdict.reports += 1,
                Err(PeriodError::Damaged { object, detail }) => verdict.damaged.push(format!("{object}: {detail}")),
                Err(error) => return Err(error),
            }
        }
        Ok(verdict)
    }
}

/// Where a report is kept, and what is said of it.
fn names(closed: &Closed, question: &str, form: &str) -> (String, String) {
    let question = sha256(question.as_bytes());
    let name = format!("{}/reports/{}.{form}", closed.folder, question.get(..16).unwrap_or_default());
    let about = format!("{name}.json");
    (name, about)
}

fn gone(name: &str) -> PeriodError {
    PeriodError::Damaged { object: name.to_owned(), detail: "it is not there".to_owned() }
}
