//! Tables in pages of the book that tests write; tests of other crates include this file, too.

/// The page with what stands between `<!-- table: NAME -->` and `<!-- end -->` written anew.
pub(crate) fn with_tables(page: &str, table: impl Fn(&str) -> String) -> String {
    let mut text = String::new();
    let mut inside = false;
    for line in page.lines() {
        inside &= line != "<!-- end -->";
        if !inside {
            text.push_str(line);
            text.push('\n');
        }
        let name = line.strip_prefix("<!-- table: ").and_then(|rest| rest.strip_suffix(" -->"));
        if let Some(name) = name {
            inside = true;
            text.push_str(&format!("\n{}\n", table(name)));
        }
    }
    assert!(!inside, "a table has no end");
    text
}
