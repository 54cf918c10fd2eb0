//! The program as a person starts it: whole runs in folders of their own, wrong input, and what survives a kill.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod bad_input;
mod browser;
mod experiments;
mod methods;
mod outputs;
mod real_data;
mod training;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tempfile::TempDir;

/// A folder of its own to run the program in.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file into the folder.
    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).unwrap()
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_onebp"));
        command.args(arguments.split_whitespace()).current_dir(self.path()).env_remove("ONEBP_DATA");
        command
    }

    fn run(&self, arguments: &str) -> Ended {
        Ended::of(self.command(arguments).output().unwrap())
    }

    /// Runs and expects success.
    fn ok(&self, arguments: &str) -> Ended {
        let ended = self.run(arguments);
        assert_eq!(ended.code, 0, "onebp {arguments}\n{}", ended.stderr);
        ended
    }
}

/// How a run of the program ended.
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Ended {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Interactions of 60 users in four groups with a taste of their own, as a CSV with a header.
fn small_csv() -> String {
    let mut text = String::from("user,item\n");
    for user in 0..60 {
        for k in 0..12 {
            text.push_str(&format!("u{user},i{}\n", (user % 4) * 15 + (user * 5 + k) % 15));
        }
    }
    text
}

/// `metrics.jsonl` without its timings, which no two runs share.
fn metric_lines(text: &str) -> Vec<serde_json::Value> {
    let strip = |line: &str| {
        let mut row: serde_json::Value = serde_json::from_str(line).unwrap();
        let fields = row.as_object_mut().unwrap();
        assert!(fields.remove("train_seconds").is_some() && fields.remove("eval_seconds").is_some());
        row
    };
    text.lines().map(strip).collect()
}
