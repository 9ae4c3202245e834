//! The board: its files are served as a browser needs them, are whole, and send nobody anywhere else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::harness::{Place, files_below};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/serve/board")
}

/// Names of the files that a browser loads, as they lie in the sources.
fn names() -> BTreeSet<String> {
    let all = files_below(&folder()).into_iter();
    let names =
        all.map(|path| path.strip_prefix(folder()).expect("below the folder").to_str().expect("text").to_owned());
    // The code around them, and what the vendored editor is made of.
    names.filter(|name| !name.ends_with(".rs") && !name.ends_with(".md") && name != "vendor/editor.entry.js").collect()
}

fn text(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).expect("a readable file")
}

fn between<'a>(text: &'a str, start: &str, end: char) -> Vec<&'a str> {
    text.split(start).skip(1).filter_map(|rest| rest.split_once(end).map(|(found, _)| found)).collect()
}

#[test]
fn the_page_is_served_with_a_strict_policy() {
    let place = Place::new();
    let server = place.serve();
    let page = server.get("/");
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    for never in ["unsafe", "*", "http:", "https:", "data:"] {
        assert!(!policy.contains(never), "{never} in {policy}");
    }
    assert_eq!((page.header("x-content-type-options"), page.header("set-cookie")), ("nosniff", ""));

    let kinds = [("html", "text/html"), ("js", "text/javascript"), ("css", "text/css"), ("svg", "image/svg+xml")];
    for name in names() {
        let file = server.get(&format!("/board/{name}"));
        assert_eq!((file.status, file.text() == text(&name)), (200, true), "{name}");
        assert_eq!(file.header("content-security-policy"), policy, "{name}");
        let end = name.rsplit_once('.').expect("an extension").1;
        let kind = kinds.iter().find(|(known, _)| *known == end).expect("a known kind").1;
        assert!(file.header("content-type").starts_with(kind), "{name}: {}", file.header("content-type"));
    }
    for nothing in
        ["/board/", "/board/mod.rs", "/board/../mod.rs", "/board/%2e%2e/router.rs", "/board/vendor/README.md"]
    {
        assert_eq!(server.get(nothing).status, 404, "{nothing}");
    }
}

#[test]
fn what_a_browser_has_is_not_sent_again() {
    let place = Place::new();
    let server = place.serve();
    for path in ["/", "/board/main.js"] {
        let tag = server.get(path).header("etag").to_owned();
        assert!(tag.len() > 2, "{path}: {tag}");
        let ask = |tag: &str| {
            let request = server.client().get(format!("{}{path}", server.http)).header("if-none-match", tag);
            server.ask(request).expect("an answer")
        };
        let again = ask(&tag);
        assert_eq!((again.status, again.body.len(), again.header("etag")), (304, 0, tag.as_str()), "{path}");
        assert_eq!(ask("\"other\"").status, 200, "{path}");
    }
    assert_ne!(server.get("/").header("etag"), server.get("/board/main.js").header("etag"));
}

#[test]
fn every_file_that_is_named_is_there() {
    let names = names();
    let page = text("index.html");
    for attribute in ["href=\"board/", "src=\"board/"] {
        for name in between(&page, attribute, '"') {
            assert!(names.contains(name), "index.html names {name}");
        }
    }
    for name in names.iter().filter(|name| name.ends_with(".js") && !name.starts_with("vendor/")) {
        let text = text(name);
        for import in between(&text, "from \"./", '"').into_iter().chain(between(&text, "import(\"./", '"')) {
            assert!(names.contains(import), "{name} imports {import}");
        }
    }
}

#[test]
fn nothing_is_loaded_from_elsewhere() {
    let mut bytes = 0;
    for name in names() {
        let text = text(&name);
        bytes += text.len();
        for scheme in ["http://", "https://"] {
            for rest in text.split(scheme).skip(1) {
                // A namespace is a name, and the address of the receiver is shown, not loaded.
                let known = ["www.w3.org/2000/svg", "${location.hostname}:${receiver}"];
                assert!(
                    known.iter().any(|known| rest.starts_with(known)),
                    "{name}: {scheme}{}",
                    rest.split('"').next().unwrap_or_default()
                );
            }
        }
        let inline = [" style=\"", "<style", "<script>", " onclick=\"", "javascript:", "eval(", "new Function"];
        let own = !name.starts_with("vendor/");
        assert!(!own || inline.iter().all(|inline| !text.contains(inline)), "{name} has what the policy forbids");
    }
    assert!(bytes < 1_000_000, "{bytes} bytes are embedded");
    println!("the board is {bytes} bytes");
}

#[test]
fn every_question_of_the_page_is_a_named_query() {
    let queries = Path::new(env!("CARGO_MANIFEST_DIR")).join("queries");
    let mut asked = BTreeSet::new();
    for name in names().iter().filter(|name| name.ends_with(".js") && !name.starts_with("vendor/")) {
        let text = text(name);
        for start in ["named(\"", "query: \""] {
            asked.extend(between(&text, start, '"').into_iter().map(str::to_owned));
        }
    }
    assert!(asked.contains("overview") && asked.len() > 10, "{asked:?}");
    for name in asked {
        assert!(queries.join(format!("{name}.sql")).exists(), "the board asks for {name}");
    }
}
