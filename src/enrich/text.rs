//! The text of an item, made from its fields.

use serde_json::Value as Json;

/// The fields that come first, in this order.
const FIRST: [&str; 3] = ["title", "description", "caption"];

/// The end of the names of fields that hold an address, which says nothing about the item.
const ADDRESS: &str = "url";

/// The text of an item: title, description, caption, then every other field of text or of lists of text, in
/// the order of the item. With `parts`, these fields alone in this order.
///
/// Fields are joined by `. `, the members of a list by a space. Numbers, truth values and objects are left
/// out, and so are fields of addresses (their names end in `url`) unless `parts` names them.
pub(crate) fn text_of(fields: &[(&str, &Json)], parts: Option<&[String]>) -> String {
    let find = |name: &str| {
        fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    };
    let chosen: Vec<&Json> = if let Some(parts) = parts {
        parts.iter().filter_map(|name| find(name)).collect()
    } else {
        let rest = fields.iter().filter(|(name, _)| {
            let name = name.to_ascii_lowercase();
            !FIRST.contains(&name.as_str()) && !name.ends_with(ADDRESS)
        });
        FIRST.iter().filter_map(|name| find(name)).chain(rest.map(|(_, value)| *value)).collect()
    };
    let mut text = String::new();
    for value in chosen {
        let mut words = Vec::new();
        collect(value, &mut words);
        if words.is_empty() {
            continue;
        }
        if !text.is_empty() {
            text.push_str(". ");
        }
        text.push_str(&words.join(" "));
    }
    text
}

/// The pieces of text of a value, through lists of lists.
fn collect<'a>(value: &'a Json, words: &mut Vec<&'a str>) {
    match value {
        Json::String(text) if !text.trim().is_empty() => words.push(text.trim()),
        Json::Array(values) => values.iter().for_each(|value| collect(value, words)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_in_order() {
        let (brand, title, price) = (json!("OPI"), json!(" Nail Lacquer "), json!(3.5));
        let paths = json!([["Beauty", "Makeup"], ["Nails"]]);
        let (empty, address) = (json!("  "), json!("http://example.org/a.jpg"));
        let fields = [
            ("brand", &brand),
            ("price", &price),
            ("categories", &paths),
            ("description", &empty),
            ("title", &title),
            ("image_url", &address),
        ];
        assert_eq!(text_of(&fields, None), "Nail Lacquer. OPI. Beauty Makeup Nails");
        let parts = ["categories".to_owned(), "Title".to_owned(), "missing".to_owned()];
        assert_eq!(text_of(&fields, Some(&parts)), "Beauty Makeup Nails. Nail Lacquer");
        assert_eq!(text_of(&[], None), "");
    }
}
