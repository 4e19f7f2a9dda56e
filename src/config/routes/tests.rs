use proptest::prelude::*;

use super::*;

fn routes<const N: usize>(table: [(&str, &str); N]) -> Result<Routes, Error> {
    Routes::compile(table.map(|(pattern, class)| (pattern.to_owned(), class.to_owned())).into())
}

fn path(text: &str) -> ObjectPath {
    ObjectPath::parse(text).expect("a valid path")
}

fn class<'a>(routes: &'a Routes, text: &str) -> Option<&'a str> {
    routes.class_of(&path(text))
}

#[test]
fn without_routes_nothing_has_a_class() {
    assert_eq!(class(&Routes::default(), "/a"), None);
    assert_eq!(routes([]), Ok(Routes::default()));
}

#[test]
fn a_star_is_one_segment_and_two_are_any_number() {
    let one = routes([("/ws/*", "x")]).unwrap();
    assert_eq!(class(&one, "/ws/a"), Some("x"));
    for other in ["/", "/ws", "/ws/a/b", "/wsx/a", "/a/ws/b"] {
        assert_eq!(class(&one, other), None, "{other}");
    }
    let any = routes([("/a/**", "x")]).unwrap();
    for below in ["/a", "/a/b", "/a/b/c"] {
        assert_eq!(class(&any, below), Some("x"), "{below}");
    }
    assert_eq!(class(&any, "/ab"), None);
    let middle = routes([("/a/**/z", "x")]).unwrap();
    assert_eq!(class(&middle, "/a/z"), Some("x"));
    assert_eq!(class(&middle, "/a/b/c/z"), Some("x"));
    assert_eq!(class(&middle, "/a"), None);
    let root = routes([("/", "root"), ("/**", "all")]).unwrap();
    assert_eq!(class(&root, "/"), Some("root"));
    assert_eq!(class(&root, "/a"), Some("all"));
}

#[test]
fn the_most_specific_pattern_wins() {
    let order = ["/a/b", "/a/*", "/a/*/**", "/a", "/a/**/b", "/a/**", "/*/b", "/*", "/", "/**/b"];
    let last = ["/**"];
    let table = order.iter().chain(&last).map(|text| ((*text).to_owned(), format!("class of {text}"))).collect();
    let routes = Routes::compile(table).unwrap();
    let patterns: Vec<_> = routes.iter().map(|(pattern, _)| pattern).collect();
    assert_eq!(patterns, order.iter().chain(&last).copied().collect::<Vec<_>>());
    for (path, pattern) in [
        ("/a/b", "/a/b"),
        ("/a/c", "/a/*"),
        ("/a/c/b", "/a/*/**"),
        ("/a", "/a"),
        ("/c/b", "/*/b"),
        ("/c", "/*"),
        ("/c/c/b", "/**/b"),
        ("/", "/"),
        ("/c/c/c", "/**"),
    ] {
        assert_eq!(class(&routes, path), Some(&*format!("class of {pattern}")), "{path}");
    }
}

#[test]
fn a_tie_is_refused_and_names_both() {
    let tie = routes([("/**/a/**", "x"), ("/**/b/**", "y")]).unwrap_err();
    assert_eq!(tie, Error::Tie("/**/a/**".into(), "/**/b/**".into()));
    assert!(tie.to_string().contains("`/**/a/**` and `/**/b/**`"), "{tie}");
    // The same pattern in two spellings.
    assert!(matches!(routes([("/a/", "x"), ("/a", "x")]), Err(Error::Tie(_, _))));
    // No path matches both of these.
    assert!(routes([("/**/a", "x"), ("/**/b", "y")]).is_ok());
    assert!(routes([("/*/a", "x"), ("/*/b", "y")]).is_ok());
}

#[test]
fn bad_patterns_are_refused() {
    assert_eq!(routes([("a/b", "x")]), Err(Error::Relative("a/b".into())));
    assert_eq!(routes([("/a/**/**", "x")]), Err(Error::Repeated("/a/**/**".into())));
    assert_eq!(routes([("/a", "")]), Err(Error::NoClass("/a".into())));
    for text in ["/a.b", "/a*", "/***", "/a b", "/_message", "/%20"] {
        assert!(matches!(routes([(text, "x")]), Err(Error::Segment { .. })), "{text}");
    }
}

#[test]
fn many_stars_take_no_time() {
    let many = |name: &str| format!("/**/{name}").repeat(200) + "/**";
    let table = [(many("a"), "x".to_owned()), (many("b"), "y".to_owned())].into();
    assert!(matches!(Routes::compile(table), Err(Error::Tie(_, _))));
}

/// Matching as the words say it, without expressions.
fn matches(pattern: &[Segment], names: &[&str]) -> bool {
    match (pattern, names) {
        ([], names) => names.is_empty(),
        ([Segment::AnyNumber, rest @ ..], names) => (0..=names.len()).any(|taken| matches(rest, &names[taken..])),
        ([Segment::AnyOne, rest @ ..], [_, names @ ..]) => matches(rest, names),
        ([Segment::Name(name), rest @ ..], [first, names @ ..]) => name == first && matches(rest, names),
        (_, []) => false,
    }
}

/// Every list of up to `length` names. `c` stands in no pattern, so it is the name that only a star matches.
fn all_names(length: usize) -> Vec<Vec<&'static str>> {
    let mut all = vec![Vec::new()];
    let mut longest = all.clone();
    for _ in 0..length {
        let longer = |names: &Vec<&'static str>| ["a", "b", "c"].map(|name| [&names[..], &[name]].concat());
        longest = longest.iter().flat_map(longer).collect();
        all.extend(longest.iter().cloned());
    }
    all
}

fn any_pattern() -> impl Strategy<Value = Pattern> {
    let segment = prop::sample::select(vec!["a", "b", "*", "**"]);
    prop::collection::vec(segment, 0..4)
        .prop_filter_map("one ** beside another", |segments| Pattern::parse(&format!("/{}", segments.join("/"))).ok())
}

proptest! {
    #[test]
    fn overlapping_is_matching_a_common_path(one in any_pattern(), other in any_pattern()) {
        let common = all_names(5).into_iter().find(|names| matches(&one.segments, names) && matches(&other.segments, names));
        prop_assert_eq!(one.overlaps(&other), common.is_some(), "{:?}", common);
        prop_assert_eq!(one.overlaps(&other), other.overlaps(&one));
    }

    #[test]
    fn the_class_is_that_of_the_greatest_match(patterns in prop::collection::vec(any_pattern(), 0..6)) {
        let table: BTreeMap<_, _> = patterns.iter().map(|pattern| (pattern.text.clone(), pattern.text.clone())).collect();
        match Routes::compile(table) {
            Ok(routes) => for names in all_names(4) {
                let matching = || patterns.iter().filter(|pattern| matches(&pattern.segments, &names));
                let best = matching().max_by_key(|pattern| pattern.specificity());
                let found = routes.class_of(&path(&names.join("/")));
                prop_assert_eq!(found, best.map(|pattern| &*pattern.text));
                // It is the only one of its specificity.
                let peers = matching().filter(|pattern| Some(pattern.specificity()) == best.map(Pattern::specificity));
                prop_assert!(peers.map(|pattern| &pattern.text).collect::<std::collections::BTreeSet<_>>().len() <= 1);
            },
            Err(Error::Tie(one, other)) => {
                let (one, other) = (Pattern::parse(&one).unwrap(), Pattern::parse(&other).unwrap());
                prop_assert!(one.overlaps(&other) && one.specificity() == other.specificity());
            }
            Err(error) => prop_assert!(false, "{error}"),
        }
    }

    #[test]
    fn the_table_survives_being_written(patterns in prop::collection::vec(any_pattern(), 0..4)) {
        let table: BTreeMap<_, _> = patterns.into_iter().map(|pattern| (pattern.text, "x".to_owned())).collect();
        if let Ok(routes) = Routes::compile(table.clone()) {
            prop_assert_eq!(BTreeMap::from(routes), table);
        }
    }
}
