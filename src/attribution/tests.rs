use std::collections::BTreeMap;

use proptest::prelude::*;
use rust_decimal::Decimal;

use super::*;
use crate::model::{Call, Timestamp};

fn tags(pairs: &[(&str, &str)]) -> crate::model::Tags {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn rules(text: &str) -> Attribution {
    let read = read_rules("rules.toml", text).unwrap();
    Attribution::default().with_rules(assemble_rules(vec![read]).unwrap().rules)
}

#[test]
fn tags_fill_gaps_and_replace_nothing() {
    let tags = tags(&[("team", "search"), ("env", "prod")]);
    let mut call = Call { team: Some("own".into()), tags, ..Call::default() };
    Attribution::default().attribute(&mut call);
    assert_eq!(call.team.as_deref(), Some("own"));
    assert_eq!(call.environment.as_deref(), Some("prod"));
}

#[test]
fn a_role_inside_an_arn_names_its_team() {
    let rules = Attribution::new([("search-role".to_owned(), "search".to_owned())].into());
    let arn = "arn:aws:sts::1:assumed-role/search-role/session".to_owned();
    let mut call = Call { principal: Some(arn), ..Call::default() };
    rules.attribute(&mut call);
    assert_eq!(call.team.as_deref(), Some("search"));
}

const RULES: &str = r#"
[[rule]]
rule_id = "batch"
when = { service = "batch-*" }
set = { feature = "batch" }

[[rule]]
rule_id = "search"
when = { principal = ["search-*", "find-*"], "tag.env" = "prod" }
set = { team = "search", cost_center = "4711" }
valid_from = 2026-01-01
valid_to = 2026-07-01

[[rule]]
rule_id = "header"
when.header.x-team = "*"
set = { team = "{header.x-team}", feature = "{tag.feature}" }

[[rule]]
rule_id = "all"
set = { team = "rest" }
"#;

#[test]
fn the_first_rule_that_holds_decides_each_field() {
    let rules = rules(RULES);
    let at = |text| Timestamp::parse(text).unwrap();
    let call = Call {
        ts: at("2026-06-30T23:59:59Z"),
        principal: Some("arn:aws:sts::1:assumed-role/find-web/s".into()),
        service: Some("batch-1".into()),
        team: Some("claimed".into()),
        tags: tags(&[("env", "prod"), ("http.request.header.x-team", "chat")]),
        ..Call::default()
    };
    let decided = |call: &Call| {
        let mut done = call.clone();
        rules.attribute(&mut done);
        let tested = rules.test(call);
        let told: Vec<_> = tested.decisions.iter().map(|decision| decision.value.clone()).collect();
        assert_eq!(told, Field::ALL.map(|field| field.of(&done).cloned()));
        (done, tested)
    };
    let (done, tested) = decided(&call);
    assert_eq!((done.team.as_deref(), done.feature.as_deref()), (Some("search"), Some("batch")));
    assert_eq!((done.cost_center.as_deref(), done.environment.as_deref()), (Some("4711"), Some("prod")));
    assert_eq!(tested.decisions[0].by, DecidedBy::Rule(1));
    assert_eq!(tested.decisions[0].instead_of.as_deref(), Some("claimed"));
    assert_eq!(tested.decisions[3].by, DecidedBy::Tag("env"));
    assert_eq!(tested.misses, vec![None; 4]);

    // From the first instant after it, the rule is over.
    let later = Call { ts: at("2026-07-01T00:00:00Z"), ..call.clone() };
    let (done, tested) = decided(&later);
    assert_eq!((done.team.as_deref(), done.cost_center), (Some("chat"), None));
    assert_eq!(tested.misses[1], Some(Miss::Time));
    assert_eq!(tested.decisions[2].by, DecidedBy::Nobody);

    // Whoever assumes a role names the session, so that says nothing.
    let session = "arn:aws:sts::1:assumed-role/web/search-1";
    let posing = Call { principal: Some(session.into()), tags: tags(&[("env", "prod")]), ..call.clone() };
    assert_eq!(decided(&posing).0.cost_center, None);

    let other = Call { principal: Some("reports".into()), tags: tags(&[]), ..call };
    let (done, tested) = decided(&other);
    assert_eq!(done.team.as_deref(), Some("rest"));
    let miss = Miss::When { subject: Subject::Principal, said: Some("reports".into()) };
    assert_eq!(tested.misses[1], Some(miss));
}

#[test]
fn the_version_is_what_the_rules_say_and_their_order() {
    let version = |text: &str| rules(text).version();
    let spaced = RULES.replace("\n\n", "\n\n# a comment\n");
    assert_eq!(version(RULES), version(&spaced));
    assert_ne!(version(RULES), version(&RULES.replace("4711", "4712")));
    let (first, rest) = RULES.split_once("\n\n").unwrap();
    assert_ne!(version(RULES), version(&format!("{rest}\n\n{first}")));
}

#[test]
fn every_mistake_is_told_with_its_line() {
    let text = r#"
[[rule]]
rule_id = "a"
when = { principle = "x" }
set = { team = "{tagg.x}" }
[[rule]]
when.service = "x"
set = { colour = "red" }
[[split]]
split_id = "s"
field = "team"
of = "shared"
shares = { a = 60, b = "30,5" }
[[split]]
split_id = "t"
field = "team"
of = "shared"
shares = { a = 60, b = 30 }
[[spilt]]
x = 1
"#;
    let problems: Vec<String> = read_rules("r.toml", text).unwrap_err().iter().map(ToString::to_string).collect();
    let expected = [
        (4, "did you mean 'principal'"),
        (5, "a call has no 'tagg.x'"),
        (6, "'rule_id' is missing"),
        (8, "a rule can't set 'colour'"),
        (13, "write 30.5"),
        (18, "the shares are 90 per cent together"),
        (19, "did you mean 'split'"),
    ];
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    for (problem, (line, text)) in problems.iter().zip(expected) {
        assert!(problem.starts_with(&format!("r.toml:{line}: ")) && problem.contains(text), "{problem}");
    }
    let twice = read_rules("r.csv", "rule_id,when.service,set.team\na,x,t\na,y,u\nb,x,u\n").unwrap();
    let problems: Vec<String> = assemble_rules(vec![twice]).unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(problems.len(), 2, "{problems:#?}");
    assert!(problems[0].starts_with("r.csv:3: the name 'a' is taken"), "{problems:#?}");
    assert!(problems[1].starts_with("r.csv:4: rule 'b' can decide nothing"), "{problems:#?}");
    let columns = read_rules("r.csv", "rule_id,set.team,teem\na,t,\n").unwrap_err();
    assert!(columns[0].to_string().starts_with("r.csv:1: there is no 'teem' here"), "{columns:?}");
}

#[test]
fn shared_cost_is_split_once_and_in_full() {
    let text = r#"
[[split]]
split_id = "platform"
field = "team"
of = "platform-*"
shares = { search = 60, chat = 40 }
[[split]]
split_id = "rest"
field = "team"
of = "(unattributed)"
by = "tokens"
"#;
    let rules = assemble_rules(vec![read_rules("r.toml", text).unwrap()]).unwrap().splits;
    let line = |cost: &str, tokens| Measures { cost: cost.parse().unwrap(), tokens, calls: 1 };
    let lines: BTreeMap<String, Measures> = [
        ("search".to_owned(), line("1.5", 300)),
        ("chat".to_owned(), line("0.5", 100)),
        ("platform-a".to_owned(), line("0.01", 5000)),
        (UNATTRIBUTED.to_owned(), line("0.10", 7)),
    ]
    .into();
    let split = split_shared(&rules, Field::Team, Timestamp::default(), 2, &lines).unwrap();
    let parts: Vec<(&str, &str, String)> =
        split.iter().map(|line| (line.from.as_str(), line.to.as_str(), line.amount.to_string())).collect();
    let expected = [
        (UNATTRIBUTED, "chat", "0.03"),
        (UNATTRIBUTED, "search", "0.07"),
        ("platform-a", "chat", "0.00"),
        ("platform-a", "search", "0.01"),
    ];
    assert_eq!(parts, expected.map(|(from, to, amount)| (from, to, amount.to_owned())));
}

proptest! {
    #[test]
    fn a_split_is_the_whole(costs in prop::collection::vec(0_u64..1_000_000_000, 2..6), share in 0_u32..101) {
        let percent = [("a".to_owned(), share.into()), ("b".to_owned(), (100 - share).into())].into();
        let rule = SplitRule {
            split_id: "s".to_owned(),
            place: crate::sheet::Place::default(),
            field: Field::Team,
            of: crate::model::Pattern::new("shared*"),
            shares: Shares::Percent(percent),
            valid_from: None,
            valid_to: None,
        };
        let measures = |cost: &u64| Measures { cost: Decimal::new(i64::try_from(*cost).unwrap(), 12), ..Measures::default() };
        let lines: BTreeMap<String, Measures> =
            costs.iter().enumerate().map(|(n, cost)| (format!("shared{n}"), measures(cost))).collect();
        let parts = split_shared(&[rule], Field::Team, Timestamp::default(), 12, &lines).unwrap();
        let whole: Decimal = lines.values().map(|line| line.cost).sum();
        prop_assert_eq!(parts.iter().map(|part| part.amount).sum::<Decimal>(), whole);
        prop_assert!(parts.iter().all(|part| part.amount >= Decimal::ZERO));
    }
}
