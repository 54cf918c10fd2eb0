//! What every chart must be.

use super::Labels;

pub(super) fn labels(id: &str) -> Labels {
    Labels {
        id: id.into(),
        title: "Title <of> & chart".into(),
        heading: true,
        description: "What it \"shows\".".into(),
        x: "across (unit)".into(),
        y: "up (unit)".into(),
    }
}

/// Well-formed, complete, of finite numbers within the picture, without ids that another chart may have.
pub(super) fn check(svg: &str, texts: &[&str]) {
    assert!(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" viewBox=\"0 0 640 "));
    well_formed(svg);
    let titled =
        ["Title &lt;of&gt; &amp; chart</title>", "What it &quot;shows&quot;.</desc>", "across (unit)", "up (unit)"];
    for text in titled.iter().chain(texts) {
        assert!(svg.contains(text), "{text} in {svg}");
    }
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    for (attribute, before) in [("id=\"", " "), ("url(#", "\"")] {
        for (at, _) in svg.match_indices(&format!("{before}{attribute}")) {
            let value = &svg[at + before.len() + attribute.len()..];
            assert!(value.starts_with("c-a-") || value.starts_with("c-b-"), "{value:.20}");
        }
    }
    let height: f64 = svg.split("viewBox=\"0 0 640 ").nth(1).unwrap().split('"').next().unwrap().parse().unwrap();
    for (attribute, most) in [(" x=\"", 640.0), (" y=\"", height)] {
        for (at, _) in svg.match_indices(attribute) {
            let value: f64 = svg[at + attribute.len()..].split('"').next().unwrap().parse().unwrap();
            assert!((0.0..=most).contains(&value), "{attribute}{value}");
        }
    }
}

/// Tags are closed in their order, attributes are quoted, text holds no bare `&`.
fn well_formed(svg: &str) {
    let mut open = Vec::new();
    let mut rest = svg;
    while let Some((text, after)) = rest.split_once('<') {
        for (at, _) in text.match_indices('&') {
            assert!(["&amp;", "&lt;", "&gt;", "&quot;"].iter().any(|entity| text[at..].starts_with(entity)), "{text}");
        }
        let (tag, after) = after.split_once('>').unwrap();
        assert!(!tag.contains('<') && tag.matches('"').count() % 2 == 0, "{tag}");
        match tag.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name)),
            None => {
                let attributes = tag.trim_end_matches('/').split('"').step_by(2);
                assert!(attributes.skip(1).all(|between| between.is_empty() || between.starts_with(' ')), "{tag}");
                let mut names: Vec<&str> = tag.split('"').step_by(2).filter(|name| name.ends_with('=')).collect();
                names.iter_mut().for_each(|name| *name = name.rsplit(' ').next().unwrap());
                let count = names.len();
                names.sort_unstable();
                names.dedup();
                assert_eq!(names.len(), count, "an attribute occurs twice: {tag}");
                if !tag.ends_with('/') {
                    open.push(tag.split(' ').next().unwrap());
                }
            }
        }
        rest = after;
    }
    assert!(open.is_empty() && rest.is_empty());
}
