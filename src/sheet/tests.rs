use super::{Fields, Problem, read_csv, read_toml};

fn told(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn both_forms_keep_text_and_line() {
    let toml = "currency = 'USD'\n\n[[price]]\nmodel = 'a'\namount = 2.50\nday = 2026-04-01\nn = 1_000\n[[price]]\nwhen = { tag = { team = ['x', 'y'] } }\n";
    let sheet = read_toml("p.toml", toml).unwrap();
    let rows = &sheet.tables["price"];
    let text = |row: usize, name: &str| rows[row].cells[name].texts.join("|");
    assert_eq!(
        (text(0, "amount"), text(0, "day"), text(1, "when.tag.team")),
        ("2.50".into(), "2026-04-01".into(), "x|y".into())
    );
    assert_eq!((rows[0].line, rows[0].cells["amount"].line, rows[1].line), (3, 5, 8));
    assert_eq!(sheet.top.cells["currency"].texts, ["USD"]);

    for text in ["Model,Amount\n# why\n\na,\"2.50\"\n", "\u{feff}model;amount\r\n\r\n\r\na;2.50\r\n"] {
        let sheet = read_csv("p.csv", text).unwrap();
        let row = &sheet.tables[""][0];
        assert_eq!((row.line, row.cells["amount"].texts.join("|").as_str()), (4, "2.50"), "{text:?}");
    }
}

#[test]
fn says_what_is_no_toml_or_csv() {
    let toml = read_toml("p.toml", "[[price]]\namount = 2,50\n[other]\nx = 1\n").unwrap_err();
    assert!(told(&toml)[0].starts_with("p.toml:2: "), "{toml:?}");
    assert!(told(&toml)[0].ends_with("write 2.50: decimals have a point"), "{toml:?}");
    let table = read_toml("p.toml", "\n[price]\nx = 1\n").unwrap_err();
    assert_eq!(
        told(&table),
        ["p.toml:2: [price] is one table, not a list of them; write [[price]] with two brackets, once for each"]
    );
    let csv = read_csv("p.csv", "a,a,\n1,2,50,3\n1,2\n").unwrap_err();
    let expected = ["column 'a'", "column 3", "if 1,2 is one number", "give every column"];
    assert_eq!(csv.len(), 4, "{csv:?}");
    for (problem, expected) in told(&csv).iter().zip(expected) {
        assert!(problem.contains(expected), "{problem}");
    }
    assert_eq!(read_csv("p.csv", "").unwrap_err().len(), 1);
}

#[test]
fn numbers_and_dates_are_read_as_written_or_told() {
    let csv = "n\n2.50\n\"2,50\"\n\"1.234,5\"\n2.5e-6\n$3\n-1\nx\n0\n";
    let sheet = read_csv("n.csv", csv).unwrap();
    let mut problems = Vec::new();
    let read: Vec<_> = sheet.tables[""]
        .iter()
        .map(|row| Fields::new("n.csv", row, None, &mut problems).decimal("n").map(|n| n.to_string()))
        .collect();
    assert_eq!(read[0].as_deref(), Some("2.50"));
    assert_eq!(read.iter().flatten().count(), 2);
    let expected = ["write 2.50", "write 1234.5", "write it out: 0.0000025", "write 3;", "is negative", "is no number"];
    for (problem, expected) in told(&problems).iter().zip(expected) {
        assert!(problem.contains(expected), "{problem}");
    }
    assert_eq!(problems.iter().map(|problem| problem.line).collect::<Vec<_>>(), [3, 4, 5, 6, 7, 8]);

    let sheet =
        read_csv("d.csv", "valid_from,valid_to\n2026-04-01,2026-04-01\n1.4.2026,\n2026-04-01T02:00:00+02:00,\n")
            .unwrap();
    let mut problems = Vec::new();
    let read: Vec<_> =
        sheet.tables[""].iter().map(|row| Fields::new("d.csv", row, None, &mut problems).validity()).collect();
    assert_eq!(read[2].0, read[0].0);
    assert_eq!(problems.iter().map(|problem| problem.line).collect::<Vec<_>>(), [2, 3]);
}
