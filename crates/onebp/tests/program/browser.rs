//! Reports in a real browser: they load without errors and without fetching anything, every figure has marks, no text lies
//! on another or is cut off, and nothing sticks out of the page.

use super::{Place, experiments::lab, real_data::data};
use std::{path::Path, process::Command};

/// Puts what it finds wrong into the page.
const CHECK: &str = include_str!("browser_check.js");

/// A browser, if there is one.
fn browser() -> Option<&'static str> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = names.into_iter().find(|name| Command::new(name).arg("--version").output().is_ok());
    if found.is_none() {
        assert!(std::env::var_os("ONEBP_REQUIRE_BROWSER").is_none(), "none of {names:?} is installed");
        println!("skipped: none of {names:?} is installed");
    }
    found
}

/// What is wrong with the page, a line each.
fn wrong(browser: &str, page: &Path, width: u32) -> Vec<String> {
    let html = std::fs::read_to_string(page).unwrap();
    let checked = page.with_file_name("checked.html");
    // Errors are listened for before anything else, and the check comes last.
    let listening = "<script>window.problems = []; onerror = (what) => { problems.push(String(what)); };</script>";
    let (head, body) = html.split_at(html.find('>').unwrap() + 1);
    let body = body.replace("</body>", &format!("<script>{CHECK}</script></body>"));
    std::fs::write(&checked, format!("{head}{listening}{body}")).unwrap();
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new(browser)
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom"])
        .arg(format!("--window-size={width},1000"))
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("file://{}", checked.display()))
        .output()
        .unwrap();
    let dom = String::from_utf8(output.stdout).unwrap();
    let verdict = dom.rsplit_once("id=\"verdict\">").and_then(|(_, rest)| rest.split_once("</pre>"));
    let (verdict, _) =
        verdict.unwrap_or_else(|| panic!("the page did not load: {}", String::from_utf8_lossy(&output.stderr)));
    verdict.lines().filter(|line| !line.is_empty() && *line != "fine").map(str::to_string).collect()
}

#[test]
fn reports_are_sound_in_a_browser() {
    let Some(browser) = browser() else { return };
    let place = lab();
    place.ok("experiment run --device ndarray --threads 2 --jobs 2");
    place.ok("experiment report --out out");
    place.ok("train --data ./ratings.csv --dim 8 --epochs 4 --batch-size 64 --device ndarray --out runs/a");
    place.ok("report runs/a");
    for page in ["out/report.html", "runs/a/report.html"] {
        for width in [1280, 500] {
            assert_eq!(wrong(browser, &place.path().join(page), width), Vec::<String>::new(), "{page}, {width} wide");
        }
    }
}

/// The check itself finds what it is for.
#[test]
fn unsound_pages_are_found() {
    let Some(browser) = browser() else { return };
    let place = Place::new();
    let page = place.file(
        "page.html",
        "<!doctype html><body><svg viewBox=\"0 0 100 100\" width=\"200\"><text x=\"10\" y=\"50\">one</text><text x=\"12\" \
         y=\"51\">two</text><text x=\"90\" y=\"20\">sticks out</text></svg><div style=\"width: 3000px\">wide</div>\
         <img src=\"nowhere.png\"><script>missing()</script></body>",
    );
    let found = wrong(browser, &page, 800).join("\n");
    for text in [
        "`one` lies on `two`",
        "`sticks out` sticks out",
        "has no marks",
        "wider than the window",
        "nowhere.png",
        "missing",
    ] {
        assert!(found.contains(text), "{text}: {found}");
    }
}

/// Every view, on ML-100k: the paper's experiments with a few epochs each.
#[test]
fn every_view_is_sound_in_a_browser() {
    let (Some(data), Some(browser)) = (data("ml-100k/split-authors"), browser()) else { return };
    let place = Place::new();
    let experiments = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments");
    let names =
        ["table-1", "table-3", "table-4", "table-5", "figure-4", "figure-5-beta", "figure-6", "figure-7", "figure-8"];
    for name in names.into_iter().chain(["beyond", "curves"]) {
        let text = std::fs::read_to_string(experiments.join(format!("{name}.toml"))).unwrap();
        let shorter = |text: String, long: &str| text.replace(&format!("epochs = {long}"), "epochs = 4");
        let text =
            ["2000", "600", "300", "200"].into_iter().fold(text, shorter).replace("eval-every = 5", "eval-every = 2");
        place.file(&format!("experiments/{name}.toml"), text);
    }
    for entry in std::fs::read_dir(experiments.join("paper")).unwrap() {
        let path = entry.unwrap().path();
        place.file(
            &format!("experiments/paper/{}", path.file_name().unwrap().to_str().unwrap()),
            std::fs::read(&path).unwrap(),
        );
    }
    let data = data.ancestors().nth(2).unwrap().display();
    place.ok(&format!("experiment run --profile quick --device ndarray --threads 2 --jobs 2 --data-directory {data}"));
    place.ok("experiment report --profile quick --out out");
    let report = place.read("out/report.html");
    assert!(report.matches("<svg").count() >= 12, "{}", report.matches("<svg").count());
    assert!(!report.contains("Missing: "));
    for width in [1280, 500] {
        assert_eq!(wrong(browser, &place.path().join("out/report.html"), width), Vec::<String>::new(), "{width} wide");
    }
}
