//! The folders of the followed sources: files that appear whole, and files that grow, sometimes by half a line.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use super::call::SOURCES;
use super::rng::Rng;
use crate::harness::Place;
use crate::records::gzip;

/// Writes after which another file begins to grow.
const WRITES_OF_A_FILE: u32 = 25;

/// Writes log files.
pub struct Logs {
    folders: [Folder; 2],
    staging: PathBuf,
    files: u64,
    rng: Rng,
}

struct Folder {
    path: PathBuf,
    growing: PathBuf,
    writes: u32,
    /// The rest of a line that was cut.
    rest: Vec<u8>,
}

impl Logs {
    pub fn new(place: &Place, seed: u64) -> Self {
        let folders = SOURCES.map(|name| {
            let path = place.path(name);
            fs::create_dir_all(&path).unwrap();
            let growing = path.join("growing-0.json");
            Folder { path, growing, writes: 0, rest: Vec::new() }
        });
        let staging = place.path("staging");
        Self { folders, staging, files: 0, rng: Rng::new(seed, u64::MAX) }
    }

    /// Adds lines to the folder of a source.
    pub fn write(&mut self, source: usize, lines: &[String]) {
        let bytes: Vec<u8> = lines.iter().flat_map(|line| format!("{line}\n").into_bytes()).collect();
        self.files += 1;
        let name = |end: &str| format!("{:06}.{end}", self.files);
        match self.rng.below(4) {
            0 => self.place(source, &name("json"), &bytes),
            1 => self.place(source, &name("json.gz"), &gzip(&bytes)),
            _ => self.grow(source, bytes),
        }
    }

    /// Ends lines that are cut.
    pub fn finish(&mut self) {
        for folder in &mut self.folders {
            folder.append(Vec::new());
        }
    }

    /// A file that appears whole, as objects of a bucket do.
    fn place(&self, source: usize, name: &str, bytes: &[u8]) {
        fs::write(&self.staging, bytes).unwrap();
        fs::rename(&self.staging, self.folders[source].path.join(name)).unwrap();
    }

    fn grow(&mut self, source: usize, mut bytes: Vec<u8>) {
        // What is cut now is written with the next lines, after a crash or before.
        let cut = if self.rng.chance(30) { bytes.len() - 1 - self.rng.index(&bytes) / 2 } else { bytes.len() };
        let rest = bytes.split_off(cut);
        let files = self.files;
        let folder = &mut self.folders[source];
        folder.append(bytes);
        folder.rest = rest;
        folder.writes += 1;
        if folder.writes >= WRITES_OF_A_FILE && folder.rest.is_empty() {
            folder.writes = 0;
            folder.growing = folder.path.join(format!("growing-{files}.json"));
        }
    }
}

impl Folder {
    fn append(&mut self, bytes: Vec<u8>) {
        let mut all = std::mem::take(&mut self.rest);
        all.extend(bytes);
        if all.is_empty() {
            return;
        }
        let mut file = OpenOptions::new().create(true).append(true).open(&self.growing).unwrap();
        file.write_all(&all).unwrap();
    }
}
